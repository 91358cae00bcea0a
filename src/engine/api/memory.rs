//! One budget for the memory of a mount, and how it is shared out. Pure; the table is in ARCHITECTURE.md.

use std::sync::Arc;

use crate::engine::config::cache::Config;
use crate::engine::index::slot::Slot;
use crate::engine::policy::BYTES_PER_PLACE;

/// What larder takes before it does anything, and what of its buffers has a bound of its own: the program itself, its
/// threads, one reply for each request of the kernel's, one block for each thread that reads from the cache disk.
const BASE: u64 = 20 << 20;
/// The least for fetches and for listings.
const LEAST: u64 = 6 << 20;
/// So many times its bytes a fetch may take: twice as many are under way while the cache disk hangs, and the allocator
/// needs half as much again.
const FETCH_COST: u64 = 3;
/// The most that one connection of the network's has in flight.
const CONNECTION: u32 = 32 << 20;
/// What one entry of a listing that is kept takes.
const ENTRY: u64 = 256;

/// The parts of a budget, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shares {
    /// All of it.
    pub budget: u64,
    /// For the tables of slots: what they take once every slot holds a chunk.
    pub tables: u64,
    /// For fetches: their bytes, from the network to the disk.
    pub fetches: u64,
    /// For listings: those that are read, and those that are kept.
    pub listings: u64,
}

/// A budget that is too small.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLittle {
    /// The least that would do.
    pub least: u64,
    /// What of that the tables take.
    pub tables: u64,
}

impl Shares {
    /// Shares out `budget` for a cache of so many slots. The tables get what they may need, since what is in them
    /// cannot wait; of the rest fetches get two thirds and listings one.
    pub fn of(budget: u64, slots: u64) -> Result<Self, TooLittle> {
        let tables = slots * bytes_per_slot() as u64;
        let least = BASE + tables + 2 * LEAST;
        let Some(rest) = budget.checked_sub(least) else {
            return Err(TooLittle { least, tables });
        };
        let listings = LEAST + rest / 3;
        Ok(Self {
            budget,
            tables,
            fetches: budget - BASE - tables - listings,
            listings,
        })
    }

    /// The engine's part of it: no more than `config` has, however large the budget.
    pub fn bound(self, config: Config) -> Config {
        let fetch_budget = config.fetch_budget.min(self.fetches / FETCH_COST);
        Config {
            memory: self.budget,
            fetch_budget,
            request_max: config.request_max.min(fetch_budget / 4),
            readahead_max: config.readahead_max.min(fetch_budget / 2),
            readahead_far: config.readahead_far.min(fetch_budget),
            ..config
        }
    }

    /// Bytes that one connection of the network's may have in flight.
    pub fn in_flight(self) -> u32 {
        u32::try_from(self.fetches / FETCH_COST).map_or(CONNECTION, |bytes| bytes.min(CONNECTION))
    }

    /// How many of `wanted` requests may be under way: each has a buffer of the network's.
    pub fn requests(self, wanted: usize) -> usize {
        let most = usize::try_from(self.fetches / (1 << 20)).unwrap_or(usize::MAX);
        wanted.min(most).max(2)
    }

    /// How many entries of listings may be kept: a quarter of what listings get.
    pub fn listed(self) -> usize {
        usize::try_from(self.listings / 4 / ENTRY).unwrap_or(usize::MAX)
    }
}

/// The most that each slot of a loaded segment takes: the slot itself, as the allocator rounds it, and its part of the
/// table and of the policy. Checksums are in memory only while the sector lacks them.
pub(super) fn bytes_per_slot() -> usize {
    // The two counts of an Arc, and the allocator's own word, in steps of 16 bytes.
    let slot =
        (size_of::<Slot>() + 2 * size_of::<usize>() + size_of::<usize>()).next_multiple_of(16);
    let place = size_of::<Option<Arc<Slot>>>();
    // A place and a byte of control, in a map that has just grown to twice its size: it is seven sixteenths full.
    let map = (size_of::<u32>() + 1) * 16 / 7;
    // One bit, of a free map.
    let free = 1;
    slot + place + map + free + BYTES_PER_PLACE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
        std::fs::read_to_string(path).expect("the document")
    }

    #[test]
    fn a_slot_takes_what_the_document_says() {
        let bytes = bytes_per_slot();
        let told = format!("{bytes} bytes of memory");
        assert!(
            document().contains(&told),
            "ARCHITECTURE.md does not say: {told}"
        );
    }

    #[test]
    fn a_budget_is_shared_out_as_the_document_says() {
        for mib in [50u64, 100, 150, 1024] {
            let shares = Shares::of(mib << 20, 32_768).expect("enough");
            let in_flight = shares.bound(Config::default()).fetch_budget;
            let row = [
                mib << 20,
                BASE,
                shares.tables,
                shares.listings,
                shares.fetches,
                in_flight,
            ]
            .map(|bytes| (bytes >> 20).to_string())
            .join(" | ");
            let row = format!("| {row} |");
            assert!(
                document().contains(&row),
                "ARCHITECTURE.md has no row {row}"
            );
        }
    }

    #[test]
    fn no_part_is_given_twice_and_too_little_is_refused() {
        for slots in [0, 32_768, 1 << 22] {
            let TooLittle { least, tables } = Shares::of(0, slots).expect_err("nothing");
            assert_eq!(tables, slots * bytes_per_slot() as u64);
            assert_eq!(
                Shares::of(least - 1, slots),
                Err(TooLittle { least, tables })
            );
            for budget in [least, least + 1, least * 3, 1 << 40] {
                let shares = Shares::of(budget, slots).expect("enough");
                let parts = [BASE, shares.tables, shares.listings, shares.fetches];
                assert_eq!(parts.iter().sum::<u64>(), budget);
                assert!(shares.listings >= LEAST && shares.fetches >= LEAST);
                let config = shares.bound(Config::default());
                assert!(config.fetch_budget * FETCH_COST <= shares.fetches);
                assert!(config.request_max <= config.readahead_max);
            }
        }
        let plenty = Shares::of(16 << 30, 32_768).expect("enough");
        let (bounded, default) = (plenty.bound(Config::default()), Config::default());
        assert_eq!(bounded.fetch_budget, default.fetch_budget);
        assert_eq!(bounded.request_max, default.request_max);
        assert_eq!(plenty.requests(64), 64);
    }
}
