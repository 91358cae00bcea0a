//! The table of one segment: which slot is at which place, which places are free, and whose turn it is to go.
//!
//! Invariants:
//!
//! * A place is either free (its bit is set) or holds one slot, which the map finds.
//! * Every place with a slot is known to the policy, and no other is.

use std::io;
use std::sync::Arc;

use bitvec::vec::BitVec;
use hashbrown::HashTable;

use crate::engine::index::free_places::{FreePlace, FreePlaces};
use crate::engine::index::index_file::IndexFile;
use crate::engine::index::saved_priority;
use crate::engine::index::slot::Slot;
use crate::engine::policy;
use crate::engine::policy::api::Policy;
use crate::format::{SectorError, SlotFlags, SlotKind, SlotRecord, slot_hash};
use crate::units::{SlotId, Tag};

/// A loaded segment.
pub(crate) struct SegmentTable {
    pub(crate) base: u32,
    pub(crate) places: Vec<Option<Arc<Slot>>>,
    pub(crate) map: HashTable<u32>,
    free: BitVec,
    /// Free places that had a tenant.
    left: FreePlaces,
    pub(crate) policy: Box<dyn Policy>,
}

impl SegmentTable {
    /// Reads a segment's slot table. A sector that is not whole is a free place: one chunk is lost. Of two slots with
    /// the same chunk the one with the higher stamp holds.
    pub(crate) fn read(file: &IndexFile, number: u32, trusted_epoch: u64) -> io::Result<Self> {
        let count = file.geometry.slots_per_segment();
        let mut table = Self {
            base: number * count,
            places: vec![None; count as usize],
            map: HashTable::new(),
            free: BitVec::repeat(true, count as usize),
            left: FreePlaces::default(),
            policy: policy::chosen(count),
        };
        let start = file.geometry.slot_table_offset(number);
        file.for_each_sector(start, count, |place, offset, sector| {
            let record = match SlotRecord::decode(sector, file.uuid, offset) {
                Ok(record) => record,
                Err(SectorError::Blank) => return,
                // The record does not tell whether the file behind a damaged sector is tainted: it is unlinked before
                // reuse.
                Err(_) => return table.doubt(place),
            };
            let right_place = file
                .geometry
                .segment_of(slot_hash(record.tag, record.chunk_no))
                == number;
            match record.kind {
                SlotKind::Data if right_place => table.adopt(place, &record, trusted_epoch),
                _ => table.leave(place, &record),
            }
        })?;
        table.restore_policy();
        Ok(table)
    }

    fn adopt(&mut self, place: u32, record: &SlotRecord, trusted_epoch: u64) {
        let slot = Arc::new(Slot::from_record(
            SlotId(self.base + place),
            record,
            trusted_epoch,
        ));
        let hash = slot_hash(record.tag, record.chunk_no);
        if let Some(twin) = self.find(hash, record.tag, record.chunk_no) {
            if twin.state.lock().stamp >= record.stamp {
                return self.leave(place, record);
            }
            let left = twin.free_place();
            self.unlink(&twin, left);
        }
        self.link(slot);
    }

    /// Tells the policy what was found, oldest first.
    fn restore_policy(&mut self) {
        let mut found: Vec<_> = self.places.iter().flatten().collect();
        found.sort_by_key(|slot| slot.state.lock().stamp);
        for slot in found {
            let state = slot.state.lock();
            let main = state.flags.0 & saved_priority::BITS != 0;
            self.policy
                .restore(slot.id.0 - self.base, state.alloc_4k, main);
        }
    }

    fn doubt(&mut self, place: u32) {
        let flags = SlotFlags(SlotFlags::TAINTED);
        self.left.put(
            place,
            FreePlace {
                flags,
                ..FreePlace::default()
            },
        );
    }

    fn leave(&mut self, place: u32, record: &SlotRecord) {
        let SlotRecord {
            generation,
            alloc_4k,
            flags,
            ..
        } = *record;
        self.left.put(
            place,
            FreePlace {
                generation,
                alloc_4k,
                flags,
            },
        );
    }

    /// The slot of this chunk.
    pub(crate) fn find(&self, hash: u64, tag: Tag, chunk_no: u64) -> Option<Arc<Slot>> {
        let holds = |place: &u32| {
            self.slot_at(*place)
                .is_some_and(|slot| slot.tag == tag && slot.chunk_no == chunk_no)
        };
        let place = self.map.find(spread(hash), holds)?;
        self.slot_at(*place).map(Arc::clone)
    }

    /// Puts a new tenant at its place, which must be free.
    pub(crate) fn insert(&mut self, slot: Arc<Slot>) {
        let (place, pages) = (slot.id.0 - self.base, slot.state.lock().alloc_4k);
        self.policy.insert(place, pages, fingerprint(&slot));
        self.link(slot);
    }

    fn link(&mut self, slot: Arc<Slot>) {
        let place = slot.id.0 - self.base;
        let hash = spread(slot_hash(slot.tag, slot.chunk_no));
        self.free.set(place as usize, false);
        self.left.take(place);
        if let Some(entry) = self.places.get_mut(place as usize) {
            *entry = Some(slot);
        }
        let places = &self.places;
        self.map.insert_unique(hash, place, |p| {
            let slot = places.get(*p as usize).and_then(Option::as_ref);
            slot.map_or(0, |s| spread(slot_hash(s.tag, s.chunk_no)))
        });
    }

    /// Takes a slot out, if the place is still its own: that belongs to no tenant until [`SegmentTable::put_free`].
    /// Returns whether it was.
    pub(crate) fn remove(&mut self, slot: &Arc<Slot>) -> bool {
        let held = self.take_out(slot);
        if held {
            self.policy.removed(slot.id.0 - self.base);
        }
        held
    }

    /// Takes a victim out and frees its place, if the place is still that slot's. Returns whether it was.
    pub(crate) fn evict(&mut self, slot: &Arc<Slot>, left: FreePlace) -> bool {
        let held = self.unlink(slot, left);
        if held {
            self.policy
                .evicted(slot.id.0 - self.base, fingerprint(slot));
        }
        held
    }

    /// Proposes a slot to be taken from its tenant.
    pub(crate) fn victim(&mut self, probes: &mut u32) -> Option<Arc<Slot>> {
        let places = &self.places;
        let slot_at = |place: u32| places.get(place as usize).and_then(Option::as_ref);
        let mut used = |place| slot_at(place).is_some_and(|slot| slot.take_used());
        let place = self.policy.victim(&mut used, probes)?;
        slot_at(place).cloned()
    }

    /// Notes what a slot's file takes now.
    pub(crate) fn resize(&mut self, slot: &Slot, pages: u32) {
        self.policy.resize(slot.id.0 - self.base, pages);
    }

    fn unlink(&mut self, slot: &Arc<Slot>, left: FreePlace) -> bool {
        let held = self.take_out(slot);
        held.then(|| self.put_free(slot.id, left));
        held
    }

    fn take_out(&mut self, slot: &Arc<Slot>) -> bool {
        let place = slot.id.0 - self.base;
        if !self
            .slot_at(place)
            .is_some_and(|held| Arc::ptr_eq(held, slot))
        {
            return false;
        }
        let hash = spread(slot_hash(slot.tag, slot.chunk_no));
        if let Ok(entry) = self.map.find_entry(hash, |p| *p == place) {
            entry.remove();
        }
        if let Some(entry) = self.places.get_mut(place as usize) {
            *entry = None;
        }
        true
    }

    /// The free place with the file that suits a chunk of so many pages best.
    pub(crate) fn free_place_for(&self, pages: u32) -> Option<(SlotId, FreePlace)> {
        let (place, left) = self.left.best_for(pages)?;
        Some((SlotId(self.base + place), left))
    }

    /// A free place with a file that a chunk of so many pages fills without making it grow.
    pub(crate) fn free_place_exact(&self, pages: u32) -> Option<(SlotId, FreePlace)> {
        let (place, left) = self.left.exact(pages)?;
        Some((SlotId(self.base + place), left))
    }

    /// A free place without a file; asked where [`SegmentTable::free_place_for`] has none with one.
    pub(crate) fn empty_place(&self) -> Option<(SlotId, FreePlace)> {
        let place = self.left.without_file().or_else(|| {
            let place = u32::try_from(self.free.first_one()?).ok()?;
            Some((place, self.left.get(place).unwrap_or_default()))
        });
        place.map(|(place, left)| (SlotId(self.base + place), left))
    }

    /// Takes the free place with the largest file out of the table, until [`SegmentTable::put_free`].
    pub(crate) fn take_free_file(&mut self) -> Option<(SlotId, FreePlace)> {
        let (place, _) = self.left.largest()?;
        self.take_free_file_at(SlotId(self.base + place))
    }

    /// As [`SegmentTable::take_free_file`], but not the place that suits a chunk of so many pages best.
    pub(crate) fn take_spare(&mut self, pages: u32) -> Option<(SlotId, FreePlace)> {
        let place = self.left.spare(pages)?;
        self.take_free_file_at(SlotId(self.base + place))
    }

    /// Takes a free place that has had a tenant out of the table, until [`SegmentTable::put_free`].
    pub(crate) fn take_free_file_at(&mut self, id: SlotId) -> Option<(SlotId, FreePlace)> {
        let place = id.0 - self.base;
        let left = self.left.take(place)?;
        self.free.set(place as usize, false);
        Some((id, left))
    }

    /// Takes a free place out of the table, whatever is known of it, until [`SegmentTable::put_place_back`]; `None`
    /// where it is not free.
    pub(crate) fn take_place(&mut self, id: SlotId) -> Option<Option<FreePlace>> {
        let place = id.0 - self.base;
        let mut free = self.free.get_mut(place as usize).filter(|free| **free)?;
        *free = false;
        drop(free);
        Some(self.left.take(place))
    }

    /// Puts a place back that [`SegmentTable::take_place`] has taken.
    pub(crate) fn put_place_back(&mut self, id: SlotId, left: Option<FreePlace>) {
        match left {
            Some(left) => self.put_free(id, left),
            None => self.free.set((id.0 - self.base) as usize, true),
        }
    }

    /// Puts a free place back.
    pub(super) fn put_free(&mut self, id: SlotId, left: FreePlace) {
        let place = id.0 - self.base;
        self.free.set(place as usize, true);
        self.left.put(place, left);
    }

    pub(crate) fn slot_at(&self, place: u32) -> Option<&Arc<Slot>> {
        self.places.get(place as usize)?.as_ref()
    }

    pub(crate) fn allocated(&self) -> u64 {
        let slots = self
            .places
            .iter()
            .flatten()
            .map(|slot| slot.state.lock().alloc_4k);
        let pages = slots.map(u64::from).sum::<u64>() + self.left.pages();
        pages << 12
    }
}

/// By which the policy knows a chunk again.
fn fingerprint(slot: &Slot) -> u32 {
    let [a, b, c, d, ..] = slot_hash(slot.tag, slot.chunk_no).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The map looks at the top bits of a hash, which are all equal within a segment.
fn spread(hash: u64) -> u64 {
    hash.rotate_left(32)
}
