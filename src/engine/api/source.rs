//! One remote as seen through the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::api::blob::Blob;
use crate::engine::api::cache::Cache;
use crate::engine::config::SourceSettings;
use crate::engine::read::readahead::reach;
use crate::engine::transfer::fetch::Fetcher;
use crate::format::blob_key;
use crate::units::{Facts, ObjectName};

/// One remote as seen through the cache.
pub struct Source {
    pub(crate) cache: Arc<Cache>,
    pub(crate) fetcher: Arc<dyn Fetcher>,
    pub(crate) settings: SourceSettings,
    identity: String,
    salt: String,
    /// How long the remote takes to begin an answer, in nanoseconds: a moving mean.
    latency: AtomicU64,
}

impl Source {
    pub(crate) fn new(
        cache: Arc<Cache>,
        identity: &str,
        salt: &str,
        fetcher: Arc<dyn Fetcher>,
        settings: SourceSettings,
    ) -> Self {
        Self {
            cache,
            fetcher,
            settings,
            identity: identity.into(),
            salt: salt.into(),
            latency: AtomicU64::new(0),
        }
    }

    /// Notes how long the remote took to begin an answer. Two notes at a time may lose one.
    pub(crate) fn note_latency(&self, taken: Duration) {
        let taken = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        let mean = self.latency.load(Ordering::Relaxed);
        let next = if mean == 0 {
            taken
        } else {
            mean - mean / 8 + taken / 8
        };
        self.latency.store(next, Ordering::Relaxed);
    }

    /// How far readahead may reach now, in bytes.
    pub(crate) fn reach(&self) -> u64 {
        let latency = Duration::from_nanos(self.latency.load(Ordering::Relaxed));
        let index = self.cache.disk.geometry.index_len();
        let room = self.cache.limits.capacity().saturating_sub(index);
        reach(&self.cache.config, latency, room)
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
