//! What of a read the cache has: the slots that hold its blocks, and the blocks that are missing.

use std::ops::Range;
use std::sync::Arc;

use crate::engine::flight::blocks::Flight;
use crate::engine::index::saved_priority::SavedPriorities;
use crate::engine::index::slot::Slot;
use crate::engine::index::slots::Lookup;
use crate::engine::placement::layout::Layout;
use crate::engine::read::reads::Reads;
use crate::engine::version::object::Object;
use crate::storage::{DiskOp, IndexPart};
use crate::units::{BlockMask, ByteRange};

/// Whether what the index says in memory is all there is to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Knowledge {
    /// A segment that is not loaded must be loaded first.
    Partial,
    /// The disk did not answer: what is not in memory counts as absent.
    Final,
}

/// What a look at the slots found.
#[derive(Default)]
pub(super) struct Found {
    /// Blocks that are in a slot, with the claims to check them.
    pub(super) present: Vec<(Arc<Slot>, BlockMask)>,
    pub(super) missing: Vec<u64>,
}

impl Reads {
    /// Sorts the blocks that are not on their way into those that a slot holds (and claims their check) and those that
    /// are missing. `None` where a segment must be loaded first.
    pub(super) fn look_up(
        &self,
        object: &Object,
        flight: &Flight,
        layout: &Layout,
        blocks: Range<u64>,
        knowledge: Knowledge,
    ) -> Option<Found> {
        let mut found = Found::default();
        let mut chunk: Option<(u64, Option<Arc<Slot>>)> = None;
        let disk_answers = object.disk_answers();
        for block in blocks.filter(|block| !flight.is_awaited(*block, disk_answers)) {
            let (chunk_no, n) = layout.chunk.locate(block);
            if chunk.as_ref().is_none_or(|(no, _)| *no != chunk_no) {
                let tag = layout.tag();
                let slot = match tag.map(|tag| self.index.slots.find_now(tag, chunk_no)) {
                    Some(Lookup::Found(slot)) => Some(slot),
                    Some(Lookup::Unloaded) if knowledge == Knowledge::Partial => {
                        self.release(&found.present);
                        return None;
                    }
                    _ => None,
                };
                chunk = Some((chunk_no, slot));
            }
            let slot = chunk.as_ref().and_then(|(_, slot)| slot.as_ref());
            let claims = |slot: &&Arc<Slot>| claim_check(slot, n, &self.index.priorities);
            match slot.filter(|slot| disk_answers && claims(slot)) {
                None => found.missing.push(block),
                Some(slot) => match found.present.last_mut() {
                    Some((last, mask)) if Arc::ptr_eq(last, slot) => {
                        *mask = mask.with(BlockMask::one(n))
                    }
                    _ => found.present.push((Arc::clone(slot), BlockMask::one(n))),
                },
            }
        }
        Some(found)
    }

    /// Gives claims back.
    pub(super) fn release(&self, present: &[(Arc<Slot>, BlockMask)]) {
        for (slot, mask) in present {
            let place = slot.state.lock().end_checks(*mask);
            self.index.hand_on(slot, place);
        }
    }

    /// The blocks of `ahead` that are neither on their way nor in a slot, and whether some lie where no index is
    /// loaded.
    pub(super) fn missing_ahead(
        &self,
        flight: &Flight,
        layout: &Layout,
        ahead: ByteRange,
    ) -> (Vec<u64>, bool) {
        let Some(tag) = layout.tag() else {
            return (Vec::new(), false);
        };
        let mut unloaded = false;
        let absent = |block: &u64| {
            let (chunk_no, n) = layout.chunk.locate(*block);
            !flight.has(*block)
                && match self.index.slots.find_now(tag, chunk_no) {
                    Lookup::Absent => true,
                    Lookup::Unloaded => {
                        unloaded = true;
                        false
                    }
                    Lookup::Found(slot) => !slot.state.lock().present.has(n),
                }
        };
        let ahead = ahead.clip(ByteRange::new(0, layout.size));
        let missing = layout.chunk.blocks_of(ahead).filter(absent).collect();
        (missing, unloaded)
    }

    /// Loads the segments that hold the slots of `range`. Waits for the disk.
    pub(super) fn load_slots(&self, layout: &Layout, range: ByteRange) -> Knowledge {
        let Some(tag) = layout.tag() else {
            return Knowledge::Partial;
        };
        let chunk = layout.chunk.bytes();
        for chunk_no in range.start / chunk..=range.end / chunk {
            if let Err(error) = self.index.slots.load_for(tag, chunk_no) {
                let storage = &self.index.storage;
                storage.report(DiskOp::ReadIndex(IndexPart::Segment), &error);
                return Knowledge::Final;
            }
        }
        Knowledge::Partial
    }

    /// Whether the cache has the first block of the version that the object is laid out for; `None` where that is not
    /// known without waiting for the disk.
    pub(super) fn has_first(&self, object: &Object) -> Option<bool> {
        let tag = object.layout()?.tag()?;
        match self.index.slots.find_now(tag, 0) {
            Lookup::Found(slot) => Some(slot.state.lock().present.has(0)),
            Lookup::Absent => Some(false),
            Lookup::Unloaded => None,
        }
    }
}

/// Claims the check of a present block for the caller; false where it is absent or another check of it is under way.
fn claim_check(slot: &Slot, n: u32, priorities: &SavedPriorities) -> bool {
    let state = &mut *slot.state.lock();
    let free = !state.retired && state.present.has(n) && !state.checking.has(n);
    if free {
        // What is read from disk is unchecked until the check is done.
        state.checking = state.checking.with(BlockMask::one(n));
        state.doubt();
        slot.note_read(state, BlockMask::one(n), priorities);
    }
    free
}
