//! What is shown of the cache disk.

use crate::engine::health::verdict::DiskState;
use crate::engine::stats::described::described;

described! {
    /// What became of the cache disk, and what it has cost. Operations are system calls, not reads of a user.
    pub struct DiskStats {
        /// The state of the cache disk for reads.
        word reading: DiskState,
        /// The state of the cache disk for writes.
        word writing: DiskState,
        /// Whether the cache disk has no space for anything new.
        gauge full: bool,
        /// How often the cache disk stopped being well.
        counter outages: u64,
        /// Operations that the cache disk answered with an I/O error.
        counter io_errors: u64,
        /// Operations that the cache disk did not answer in time.
        counter hung: u64,
        /// Writes that found no space on the cache disk.
        counter no_space: u64,
        /// Writes that found the cache disk read-only.
        counter read_only: u64,
        /// Writes that found the cache directory gone.
        counter vanished: u64,
        /// Operations on the cache disk for which the process had no file descriptor left.
        counter out_of_descriptors: u64,
        /// Fills that were dropped because too many writes were waiting already.
        counter write_queue_full: u64,
        /// Reads that were not tried because the cache disk was not well.
        counter reads_bypassed: u64,
        /// Writes that were not tried because the cache disk was not well or had no space.
        counter writes_bypassed: u64,
    }
}

impl DiskStats {
    /// Whether the disk does not answer.
    pub fn is_hung(&self) -> bool {
        self.reading == DiskState::Hung || self.writing == DiskState::Hung
    }
}
