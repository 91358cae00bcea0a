//! What the requests about extended attributes work on.

use std::sync::Arc;

use crate::engine::Cache;
use crate::vfs::files::Files;
use crate::vfs::kernel_cache::KernelCache;
use crate::vfs::shared::Shared;

/// The requests about extended attributes.
pub(in crate::vfs) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) files: Arc<Files>,
    pub(super) kernel: Arc<KernelCache>,
    pub(super) cache: Arc<Cache>,
    /// The value of `user.larder.stats`.
    pub(super) stats: Arc<dyn Fn() -> String + Send + Sync>,
    /// The value of `user.larder.cache-dir`.
    pub(super) cache_dir: Vec<u8>,
}

impl Control {
    pub(in crate::vfs) fn new(
        (shared, files, kernel): (&Arc<Shared>, &Arc<Files>, &Arc<KernelCache>),
        cache: &Arc<Cache>,
        stats: Arc<dyn Fn() -> String + Send + Sync>,
        cache_dir: Vec<u8>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            files: Arc::clone(files),
            kernel: Arc::clone(kernel),
            cache: Arc::clone(cache),
            stats,
            cache_dir,
        }
    }
}
