//! Floor 2: the seam to the cache disk (`api`), the real directory behind it (`dir`), and what is done to a whole cache
//! (`admin`).
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

mod admin;
mod api;
mod dir;
#[cfg(test)]
mod tests;

pub use admin::{
    CreateOptions, Progress, Recreated, ResizeOptions, Resized, Rollback, open_or_create, recreate,
    resize,
};
pub use api::{
    CacheFiles, ChunkFile, ChunkStat, DiskOp, FoundFile, IndexPart, NowRead, Space, Storage,
};
pub use dir::{
    CacheDir, CacheDirError, DescriptorShares, Holder, HostIdentity, raise_descriptor_limit,
    read_holder,
};
