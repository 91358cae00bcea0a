//! The real disk: a cache directory, opened, locked, and reached through descriptors.

mod cache_dir;
mod cache_files;
mod chunk_dirs;
mod chunk_files;
mod descriptors;
mod direct_read;
mod error;
mod host_identity;
mod lock;
mod nowait;
mod open;
mod open_at;
mod page_cache;
mod paths;
mod preallocation;
mod recover;
mod refuse;
mod storage;
mod thread_io;
mod tree;

pub use cache_dir::CacheDir;
pub use descriptors::{DescriptorShares, raise_descriptor_limit};
pub use error::CacheDirError;
pub use host_identity::HostIdentity;
pub use lock::{Holder, read_holder};

pub(super) use cache_dir::free_bytes;
pub(super) use lock::LOCK_NAME;
pub(super) use open::{
    Demand, lock, look, nearest, open_dir, open_own, refuse_network, refuse_owner, refuse_strangers,
};
pub(super) use open_at::open_at;
pub(super) use paths::{
    CHUNKS_NAME, CHUNKS_NEW_NAME, DIRTY_NAME, INDEX_NAME, INDEX_NEW_NAME, chunk_path, parents,
};
pub(super) use recover::{FOLLOW_STEPS, follow, remove_unfinished, settle};
#[cfg(test)]
pub(super) use thread_io::blocks_read;
pub(super) use tree::{dirty_files, discard_dirty, for_chunks, quarantine};
