//! Writing dirty sectors: presence reaches the index within 200 ms, in no particular order, and is not synced.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use crate::engine::index::cache_index::Index;
use crate::engine::index::saved_priority;
use crate::engine::index::slot::Slot;
use crate::format::slot_hash;

impl Index {
    /// Writes what is dirty: blob records, slots, then the headers of the segments concerned. What cannot be written
    /// stays dirty. Waits for the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        if self.file.read_only {
            return Ok(());
        }
        let Some(_running) = self.dirty.flushing.try_lock() else {
            return Ok(());
        };
        let mut outcome = self.records.flush();
        let mut segments = BTreeSet::new();
        let mut dirty = self.dirty.take();
        dirty.sort_by_key(|slot| (slot.id, slot.generation));
        dirty.dedup_by(|a, b| Arc::ptr_eq(a, b));
        for slot in dirty {
            let hash = slot_hash(slot.tag, slot.chunk_no);
            match self.flush_slot(&slot) {
                // What a slot's file took is its segment's still when the slot is gone.
                Ok(Flushed::Written | Flushed::Retired) => {
                    segments.insert(self.file.geometry.segment_of(hash));
                }
                Ok(Flushed::Busy) => self.dirty.note(&slot),
                Err(error) => {
                    self.dirty.note(&slot);
                    outcome = Err(error);
                }
            }
        }
        for header in segments
            .into_iter()
            .filter_map(|number| self.slots.header(number))
        {
            outcome = self.file.write_header(&header).and(outcome);
        }
        outcome
    }

    fn flush_slot(&self, slot: &Arc<Slot>) -> io::Result<Flushed> {
        // A fill holds the slot: it is written when the fill is done.
        let Some(_tenancy) = slot.tenancy.try_lock() else {
            return Ok(Flushed::Busy);
        };
        let priority = self.slots.saved_priority(slot);
        let mut record = {
            let state = slot.state.lock();
            match (&state.crcs, state.retired) {
                (Some(crcs), false) => slot.record(&state, crcs),
                _ => return Ok(Flushed::Retired),
            }
        };
        record.flags.0 = record.flags.0 & !saved_priority::BITS | priority;
        self.file.write_slot(slot.id, &record)?;
        let mut state = slot.state.lock();
        state.flags.0 = state.flags.0 & !saved_priority::BITS | priority;
        // Bits are only changed with the tenancy locked, which is held here.
        if state.present == record.present && state.stamp == record.stamp {
            state.crcs = None;
        }
        Ok(Flushed::Written)
    }
}

/// What became of one slot in a flush.
enum Flushed {
    Written,
    Retired,
    Busy,
}
