//! One remote as seen through the cache.

use std::sync::Arc;

use super::{Blob, Cache, ChunkPolicy, Fetcher};
use crate::format::blob_key;
use crate::units::{Facts, ObjectName};

/// One remote as seen through the cache.
pub struct Source {
    pub(super) cache: Arc<Cache>,
    pub(super) fetcher: Arc<dyn Fetcher>,
    pub(super) chunks: ChunkPolicy,
    identity: String,
    salt: String,
}

impl Source {
    pub(super) fn new(
        cache: Arc<Cache>,
        identity: &str,
        salt: &str,
        fetcher: Arc<dyn Fetcher>,
        chunks: ChunkPolicy,
    ) -> Self {
        Self {
            cache,
            fetcher,
            chunks,
            identity: identity.into(),
            salt: salt.into(),
        }
    }

    /// The blob of this name in the version that `facts` describe. It is bound to one version by the first byte that it
    /// serves, and then for ever. One live `Blob` per name and version: callers keep it (an inode does).
    pub fn blob(self: &Arc<Self>, name: &ObjectName, facts: &Facts) -> Arc<Blob> {
        let key = blob_key(self.cache.disk.uuid, &self.identity, &self.salt, name);
        Arc::new(Blob::new(Arc::clone(self), name, key, facts))
    }

    /// The cache that the source reads through.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }
}
