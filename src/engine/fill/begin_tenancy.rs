//! Beginning a tenancy: the sector that names a slot's new tenant, and the file that it takes over.

use std::sync::Arc;

use crate::engine::fill::fills::Fills;
use crate::engine::index::slot::Slot;
use crate::engine::space::room::Room;
use crate::format::SlotFlags;
use crate::storage::{DiskOp, IndexPart, Storage};
#[cfg(feature = "testing")]
use crate::units::BlockMask;

impl Fills {
    /// The deliberately unsafe variant `bits-first`: the index says that blocks are present which are not yet written.
    /// The pause is that of a slow disk; without it a kill in between is too rare to wait for.
    #[cfg(feature = "testing")]
    pub(super) fn vouch_too_early(&self, slot: &Slot, blocks: BlockMask) {
        if crate::format::unsafe_variant::is_bits_first() {
            let mut record = slot.record(&slot.state.lock(), &[0; 64]);
            record.present = record.present.with(blocks);
            let _ = self.index.file.write_slot(slot.id, &record);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Writes the sector that names the slot's new tenant, with nothing present. A file that was once handed to
    /// passthrough is unlinked first: a mapping may still show it. One that is longer than the chunk is cut.
    pub(super) fn begin_tenancy(&self, slot: &Arc<Slot>, room: &mut Room<'_>) -> Option<()> {
        let (tainted, before) = {
            let state = slot.state.lock();
            (state.flags.has(SlotFlags::TAINTED), state.alloc_4k)
        };
        let (op, after) = match tainted {
            true => {
                let gone = self.index.storage.remove_chunk(slot.id).map(|()| 0);
                (DiskOp::RemoveChunk, gone)
            }
            // Of one class and dense it is as long as the chunk, and nothing is cut.
            false if before > 0 => {
                let cut = self
                    .index
                    .storage
                    .cut_chunk(slot.file(), u64::from(slot.valid_len));
                (DiskOp::CutChunk, cut)
            }
            false => (DiskOp::CutChunk, Ok(u64::from(before) << 12)),
        };
        let after = match after {
            Ok(bytes) => u32::try_from(bytes.div_ceil(4096)).unwrap_or(u32::MAX),
            Err(error) => {
                self.index.storage.report(op, &error);
                self.index.drop_slot(slot);
                return None;
            }
        };
        if tainted {
            self.services.counters.files_unlinked.add(1);
            slot.state.lock().flags = SlotFlags::default();
        }
        if before != after {
            room.keep(u64::from(before.saturating_sub(after)) << 12);
            slot.state.lock().alloc_4k = after;
            self.services.counters.files_cut.add(u64::from(!tainted));
            self.index.slots.account(slot, before, after);
        }
        self.services
            .counters
            .files_created
            .add(u64::from(after == 0));
        let record = slot.record(&slot.state.lock(), &[0; 64]);
        if let Err(error) = self.index.file.write_slot(slot.id, &record) {
            self.index
                .storage
                .report(DiskOp::WriteIndex(IndexPart::Slot), &error);
            self.index.drop_slot(slot);
            return None;
        }
        Some(())
    }

    /// Accounts for the file of a slot after a write of so many bytes failed: a part of it may have landed. Called with
    /// the tenancy locked.
    pub(super) fn reckon(&self, slot: &Arc<Slot>, bytes: u64) {
        let pages = |bytes: u64| u32::try_from(bytes.div_ceil(4096)).unwrap_or(u32::MAX);
        let storage = &self.index.storage;
        // Nothing is longer than the chunk: this only asks.
        let asked = storage.cut_chunk(slot.file(), u64::from(slot.valid_len));
        let mut state = slot.state.lock();
        let before = state.alloc_4k;
        let most = before.saturating_add(pages(bytes));
        state.alloc_4k = asked.map_or(most, pages);
        let after = state.alloc_4k;
        drop(state);
        self.index.slots.account(slot, before, after);
        self.index.dirty.note(slot);
        // That others filled the disk is noticed at once.
        self.space.ask_space();
    }
}
