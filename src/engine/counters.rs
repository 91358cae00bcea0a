//! What the engine counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::{DiskStats, LastStop, ScrubStats};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters since the cache was opened.
        #[derive(Default)]
        pub(super) struct Counters { $(pub(super) $name: Counter,)* }

        /// The counters since the cache was opened, and its present size.
        #[derive(Clone, Default, Debug, Serialize, Deserialize, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// The size limit in bytes, index included.
            pub capacity: u64,
            /// The bytes that index and chunk files take on disk; exact once every segment was loaded.
            pub used_bytes: u64,
            /// Bytes that fills under way may still add to that.
            pub reserved_bytes: u64,
            /// The bytes of the index file.
            pub index_bytes: u64,
            /// Chunk slots in all.
            pub slots: u64,
            /// Chunk slots that hold a chunk, as far as loaded.
            pub slots_used: u64,
            /// Segments of the index that are loaded.
            pub segments_loaded: u64,
            /// How the last use of the cache ended.
            pub last_stop: LastStop,
            /// What the cache disk is judged to be, and what its troubles have cost.
            pub disk: DiskStats,
            /// The scrub that is under way, or the last one.
            pub scrub: ScrubStats,
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* ..Stats::default() }
            }
        }
    };
}

counters! {
    /// Reads answered at once, from verified blocks in memory.
    reads_inline,
    /// Reads that had to wait for the disk or the remote.
    reads_waited,
    /// Bytes given to readers from the cache.
    hit_bytes,
    /// Bytes given to readers as they came from the remote.
    miss_bytes,
    /// Ranged reads started at the remote.
    remote_requests,
    /// Data bytes that the remote delivered.
    remote_bytes,
    /// Ranged reads that failed.
    remote_errors,
    /// Blocks written to the cache.
    blocks_filled,
    /// Runs of blocks that were not written: no room, no slot, the disk failed or was too slow.
    fills_dropped,
    /// Blocks whose bytes came from disk and passed their checksum.
    blocks_checked,
    /// Blocks whose bytes did not pass: forgotten and fetched again.
    blocks_bad,
    /// Slots dropped whole.
    slots_dropped,
    /// Chunks that were evicted because others needed their place or their bytes.
    slots_culled,
    /// Places that the policy looked at to find them.
    cull_probes,
    /// Sectors that were written because a chunk proved its worth after they were last written.
    standings_written,
    /// Chunks of superseded versions that were dropped.
    slots_buried,
    /// Records of files that were freed for others.
    records_freed,
    /// Chunks that took over the file of another one.
    slots_reused,
    /// Chunk files made.
    files_created,
    /// Chunk files unlinked.
    files_unlinked,
    /// Chunk files that were cut to a smaller chunk.
    files_cut,
    /// Disk operations that failed.
    disk_errors,
    /// Reads that were asked of the remote because the cache disk was slow.
    reads_hedged,
    /// Reads that ended at their deadline.
    reads_timed_out,
}

/// One counter.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
