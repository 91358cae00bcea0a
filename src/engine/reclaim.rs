//! Places for new chunks: a free slot, or one whose chunk no blob record names any more.
//!
//! Choosing among live chunks is culling, which has its own place later: until then a cache that is full of live chunks
//! takes no more, and misses are served from the remote. Invariants:
//!
//! * A slot is taken from its tenant only with its write lock held, so that nobody of the old tenancy writes afterwards.
//! * A superseded version that somebody has open keeps its slots.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Cache;
use super::blob::Plan;
use super::slot::{Slot, SlotState, Tenancy};
use super::slots::{FreePlace, Table};
use crate::format::{SlotFlags, SlotRecord, slot_hash};
use crate::units::{BlockMask, SlotId, Tag};

/// How many places one search looks at: a fill does not wait for a longer one.
const CANDIDATES: usize = 256;
/// How often one fill may free something before it gives up.
const ATTEMPTS: usize = 8;

/// Which versions are in use, and how often one was superseded.
#[derive(Default)]
pub(super) struct Reclaim {
    open: Mutex<HashMap<Tag, usize>>,
    superseded: AtomicU64,
    /// Bytes that fills under way may still add.
    reserved: Mutex<u64>,
}

/// Bytes of the size limit that a fill under way may use.
pub(super) struct Room<'a> {
    reclaim: &'a Reclaim,
    bytes: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        *self.reclaim.reserved.lock() -= self.bytes;
    }
}

impl Reclaim {
    /// A blob goes from one tag to another.
    pub(super) fn in_use(&self, now: Option<Tag>, before: Option<Tag>) {
        let mut open = self.open.lock();
        if let Some(tag) = now {
            *open.entry(tag).or_default() += 1;
        }
        if let Some(tag) = before
            && let Some(count) = open.get_mut(&tag)
        {
            *count -= 1;
            if *count == 0 {
                open.remove(&tag);
                // Its slots may be orphans now.
                self.note_superseded();
            }
        }
    }

    /// A version was superseded: a search that found nothing may find something now.
    pub(super) fn note_superseded(&self) {
        self.superseded.fetch_add(1, Ordering::Relaxed);
    }

    fn is_open(&self, tag: Tag) -> bool {
        self.open.lock().contains_key(&tag)
    }

    fn count(&self) -> u64 {
        self.superseded.load(Ordering::Relaxed)
    }
}

impl Cache {
    /// The slot of a chunk: the one that holds it, or a place for it. `None` where there is none within the size limit,
    /// or the index cannot be read. Waits for the disk.
    pub(super) fn slot_for(
        &self,
        plan: &Plan,
        chunk_no: u64,
        bytes: u64,
    ) -> Option<(Arc<Slot>, Room<'_>)> {
        let tag = plan.tag()?;
        // A file takes whole pages.
        let bytes = bytes.next_multiple_of(4096);
        let valid_len = plan.chunk.valid_len(plan.size, chunk_no);
        if let Err(error) = self.slots.load_for(tag, chunk_no) {
            self.disk_failed("loading a segment of the index", &error);
            return None;
        }
        let hash = slot_hash(tag, chunk_no);
        for _ in 0..ATTEMPTS {
            let step = self.slots.with_table(tag, chunk_no, |table| {
                if let Some(slot) = table.find(hash, tag, chunk_no) {
                    return Step::Done(slot);
                }
                match table.free_place() {
                    None => Step::NeedPlace,
                    Some((_, left)) if self.reserve(bytes, left.alloc_4k, valid_len).is_none() => {
                        Step::NeedRoom
                    }
                    Some((id, left)) => {
                        let slot = Arc::new(self.new_tenant(id, left, plan, tag, chunk_no));
                        table.insert(Arc::clone(&slot));
                        Step::Done(slot)
                    }
                }
            })?;
            match step {
                Step::Done(slot) => {
                    let alloc_4k = slot.state.lock().alloc_4k;
                    if let Some(room) = self.reserve(bytes, alloc_4k, valid_len) {
                        return Some((slot, room));
                    }
                }
                Step::NeedPlace => {
                    self.retire_orphan(tag, chunk_no)?;
                    continue;
                }
                Step::NeedRoom => {}
            }
            let freed = self.unlink_left(tag, chunk_no);
            freed.or_else(|| self.retire_orphan(tag, chunk_no))?;
        }
        None
    }

    /// Reserves room for a file that takes `alloc_4k` pages to take `bytes` more of a chunk of `valid_len` bytes, until
    /// the room is dropped: what was written is accounted by then. Two writers never share the last room.
    fn reserve(&self, bytes: u64, alloc_4k: u32, valid_len: u64) -> Option<Room<'_>> {
        let grows = grows_by(bytes, u64::from(alloc_4k) << 12, valid_len);
        let mut reserved = self.reclaim.reserved.lock();
        let fits = grows == 0 || self.used_bytes() + *reserved + grows <= self.capacity;
        fits.then(|| {
            *reserved += grows;
            Room {
                reclaim: &self.reclaim,
                bytes: grows,
            }
        })
    }

    fn new_tenant(
        &self,
        id: SlotId,
        left: FreePlace,
        plan: &Plan,
        tag: Tag,
        chunk_no: u64,
    ) -> Slot {
        let valid_len = plan.chunk.valid_len(plan.size, chunk_no);
        let minutes = self.ground.clock.wall().as_secs() / 60;
        // The file of a larger chunk would keep what it takes: it is unlinked at the founding, as a tainted one is.
        let oversized = u64::from(left.alloc_4k) << 12 > valid_len.next_multiple_of(4096);
        let unlink_first = oversized || left.flags.has(SlotFlags::TAINTED);
        Slot {
            id,
            generation: left.generation.wrapping_add(1),
            tag,
            chunk_no,
            chunk: plan.chunk,
            valid_len: u32::try_from(valid_len).unwrap_or(u32::MAX),
            blob_hint: plan.record,
            tenancy: Mutex::new(Tenancy::Unfounded),
            state: Mutex::new(SlotState {
                present: BlockMask::NONE,
                verified: BlockMask::NONE,
                checking: BlockMask::NONE,
                scrubbing: BlockMask::NONE,
                retired: false,
                suspect: false,
                stamp: self.disk.stamp(),
                alloc_4k: left.alloc_4k,
                flags: SlotFlags(if unlink_first { SlotFlags::TAINTED } else { 0 }),
                last_use: u32::try_from(minutes).unwrap_or(u32::MAX),
                crcs: None,
            }),
        }
    }

    /// Unlinks the file of one free place in the segment of this chunk. `None` where no free place has one. The place is
    /// nobody's meanwhile: a new tenant would lose its file.
    fn unlink_left(&self, tag: Tag, chunk_no: u64) -> Option<()> {
        let (id, left) = self.slots.with_table(tag, chunk_no, Table::take_left)??;
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
            .with_table(tag, chunk_no, |table| table.put_left(id, after))?;
        match gone {
            Ok(()) => self.slots.account(tag, chunk_no, left.alloc_4k, 0),
            Err(error) => {
                self.disk_failed("unlinking a chunk file", &error);
                return None;
            }
        }
        Some(())
    }

    /// Frees the place of one orphan in the segment of this chunk. `None` where a search found none.
    fn retire_orphan(&self, tag: Tag, chunk_no: u64) -> Option<()> {
        let superseded = self.reclaim.count();
        let candidates = self.slots.with_table(tag, chunk_no, |table| {
            table.candidates(CANDIDATES, superseded)
        })?;
        let orphan = candidates
            .into_iter()
            .find(|slot| self.is_orphan(slot) && self.retire(slot));
        orphan.map(|_| self.counters.slots_reused.add(1))
    }

    /// Whether no blob record names the slot's version, and nobody has it open.
    fn is_orphan(&self, slot: &Slot) -> bool {
        if self.reclaim.is_open(slot.tag) {
            return false;
        }
        match slot.blob_hint.map(|number| self.blobs.tag_of(number)) {
            None => true,
            Some(Ok(tag)) => tag != Some(slot.tag),
            // A disk that does not answer condemns nothing.
            Some(Err(_)) => false,
        }
    }

    /// Takes a slot from its tenant, unless somebody writes to it. From here on no reader is answered from it.
    fn retire(&self, slot: &Arc<Slot>) -> bool {
        let Some(_tenancy) = slot.tenancy.try_lock() else {
            return false;
        };
        let left = FreePlace::of(slot);
        {
            let mut state = slot.state.lock();
            // A check that is under way would bring pages in that the next tenant has never checked.
            if state.retired || !state.checking.is_empty() {
                return false;
            }
            state.retire();
        }
        // The place may stay free for long, and the version be filled again elsewhere: its record must not be its twin.
        if let Err(error) = self.write_free(slot.id, left) {
            self.disk_failed("freeing a slot", &error);
        }
        self.slots
            .with_table_of(slot, |table| table.remove(slot, left))
            .unwrap_or(false)
    }

    /// Drops a slot whose proof does not hold. Its sector is made free where that can be written; where not, the next
    /// check drops it again. Called with the tenancy locked.
    pub(super) fn forget_slot(&self, slot: &Arc<Slot>) {
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
        self.slots
            .with_table_of(slot, |table| table.remove(slot, left));
    }

    /// Writes the record of a free place.
    fn write_free(&self, id: SlotId, left: FreePlace) -> io::Result<()> {
        let FreePlace {
            generation,
            alloc_4k,
            flags,
        } = left;
        let record = SlotRecord::free(self.disk.stamp(), generation, alloc_4k, flags);
        self.disk.write_slot(id, &record)
    }
}

/// The most by which a file that takes `allocated` bytes grows when `bytes` bytes of a chunk of `valid_len` bytes are
/// written. A file that takes more than the chunk was a larger chunk's: nobody knows which part of it is allocated.
fn grows_by(bytes: u64, allocated: u64, valid_len: u64) -> u64 {
    let full = valid_len.next_multiple_of(4096);
    if allocated > full {
        bytes
    } else {
        bytes.min(full - allocated)
    }
}

/// What a search for a place needs next.
enum Step {
    Done(Arc<Slot>),
    NeedPlace,
    NeedRoom,
}
