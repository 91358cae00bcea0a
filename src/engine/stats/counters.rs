//! What the engine counts.

use crate::runtime::counter::Counter;

/// Calls `$then` with every counter and its sentence, and with what else it is given: the one list of them, for
/// [`Counters`] and for what is shown of it.
macro_rules! with_counters {
    ($then:ident { $($more:tt)* }) => {
        $then! {
            counters {
                /// Reads answered at once, from verified blocks in memory.
                reads_inline,
                /// Reads that had to wait for the disk or the remote.
                reads_waited,
                /// Bytes given to readers from the cache, those that were read ahead included.
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
                /// Blocks whose bytes did not pass their checksum: forgotten and fetched again.
                blocks_bad,
                /// Slots that were dropped whole because their proof did not hold.
                slots_dropped,
                /// Chunks that were evicted because others needed their place or their bytes.
                slots_culled,
                /// Places that the eviction policy looked at to find chunks to cull.
                cull_probes,
                /// Sectors of the index that were written only because a chunk was read again since they were last
                /// written.
                rank_writes,
                /// Chunks of superseded versions that were dropped.
                slots_superseded,
                /// Records of files that were freed for others.
                records_freed,
                /// Chunks that were dropped because a user asked for it.
                slots_evicted,
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
            $($more)*
        }
    };
}
pub(crate) use with_counters;

macro_rules! declare {
    (counters { $($(#[doc = $doc:literal])+ $name:ident,)* }) => {
        /// The counters since the cache was opened.
        #[derive(Default)]
        pub(crate) struct Counters { $($(#[doc = $doc])+ pub(crate) $name: Counter,)* }
    };
}

with_counters! { declare {} }

impl Counters {
    /// Chunk files made less those unlinked.
    pub(crate) fn files(&self) -> i64 {
        self.files_created.get().cast_signed() - self.files_unlinked.get().cast_signed()
    }
}
