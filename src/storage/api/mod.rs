//! The seam to the cache disk: what the engine and the checker may ask of it.

mod op;
mod storage;

pub use op::{DiskOp, IndexPart};
pub use storage::{ChunkFile, Extent, NowRead, Space, Storage};
