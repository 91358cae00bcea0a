//! Taking a slot from its tenant.
//!
//! Invariants:
//!
//! * A slot is taken from its tenant only with its write lock held, so that no fill of the old tenancy writes
//!   afterwards, and not while a check of it is under way: a late read would bring pages in that the next tenant never
//!   checked.
//! * Its record is written free at once, so that no two records ever name one chunk.

use std::io;
use std::sync::Arc;

use crate::engine::index::cache_index::Index;
use crate::engine::index::free_places::FreePlace;
use crate::engine::index::slot::Slot;
use crate::format::{SlotFlags, SlotRecord};
use crate::runtime::test_faults::{Rule, is_broken};
use crate::storage::{DiskOp, IndexPart, Storage};
use crate::units::SlotId;

impl Index {
    /// Unlinks the file of a free place that was taken out of its segment's table, and puts it back.
    pub(crate) fn unlink_at(&self, number: u32, id: SlotId, left: FreePlace) -> io::Result<()> {
        let empty = FreePlace {
            generation: left.generation,
            ..FreePlace::default()
        };
        // The record may still be that of a twin, which would be one of blocks without a file.
        let gone = self
            .write_free(id, left)
            .and_then(|()| self.storage.remove_chunk(id))
            .and_then(|()| self.write_free(id, empty));
        let after = match &gone {
            Ok(()) => empty,
            Err(_) => left,
        };
        self.slots
            .with_segment(number, |table| table.put_free(id, after));
        gone?;
        self.slots.account_in(number, left.alloc_4k, 0);
        self.services.counters.files_unlinked.add(1);
        Ok(())
    }

    /// Takes a slot from its tenant, unless a fill writes to it. From here on no reader is answered from it.
    pub(crate) fn retire(&self, slot: &Arc<Slot>) -> bool {
        let Some(_tenancy) = slot.tenancy.try_lock() else {
            return false;
        };
        let left = slot.free_place();
        {
            let mut state = slot.state.lock();
            // A check that is under way would bring pages in that the next tenant has never checked.
            let checked = !state.checking.is_empty() && !is_broken(Rule::RetireSparesChecked);
            if state.retired || checked || state.leases > 0 {
                return false;
            }
            state.retire();
        }
        // The place may stay free for long, and the version be filled again elsewhere: its record must not be its twin.
        if let Err(error) = self.write_free(slot.id, left) {
            self.storage
                .report(DiskOp::WriteIndex(IndexPart::Slot), &error);
        }
        self.slots
            .with_table_of(slot, |table| table.evict(slot, left))
            .unwrap_or(false)
    }

    /// Drops a slot whose proof does not hold. Its sector is made free where that can be written; where not, the next
    /// check drops it again. Called with the tenancy locked. The place belongs to no tenant until the last check of the
    /// slot is over, the caller's own included: a late read would bring pages in that the next tenant never checked.
    pub(crate) fn drop_slot(&self, slot: &Arc<Slot>) {
        let left = slot.free_place();
        {
            let mut state = slot.state.lock();
            if state.retired {
                return;
            }
            state.retire();
        }
        self.services.counters.slots_dropped.add(1);
        // The place is handed out only after the free record is written: the next tenant's sector must come later.
        if let Err(error) = self.write_free(slot.id, left) {
            self.storage
                .report(DiskOp::WriteIndex(IndexPart::Slot), &error);
        }
        let held = self.slots.with_table_of(slot, |table| table.remove(slot));
        if held != Some(true) {
            return;
        }
        let free = {
            let mut state = slot.state.lock();
            state.held = Some(left);
            state.place_if_unused()
        };
        self.hand_on(slot, free);
    }

    /// Frees the place of a slot that was dropped, once no check reads its file.
    pub(crate) fn hand_on(&self, slot: &Slot, place: Option<FreePlace>) {
        if let Some(left) = place {
            self.slots
                .with_table_of(slot, |table| table.put_free(slot.id, left));
        }
    }

    /// Writes the record of a free place.
    fn write_free(&self, id: SlotId, left: FreePlace) -> io::Result<()> {
        let FreePlace {
            generation,
            alloc_4k,
            flags,
        } = left;
        let flags = SlotFlags(flags.0 & SlotFlags::TAINTED);
        let record = SlotRecord::free(self.file.stamp(), generation, alloc_4k, flags);
        self.file.write_slot(id, &record)
    }
}
