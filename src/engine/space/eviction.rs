//! Taking slots from their tenants: the policy's victims, the chunks of dead versions, and what a user asks to be gone.
//!
//! Invariants:
//!
//! * A slot is taken from its tenant only with its write lock held, so that no fill of the old tenancy writes
//!   afterwards, and not while a check of it is under way: a late read would bring pages in that the next tenant never
//!   checked.
//! * Its record is written free at once, so that no two records ever name one chunk.
//! * No fill waits for a slot that is in use: it stays, and another one is proposed.
//! * A pinned slot is never taken; one of a version that the remote has no more and that is read, only for want of
//!   others.

use std::sync::Arc;

use crate::engine::index::free_places::FreePlace;
use crate::engine::index::segment::SegmentTable;
use crate::engine::index::slot::Slot;
use crate::engine::space::cache_space::Space;
use crate::format::SlotFlags;
use crate::storage::{DiskOp, IndexPart};
use crate::units::{SlotId, Tag};

/// How many victims are proposed before a search gives up, or takes what is spared at first.
const PROPOSALS: u32 = 32;

impl Space {
    /// Evicts one chunk of this chunk's segment; its place is free then, with its file. `None` where nothing can be
    /// taken.
    pub(super) fn evict_from(&self, tag: Tag, chunk_no: u64) -> Option<Arc<Slot>> {
        let number = self.index.slots.segment_number(tag, chunk_no);
        self.evict_in(number, None)
    }

    /// Makes room for more of a slot's own chunk: a file of a free place goes, or another chunk with its file.
    pub(crate) fn make_room(&self, slot: &Arc<Slot>) -> Option<()> {
        let number = self.index.slots.segment_number(slot.tag, slot.chunk_no);
        self.free_file(number, Some(slot))
            .or_else(|| self.free_elsewhere(number))
    }

    /// Makes room for a new chunk of `pages` pages, for which there is a free place with too small a file. A victim's
    /// file may suit it better, so the victim's place becomes free first, and one that suits it less goes.
    pub(super) fn make_room_for(&self, tag: Tag, chunk_no: u64, pages: u32) -> Option<()> {
        let number = self.index.slots.segment_number(tag, chunk_no);
        self.unlink_free(number, |table| table.take_spare(pages))
            .or_else(|| self.evict_in(number, None).map(drop))
            .or_else(|| self.free_elsewhere(number))
    }

    /// Unlinks one file of a segment: of a free place, else of a victim.
    pub(super) fn free_file(&self, number: u32, but: Option<&Arc<Slot>>) -> Option<()> {
        self.unlink_free(number, SegmentTable::take_free_file)
            .or_else(|| {
                let victim = self.evict_in(number, but)?;
                self.unlink_free(number, |table| table.take_free_file_at(victim.id))
            })
    }

    /// Unlinks one file of another segment, of the one that holds most if possible.
    fn free_elsewhere(&self, but: u32) -> Option<()> {
        let others = self.index.slots.fullest().into_iter().filter(|n| *n != but);
        others.into_iter().find_map(|number| {
            if let Err(error) = self.index.slots.load(number) {
                self.index
                    .storage
                    .report(DiskOp::ReadIndex(IndexPart::Segment), &error);
                return None;
            }
            self.free_file(number, None)
        })
    }

    /// Evicts one chunk of a loaded segment, but not this slot.
    pub(super) fn evict_in(&self, number: u32, but: Option<&Arc<Slot>>) -> Option<Arc<Slot>> {
        let mut probes = 0;
        let taken = (0..PROPOSALS).find_map(|n| {
            let victim = self
                .index
                .slots
                .with_segment(number, |table| table.victim(&mut probes))??;
            let late = n >= PROPOSALS / 2;
            let spared = but.is_some_and(|but| Arc::ptr_eq(but, &victim))
                || victim.state.lock().flags.has(SlotFlags::PINNED)
                || (!late && self.stale.is_irreplaceable(victim.tag));
            (!spared && self.index.retire(&victim)).then_some(victim)
        });
        self.services.counters.cull_probes.add(u64::from(probes));
        if taken.is_some() {
            self.services.counters.slots_culled.add(1);
        }
        taken
    }

    /// Unlinks the file of a free place that `take` takes out of a segment's table. `None` where there is none. The
    /// place is in no table meanwhile: a new tenant would lose its file.
    pub(crate) fn unlink_free(
        &self,
        number: u32,
        take: impl FnOnce(&mut SegmentTable) -> Option<(SlotId, FreePlace)>,
    ) -> Option<()> {
        let (id, left) = self.index.slots.with_segment(number, take)??;
        let gone = self.index.unlink_at(number, id, left);
        gone.map_err(|error| self.index.storage.report(DiskOp::RemoveChunk, &error))
            .ok()
    }
}
