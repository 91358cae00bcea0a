//! What the cache may take of its disk: the size limit, and what has to stay free.

use std::sync::atomic::{AtomicU64, Ordering};

/// The limits of one cache.
pub(super) struct Limits {
    capacity: AtomicU64,
}

impl Limits {
    /// A size limit in bytes, index included.
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity: AtomicU64::new(capacity),
        }
    }

    /// The size limit in bytes, index included.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Whether a cache that takes `used` bytes may take `more`. To take no more is always allowed.
    pub(super) fn allow(&self, used: u64, more: u64) -> bool {
        more == 0 || used + more <= self.capacity()
    }
}
