//! Floor 2: the seam to the cache disk.
//!
//! The engine and the checker reach the disk through [`Storage`] alone, so that the crash store of the tests can lose,
//! tear and reorder whatever was not synced. Contract of every implementation:
//!
//! * The index file has a fixed length; reads and writes lie wholly within it.
//! * Nothing is durable before [`Storage::sync_index`] or [`Storage::sync_all`] returned; until then any subset of the
//!   writes may persist, in any order, torn at 512 bytes, and file sizes persist apart from contents.
//! * Reads see every earlier write of the same process, whatever is on the platter.
//! * A chunk file is pure bytes from offset 0; what was never written in it reads as nothing or as zeros, and neither is
//!   ever taken for data: presence is the index's business.

mod anew;
mod api;
mod before;
mod below;
mod create;
mod descriptors;
mod dir;
mod direct;
mod error;
mod files;
mod host;
mod in_memory;
mod layout;
mod leaf;
mod lend;
mod lock;
mod moving;
mod open;
mod preallocation;
mod refuse;
mod resize;
#[cfg(test)]
mod tests;
mod thread_io;

pub use anew::Anew;
pub use api::{ChunkFile, DiskOp, Extent, IndexPart, NowRead, Space, Storage};
pub use before::Before;
pub use create::{CreateOptions, Progress};
pub use descriptors::{DescriptorShares, raise_descriptor_limit};
pub use dir::CacheDir;
pub use error::CacheDirError;
pub use files::{ChunkFiles, FoundFile};
pub use host::HostIdentity;
pub use lock::{Holder, read_holder};
pub use resize::{ResizeOptions, Resized};
