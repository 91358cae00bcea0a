//! What the cache may take of its disk: the size limit, and what has to stay free.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{FreeSpace, Pressure};

/// The limits of one cache.
pub(super) struct Limits {
    capacity: AtomicU64,
    free: Mutex<FreeSpace>,
    /// Held while the capacity is changed.
    pub(super) changing: Mutex<()>,
}

impl Limits {
    /// A size limit in bytes, index included, and what has to stay free.
    pub(super) fn new(capacity: u64, free: FreeSpace) -> Self {
        Self {
            capacity: AtomicU64::new(capacity),
            free: Mutex::new(free),
            changing: Mutex::default(),
        }
    }

    /// The size limit in bytes, index included.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    pub(super) fn set_capacity(&self, capacity: u64) {
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    /// What has to stay free on the disk.
    pub(super) fn free(&self) -> FreeSpace {
        *self.free.lock()
    }

    pub(super) fn set_free(&self, free: FreeSpace) {
        *self.free.lock() = free;
    }

    /// Whether the disk is short of space.
    pub(super) fn pressure(&self) -> Pressure {
        Pressure::None
    }

    /// Whether a cache that takes `used` bytes may take `more`. To take no more is always allowed.
    pub(super) fn allow(&self, used: u64, more: u64) -> bool {
        more == 0 || used + more <= self.capacity()
    }
}
