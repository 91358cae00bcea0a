//! Taking slots from their tenants: the policy's victims, the chunks of dead versions, and what a user asks to be gone.
//!
//! Invariants:
//!
//! * A slot is taken from its tenant only with its write lock held, so that nobody of the old tenancy writes afterwards, and
//!   not while a check of it is under way: a late read would bring pages in that the next tenant never checked.
//! * Its record is written free at once, so that no two records ever name one chunk.
//! * Nobody waits for a slot that is in use: it stays, and another one is proposed.
//! * A pinned slot is never taken; one of a version that the remote has no more and somebody reads, only for want of others.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::api::cache::Cache;
use crate::engine::index::free_places::FreePlace;
use crate::engine::index::segment::Table;
use crate::engine::index::slot::Slot;
use crate::engine::index::slots::Lookup;
use crate::engine::space::stale_versions::Dead;
use crate::format::{SlotFlags, SlotRecord};
use crate::runtime::executor::{Job, Lane};
use crate::runtime::test_faults::{Rule, is_broken};
use crate::units::{SlotId, Tag};

/// How many victims are proposed before a search gives up, or takes what is spared at first.
const PROPOSALS: u32 = 32;
/// How many chunks of a dead version are looked up in one go.
const DEAD_PIECE: u64 = 256;

impl Cache {
    /// Evicts one chunk of this chunk's segment; its place is free then, with its file. `None` where nothing can be taken.
    pub(crate) fn evict_from(&self, tag: Tag, chunk_no: u64) -> Option<Arc<Slot>> {
        let number = self.slots.segment_number(tag, chunk_no);
        self.evict_in(number, None)
    }

    /// Makes room for more of a slot's own chunk: a file that nobody needs goes, or another chunk with its file.
    pub(crate) fn make_room(&self, slot: &Arc<Slot>) -> Option<()> {
        let number = self.slots.segment_number(slot.tag, slot.chunk_no);
        self.free_file(number, Some(slot))
            .or_else(|| self.free_elsewhere(number))
    }

    /// Makes room for a new chunk of `pages` pages, for which there is a free place with too small a file. A victim's file
    /// may suit it better, so the victim's place becomes free first, and one that suits it less goes.
    pub(crate) fn make_room_for(&self, tag: Tag, chunk_no: u64, pages: u32) -> Option<()> {
        let number = self.slots.segment_number(tag, chunk_no);
        self.unlink_left(number, |table| table.take_spare(pages))
            .or_else(|| self.evict_in(number, None).map(drop))
            .or_else(|| self.free_elsewhere(number))
    }

    /// Unlinks one file of a segment: of a free place, else of a victim.
    pub(crate) fn free_file(&self, number: u32, but: Option<&Arc<Slot>>) -> Option<()> {
        self.unlink_left(number, Table::take_left).or_else(|| {
            let victim = self.evict_in(number, but)?;
            self.unlink_left(number, |table| table.take_left_at(victim.id))
        })
    }

    /// Unlinks one file of another segment, of the one that holds most if possible.
    fn free_elsewhere(&self, but: u32) -> Option<()> {
        let others = self.slots.fullest().into_iter().filter(|n| *n != but);
        others.into_iter().find_map(|number| {
            if let Err(error) = self.slots.load(number) {
                self.disk_failed("loading a segment of the index", &error);
                return None;
            }
            self.free_file(number, None)
        })
    }

    /// Evicts one chunk of a loaded segment, but not this slot.
    pub(crate) fn evict_in(&self, number: u32, but: Option<&Arc<Slot>>) -> Option<Arc<Slot>> {
        let mut probes = 0;
        let taken = (0..PROPOSALS).find_map(|n| {
            let victim = self
                .slots
                .with_segment(number, |table| table.victim(&mut probes))??;
            let late = n >= PROPOSALS / 2;
            let spared = but.is_some_and(|but| Arc::ptr_eq(but, &victim))
                || victim.state.lock().flags.has(SlotFlags::PINNED)
                || (!late && self.versions.is_irreplaceable(victim.tag));
            (!spared && self.retire(&victim)).then_some(victim)
        });
        self.counters.cull_probes.add(u64::from(probes));
        if taken.is_some() {
            self.counters.slots_culled.add(1);
        }
        taken
    }

    /// Has records freed where a table runs short of them, and the chunks of dead versions. Does not wait for the disk.
    pub(crate) fn bury_on(self: &Arc<Self>) {
        let short = self.blobs.take_short();
        if !(short || self.versions.has_dead()) || self.burying.swap(true, Ordering::AcqRel) {
            return;
        }
        let cache = Arc::clone(self);
        let job: Job = Box::new(move || {
            if short {
                cache.free_records();
            }
            cache.bury();
            cache.burying.store(false, Ordering::Release);
        });
        if self.ground.executor.submit(Lane::Write, job).is_err() {
            self.burying.store(false, Ordering::Release);
        }
    }

    /// Frees blob records that nobody asked for of late; the versions that they named are dead.
    fn free_records(&self) {
        for record in self.blobs.free_some(|tag| self.versions.is_in_use(tag)) {
            self.counters.records_freed.add(1);
            let dead = Dead::new(record.tag, record.chunk, record.size);
            self.versions.superseded(dead);
        }
    }

    /// Frees the next chunks of dead versions; whether there are more.
    pub(crate) fn bury(&self) -> bool {
        let Some((tag, chunks)) = self.versions.next_dead(DEAD_PIECE) else {
            return false;
        };
        for chunk_no in chunks {
            // What cannot be had now leaves by the policy's queue.
            if self.slots.load_for(tag, chunk_no).is_ok()
                && let Lookup::Found(slot) = self.slots.find_now(tag, chunk_no)
                && self.retire(&slot)
            {
                self.counters.slots_superseded.add(1);
            }
        }
        self.versions.has_dead()
    }

    /// Unlinks the file of a free place that `take` takes out of a segment's table. `None` where there is none. The place is
    /// nobody's meanwhile: a new tenant would lose its file.
    pub(crate) fn unlink_left(
        &self,
        number: u32,
        take: impl FnOnce(&mut Table) -> Option<(SlotId, FreePlace)>,
    ) -> Option<()> {
        let (id, left) = self.slots.with_segment(number, take)??;
        let gone = self.unlink_at(number, id, left);
        gone.map_err(|error| self.disk_failed("unlinking a chunk file", &error))
            .ok()
    }

    /// Unlinks the file of a free place that was taken out of its segment's table, and puts it back.
    pub(crate) fn unlink_at(&self, number: u32, id: SlotId, left: FreePlace) -> io::Result<()> {
        let empty = FreePlace {
            generation: left.generation,
            ..FreePlace::default()
        };
        // The record may still be that of a twin, which would be one of blocks without a file.
        let gone = self
            .write_free(id, left)
            .and_then(|()| self.ground.storage.remove_chunk(id))
            .and_then(|()| self.write_free(id, empty));
        let after = match &gone {
            Ok(()) => empty,
            Err(_) => left,
        };
        self.slots
            .with_segment(number, |table| table.put_left(id, after));
        gone?;
        self.slots.account_in(number, left.alloc_4k, 0);
        self.counters.files_unlinked.add(1);
        Ok(())
    }

    /// Takes a slot from its tenant, unless somebody writes to it. From here on no reader is answered from it.
    pub(crate) fn retire(&self, slot: &Arc<Slot>) -> bool {
        let Some(_tenancy) = slot.tenancy.try_lock() else {
            return false;
        };
        let left = FreePlace::of(slot);
        {
            let mut state = slot.state.lock();
            // A check that is under way would bring pages in that the next tenant has never checked.
            let checked = !state.checking.is_empty() && !is_broken(Rule::RetireSparesChecked);
            if state.retired || checked {
                return false;
            }
            state.retire();
        }
        // The place may stay free for long, and the version be filled again elsewhere: its record must not be its twin.
        if let Err(error) = self.write_free(slot.id, left) {
            self.disk_failed("freeing a slot", &error);
        }
        self.slots
            .with_table_of(slot, |table| table.evict(slot, left))
            .unwrap_or(false)
    }

    /// Drops a slot whose proof does not hold. Its sector is made free where that can be written; where not, the next
    /// check drops it again. Called with the tenancy locked. The place is nobody's until the last check of the slot is over,
    /// the caller's own included: a late read would bring pages in that the next tenant never checked.
    pub(crate) fn forget_slot(&self, slot: &Arc<Slot>) {
        let left = FreePlace::of(slot);
        {
            let mut state = slot.state.lock();
            if state.retired {
                return;
            }
            state.retire();
        }
        self.counters.slots_dropped.add(1);
        // The place is handed out only after the free record is written: the next tenant's sector must come later.
        if let Err(error) = self.write_free(slot.id, left) {
            self.disk_failed("freeing a slot", &error);
        }
        let held = self.slots.with_table_of(slot, |table| table.remove(slot));
        if held != Some(true) {
            return;
        }
        let free = {
            let mut state = slot.state.lock();
            let unread = state.checking.is_empty();
            if !unread {
                state.held = Some(left);
            }
            unread.then_some(left)
        };
        self.hand_on(slot, free);
    }

    /// Frees the place of a slot that was dropped, once nobody reads its file.
    pub(crate) fn hand_on(&self, slot: &Slot, place: Option<FreePlace>) {
        if let Some(left) = place {
            self.slots
                .with_table_of(slot, |table| table.put_left(slot.id, left));
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
        let record = SlotRecord::free(self.disk.stamp(), generation, alloc_4k, flags);
        self.disk.write_slot(id, &record)
    }
}
