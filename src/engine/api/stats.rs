//! What is shown of a cache: its counters, its present size, and the state of its disk.

use crate::engine::config::free_space::Pressure;
use crate::engine::health::disk_stats::DiskStats;
use crate::engine::index::last_shutdown::LastShutdown;
use crate::engine::stats::counters::{Counters, with_counters};
use crate::engine::stats::described::described;
use crate::engine::upkeep::scrub_stats::ScrubStats;

macro_rules! stats {
    (
        counters { $($(#[doc = $doc:literal])+ $name:ident,)* }
        gauges { $($(#[doc = $gauge_doc:literal])+ $gauge:ident,)* }
        states { $($(#[doc = $state_doc:literal])+ $state_kind:ident $state:ident: $state_type:ty,)* }
    ) => {
        described! {
            /// The counters since the cache was opened, and its present size.
            pub struct Stats {
                $($(#[doc = $doc])+ counter $name: u64,)*
                $($(#[doc = $gauge_doc])+ gauge $gauge: u64,)*
                $($(#[doc = $state_doc])+ $state_kind $state: $state_type,)*
            }
        }

        impl Stats {
            /// The counters as they stand, and nothing else.
            pub(super) fn of(counters: &Counters) -> Self {
                Self { $($name: counters.$name.get(),)* ..Self::default() }
            }
        }
    };
}

with_counters! { stats {
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
        /// The bytes of memory that the mount may take; 0 where no budget was set.
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
        word last_stop: LastShutdown,
        /// Whether the cache disk is short of space or inodes.
        word pressure: Pressure,
        /// What the cache disk is judged to be, and what its troubles have cost.
        group disk: DiskStats,
        /// The scrub that is under way, or the last one.
        group scrub: ScrubStats,
    }
} }

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
        let stats = serde_json::to_value(Stats::of(&counters)).unwrap();
        assert_eq!(stats["hit_bytes"], 7);
        check(Stats::FIELDS, &stats);
    }
}
