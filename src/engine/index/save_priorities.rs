//! Writing sectors again whose slots have proven their worth since (see `saved_priority.rs`).

use std::sync::Arc;
use std::time::Duration;

use crate::engine::index::cache_index::Index;
use crate::engine::index::saved_priority::BITS;
use crate::engine::index::slot::Tenancy;
use crate::runtime::executor::Lane;
use crate::storage::{DiskOp, IndexPart};
use crate::units::SlotId;

/// What a close writes, and how long it may take for that.
const CLOSE_MAX: usize = 8192;
const CLOSE_TIME: Duration = Duration::from_secs(1);

impl Index {
    /// Has the next few sectors written, if there are any. Does not wait for the disk.
    pub(crate) fn save_priorities_on(self: &Arc<Self>) {
        let now = self.services.now();
        if self.file.read_only || self.services.is_closed() || !self.priorities.has_next(now) {
            return;
        }
        let index = Arc::clone(self);
        let executor = &*self.services.executor;
        self.priorities
            .under_way
            .submit(executor, Lane::Write, move || {
                while !index.services.is_closed()
                    && let Some(id) = index.priorities.next(now)
                {
                    index.save_priority(id);
                }
            });
    }

    /// Writes what is noted, as far as a close has time for it.
    pub(crate) fn save_priorities_at_close(&self) {
        let began = self.services.now();
        for _ in 0..CLOSE_MAX {
            let Some(id) = self.priorities.take() else {
                return;
            };
            self.save_priority(id);
            if self.services.now().saturating_sub(began) >= CLOSE_TIME {
                return;
            }
        }
    }

    /// Writes the sector of the slot at a place again if it does not say what the slot is worth. `None` where nothing
    /// was written.
    fn save_priority(&self, id: SlotId) -> Option<()> {
        let slot = self.slots.at(id)?;
        // The holder of the lock fills the slot, and has its sector written; or takes it from its tenant.
        let tenancy = slot.tenancy.try_lock()?;
        if *tenancy == Tenancy::Pending {
            return None;
        }
        let bits = self.slots.saved_priority(&slot);
        {
            let state = slot.state.lock();
            let settled = !state.retired && !state.suspect && state.crcs.is_none();
            if !settled || bits == 0 || state.flags.0 & BITS != 0 {
                return None;
            }
        }
        let mut record = self.read_record(&slot).ok()?;
        record.flags.0 |= bits;
        if let Err(error) = self.file.write_slot(id, &record) {
            self.storage
                .report(DiskOp::WriteIndex(IndexPart::Slot), &error);
            return None;
        }
        slot.state.lock().flags.0 |= bits;
        self.services.counters.rank_writes.add(1);
        Some(())
    }
}
