//! What the engine counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::health::monitored_storage::DiskStats;
use crate::engine::space::free_space::Pressure;
use crate::engine::stats::described::described;
use crate::engine::upkeep::last_shutdown::LastStop;
use crate::engine::upkeep::scrub::ScrubStats;

macro_rules! counters {
    (
        counters { $($(#[doc = $doc:literal])+ $name:ident,)* }
        gauges { $($(#[doc = $gauge_doc:literal])+ $gauge:ident,)* }
        states { $($(#[doc = $state_doc:literal])+ $state_kind:ident $state:ident: $state_type:ty,)* }
    ) => {
        /// The counters since the cache was opened.
        #[derive(Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)* }

        described! {
            /// The counters since the cache was opened, and its present size.
            pub struct Stats {
                $($(#[doc = $doc])+ counter $name: u64,)*
                $($(#[doc = $gauge_doc])+ gauge $gauge: u64,)*
                $($(#[doc = $state_doc])+ $state_kind $state: $state_type,)*
            }
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* ..Stats::default() }
            }
        }
    };
}

counters! {
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
    /// Sectors of the index that were written only because a chunk was read again since they were last written.
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
    gauges {
        /// The most that the cache may take on disk, its index included.
        capacity_bytes,
        /// The bytes that index and chunk files take on disk; exact once every segment was loaded.
        used_bytes,
        /// Bytes that fills under way may still add to the used ones.
        reserved_bytes,
        /// The bytes of the index file.
        index_bytes,
        /// Chunk slots in all.
        slots,
        /// Chunk slots that hold a chunk, as far as loaded.
        slots_used,
        /// Segments of the index that are loaded.
        segments_loaded,
        /// The bytes of memory that the mount may take; 0 where nobody said.
        memory_budget_bytes,
        /// Bytes of memory of fetches that are under way or wait for the cache disk.
        memory_fetch_bytes,
        /// Bytes of memory that listings take, those that are being read and those that are kept.
        memory_listing_bytes,
        /// Bytes of memory that the tables of slots take.
        memory_table_bytes,
    }
    states {
        /// How the last use of the cache ended.
        word last_stop: LastStop,
        /// Whether the cache disk is short of space or inodes.
        word pressure: Pressure,
        /// What the cache disk is judged to be, and what its troubles have cost.
        group disk: DiskStats,
        /// The scrub that is under way, or the last one.
        group scrub: ScrubStats,
    }
}

impl Counters {
    /// Chunk files made less those unlinked.
    pub(crate) fn files(&self) -> i64 {
        self.files_created.get().cast_signed() - self.files_unlinked.get().cast_signed()
    }
}

/// One counter.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Field, FieldKind};

    fn check(fields: &[Field], values: &serde_json::Value) {
        let values = values.as_object().unwrap();
        assert_eq!(fields.len(), values.len(), "{values:?}");
        for field in fields {
            let (name, help, value) = (field.name, field.help, &values[field.name]);
            let is_sentence = help.starts_with(char::is_uppercase) && help.ends_with('.');
            assert!(is_sentence && !help.contains("  "), "{name}: {help}");
            assert!(!name.ends_with("total"), "{name}: kept for the exposition");
            match field.kind {
                FieldKind::Group(parts) => check(parts, value),
                FieldKind::Word => assert!(value.is_string() || value.is_null(), "{name}"),
                FieldKind::Counter => assert!(value.is_u64(), "{name}"),
                FieldKind::Gauge => {
                    assert!(
                        value.is_u64() || value.is_boolean() || value.is_null(),
                        "{name}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_field_is_what_it_says_and_comes_with_its_sentence() {
        let counters = Counters::default();
        counters.hit_bytes.add(7);
        let stats = serde_json::to_value(counters.snapshot()).unwrap();
        assert_eq!(stats["hit_bytes"], 7);
        check(Stats::FIELDS, &stats);
    }
}
