//! A place and room for a chunk that is to be filled: the slot that holds it, a free place, or a victim's.
//!
//! Invariants:
//!
//! * A fill reserves the most by which its file can grow before it writes: two writers never share the last room.
//! * Where the cache has to give back (`limits.rs`), chunks only take over files that they fill exactly.
//! * A new tenant takes over a file in place. Of the free places that have one it gets that which moves the fewest
//!   bytes; a larger one is cut, a tainted one unlinked, when the tenancy is founded (`fill.rs`).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::engine::index::free_places::FreePlace;
use crate::engine::index::slot::{Slot, SlotState, Tenancy};
use crate::engine::placement::layout::Layout;
use crate::engine::space::cache_space::Space;
use crate::engine::space::limits::{Taken, Verdict};
use crate::engine::space::room::Room;
use crate::format::{SlotFlags, slot_hash};
use crate::runtime::locks::Mutex;
use crate::storage::{DiskOp, IndexPart};
use crate::units::{BlockMask, SlotId, Tag};

/// How much one fill may free before it gives up: enough for the largest request among files of one page.
const ATTEMPTS: usize = 2048;
/// How many victims it takes in search of a file of its own size, where no file may grow.
const ROTATIONS: u32 = 1;

impl Space {
    /// The slot of a chunk: the one that holds it, or a place for it. `None` where the limits leave no room and nothing
    /// can be evicted, or the index cannot be read. Waits for the disk.
    pub(crate) fn slot_for(
        &self,
        plan: &Layout,
        chunk_no: u64,
        bytes: u64,
    ) -> Option<(Arc<Slot>, Room<'_>)> {
        let tag = plan.tag()?;
        // A file takes whole pages.
        let bytes = bytes.next_multiple_of(4096);
        let valid_len = plan.chunk.valid_len(plan.size, chunk_no);
        if let Err(error) = self.index.slots.load_for(tag, chunk_no) {
            self.index
                .storage
                .report(DiskOp::ReadIndex(IndexPart::Segment), &error);
            return None;
        }
        let mut rotations = 0;
        for _ in 0..ATTEMPTS {
            match self.place_for(plan, tag, chunk_no, bytes)? {
                Step::Done(slot) => {
                    let alloc_4k = slot.state.lock().alloc_4k;
                    match self.reserve(bytes, alloc_4k, valid_len) {
                        Ok(room) => return Some((slot, room)),
                        Err(Verdict::Closed) => return None,
                        Err(_) => self.make_room(&slot)?,
                    }
                }
                Step::Closed if rotations == ROTATIONS => return None,
                Step::Closed => {
                    rotations += 1;
                    drop(self.evict_from(tag, chunk_no)?);
                }
                Step::NeedPlace => drop(self.evict_from(tag, chunk_no)?),
                Step::NeedRoom(pages) => self.make_room_for(tag, chunk_no, pages)?,
            }
        }
        None
    }

    /// Looks for the chunk's slot, or founds it at a free place if there is room for the first write.
    fn place_for(&self, plan: &Layout, tag: Tag, chunk_no: u64, bytes: u64) -> Option<Step> {
        let hash = slot_hash(tag, chunk_no);
        let valid_len = plan.chunk.valid_len(plan.size, chunk_no);
        let pages = u32::try_from(valid_len.div_ceil(4096)).unwrap_or(u32::MAX);
        self.index.slots.with_table(tag, chunk_no, |table| {
            if let Some(slot) = table.find(hash, tag, chunk_no) {
                return Step::Done(slot);
            }
            let (left, empty) = (table.free_place_for(pages), table.empty_place());
            let gate = |bytes: u64, left: &FreePlace| {
                let reserved = self.reserve(bytes, left.alloc_4k, valid_len).map(drop);
                reserved.err().unwrap_or(Verdict::Fits)
            };
            // A new file only where the whole chunk has room: otherwise it would drive others out as it grows, whose
            // files could have been taken over instead.
            let place = match (left, empty) {
                (Some(place), _) => Some((place, gate(bytes, &place.1))),
                (None, Some(place)) => Some((place, gate(valid_len, &FreePlace::default()))),
                (None, None) => None,
            };
            let place = match place {
                Some((place, Verdict::Fits)) => place,
                Some((_, Verdict::Closed)) => match table.free_place_exact(pages) {
                    Some(place) => place,
                    None => return Step::Closed,
                },
                // A victim of this segment hands its file on.
                Some((_, Verdict::Full)) if left.is_some() => return Step::NeedRoom(pages),
                _ => return Step::NeedPlace,
            };
            let (id, left) = place;
            let slot = Arc::new(self.new_tenant(id, left, plan, tag, chunk_no));
            table.insert(Arc::clone(&slot));
            Step::Done(slot)
        })
    }

    /// Reserves room for a file that takes `alloc_4k` pages to take `bytes` more of a chunk of `valid_len` bytes, until
    /// the room is dropped: what was written is accounted by then. Two writers never share the last room.
    /// Errs with what stands in the way.
    fn reserve(&self, bytes: u64, alloc_4k: u32, valid_len: u64) -> Result<Room<'_>, Verdict> {
        let grows = grows_by(bytes, u64::from(alloc_4k) << 12, valid_len);
        let taken = |reserved: u64| {
            let taken = self.taken();
            Taken {
                bytes: taken.bytes + reserved,
                ..taken
            }
        };
        self.reserved.reserve(grows, bytes.max(grows), |reserved| {
            match self.limits.allow(taken(reserved), grows, alloc_4k == 0) {
                Verdict::Fits => Ok(()),
                other => Err(other),
            }
        })
    }

    fn new_tenant(
        &self,
        id: SlotId,
        left: FreePlace,
        plan: &Layout,
        tag: Tag,
        chunk_no: u64,
    ) -> Slot {
        let valid_len = plan.chunk.valid_len(plan.size, chunk_no);
        let minutes = self.services.clock.wall().as_secs() / 60;
        self.services
            .counters
            .slots_reused
            .add(u64::from(left.alloc_4k > 0));
        Slot {
            id,
            generation: left.generation.wrapping_add(1),
            tag,
            chunk_no,
            chunk: plan.chunk,
            valid_len: u32::try_from(valid_len).unwrap_or(u32::MAX),
            blob_hint: plan.record,
            used: AtomicBool::new(false),
            tenancy: Mutex::new(Tenancy::Pending),
            state: Mutex::new(SlotState {
                present: BlockMask::NONE,
                verified: BlockMask::NONE,
                checking: BlockMask::NONE,
                scrubbing: BlockMask::NONE,
                doubts: 0,
                leases: 0,
                read: BlockMask::NONE,
                retired: false,
                held: None,
                suspect: false,
                stamp: self.index.file.stamp(),
                alloc_4k: left.alloc_4k,
                flags: SlotFlags(left.flags.0 & SlotFlags::TAINTED),
                noted: false,
                last_use: u32::try_from(minutes).unwrap_or(u32::MAX),
                crcs: None,
            }),
        }
    }
}

/// The most by which a file that takes `allocated` bytes grows when `bytes` bytes of a chunk of `valid_len` bytes are
/// written. What a former tenant's file takes beyond the chunk is cut off first: see [`Room::keep`].
fn grows_by(bytes: u64, allocated: u64, valid_len: u64) -> u64 {
    bytes.min(valid_len.next_multiple_of(4096).saturating_sub(allocated))
}

/// What a search for a place comes to.
enum Step {
    Done(Arc<Slot>),
    NeedPlace,
    /// No file may grow or be made, and none is left that the chunk fills exactly.
    Closed,
    /// For a chunk of so many pages.
    NeedRoom(u32),
}
