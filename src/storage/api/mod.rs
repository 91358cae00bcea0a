//! The seam to the cache disk: what the engine and the checker may ask of it.

mod cache_files;
mod op;
mod storage;

pub use cache_files::{CacheFiles, FoundFile};
pub use op::{DiskOp, IndexPart};
pub use storage::{ChunkFile, ChunkStat, NowRead, Space, Storage};
