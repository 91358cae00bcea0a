//! Freeing what nothing needs any more: blob records that no open asked for of late, and the chunks of stale versions.

use std::sync::Arc;

use crate::engine::index::slots::Lookup;
use crate::engine::placement::stale_version::StaleVersion;
use crate::engine::space::cache_space::Space;
use crate::runtime::executor::Lane;

/// How many chunks of a stale version are looked up in one go.
const PIECE: u64 = 256;

impl Space {
    /// Has records freed where a table runs short of them, and the chunks of stale versions. Does not wait for the
    /// disk.
    pub(crate) fn reclaim_on(self: &Arc<Self>) {
        let short = self.index.records.take_short();
        if !(short || self.stale.has_stale()) {
            return;
        }
        let space = Arc::clone(self);
        let executor = &*self.services.executor;
        self.reclaiming.submit(executor, Lane::Write, move || {
            if short {
                space.free_records();
            }
            space.reclaim();
        });
    }

    /// Frees blob records that no open asked for of late; the versions that they named are stale.
    fn free_records(&self) {
        for record in self
            .index
            .records
            .free_some(|tag| self.stale.is_in_use(tag))
        {
            self.services.counters.records_freed.add(1);
            let stale = StaleVersion::new(record.tag, record.chunk, record.size);
            self.stale.superseded(stale);
        }
    }

    /// Frees the next chunks of stale versions; whether there are more.
    pub(crate) fn reclaim(&self) -> bool {
        let Some((tag, chunks)) = self.stale.next_stale(PIECE) else {
            return false;
        };
        for chunk_no in chunks {
            // What cannot be had now leaves by the policy's queue.
            if self.index.slots.load_for(tag, chunk_no).is_ok()
                && let Lookup::Found(slot) = self.index.slots.find_now(tag, chunk_no)
                && self.index.retire(&slot)
            {
                self.services.counters.slots_superseded.add(1);
            }
        }
        self.stale.has_stale()
    }
}
