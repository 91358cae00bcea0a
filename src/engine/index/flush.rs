//! Writing dirty sectors: presence reaches the index within 200 ms, in no particular order, and is not synced.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use crate::engine::api::cache::Cache;
use crate::engine::index::saved_priority;
use crate::engine::index::slot::Slot;
use crate::format::slot_hash;
use crate::runtime::locks::Mutex;

/// The slots whose sector lacks something.
#[derive(Default)]
pub(crate) struct Flusher {
    dirty: Mutex<Vec<Arc<Slot>>>,
    /// Held by the one flush that runs.
    running: Mutex<()>,
}

impl Flusher {
    /// The slot's checksums are in memory and its sector lacks some of them.
    pub(crate) fn note(&self, slot: &Arc<Slot>) {
        self.dirty.lock().push(Arc::clone(slot));
    }

    fn take(&self) -> Vec<Arc<Slot>> {
        let mut dirty = std::mem::take(&mut *self.dirty.lock());
        dirty.sort_by_key(|slot| (slot.id, slot.generation));
        dirty.dedup_by(|a, b| Arc::ptr_eq(a, b));
        dirty
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.dirty.lock().is_empty()
    }
}

impl Cache {
    /// Writes what is dirty: blob records, slots, then the headers of the segments concerned. What cannot be written
    /// stays dirty. Waits for the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        if self.disk.read_only {
            return Ok(());
        }
        let Some(_running) = self.flusher.running.try_lock() else {
            return Ok(());
        };
        let mut outcome = self.blobs.flush();
        let mut segments = BTreeSet::new();
        for slot in self.flusher.take() {
            let hash = slot_hash(slot.tag, slot.chunk_no);
            match self.flush_slot(&slot) {
                // What a slot's file took is its segment's still when the slot is gone.
                Ok(Flushed::Written | Flushed::Retired) => {
                    segments.insert(self.disk.geometry.segment_of(hash));
                }
                Ok(Flushed::Busy) => self.flusher.note(&slot),
                Err(error) => {
                    self.flusher.note(&slot);
                    outcome = Err(error);
                }
            }
        }
        for header in segments
            .into_iter()
            .filter_map(|number| self.slots.header(number))
        {
            outcome = self.disk.write_header(&header).and(outcome);
        }
        outcome
    }

    fn flush_slot(&self, slot: &Arc<Slot>) -> io::Result<Flushed> {
        // Somebody is filling the slot: it is written when they are done.
        let Some(_tenancy) = slot.tenancy.try_lock() else {
            return Ok(Flushed::Busy);
        };
        let standing = self.slots.standing(slot);
        let mut record = {
            let state = slot.state.lock();
            match (&state.crcs, state.retired) {
                (Some(crcs), false) => slot.record(&state, crcs),
                _ => return Ok(Flushed::Retired),
            }
        };
        record.flags.0 = record.flags.0 & !saved_priority::BITS | standing;
        self.disk.write_slot(slot.id, &record)?;
        let mut state = slot.state.lock();
        state.flags.0 = state.flags.0 & !saved_priority::BITS | standing;
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
