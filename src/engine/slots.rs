//! The table of slots: by tag and chunk number to the slot that holds the chunk.
//!
//! One table per segment, loaded from the index at its first touch, so that opening costs the same whatever the size.
//! Invariants:
//!
//! * A place of a segment is free (its bit is set), holds one slot, which the map finds, or is nobody's for a while.
//! * The allocated bytes of a segment count the files of free places too.
//! * An unloaded segment counts what its header said.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitvec::vec::BitVec;
use hashbrown::HashTable;

use super::cull::{self, Policy};
use super::disk::Disk;
use super::left::{FreePlace, Left};
use super::slot::Slot;
use super::standing;
use super::sync::{Mutex, RwLock};
use crate::format::{SectorError, SegmentHeader, SlotFlags, SlotKind, SlotRecord, slot_hash};
use crate::units::{SlotId, Tag};

/// All segments.
pub(super) struct Slots {
    disk: Arc<Disk>,
    trusted_epoch: u64,
    segments: Box<[Segment]>,
}

struct Segment {
    table: RwLock<Option<Table>>,
    /// Held by whoever loads the table, so that it is read once.
    loading: Mutex<()>,
    /// Bytes on disk of this segment's chunk files.
    allocated: AtomicU64,
}

/// A loaded segment.
pub(super) struct Table {
    base: u32,
    places: Vec<Option<Arc<Slot>>>,
    map: HashTable<u32>,
    free: BitVec,
    /// Free places that had a tenant.
    left: Left,
    policy: Box<dyn Policy>,
}

/// What a lookup that cannot wait finds.
pub(super) enum Lookup {
    Found(Arc<Slot>),
    Absent,
    /// The segment was not loaded yet.
    Unloaded,
}

impl Slots {
    /// The table over `disk`, nothing loaded. `headers` are those of all segments, as far as they are whole.
    pub(super) fn new(
        disk: Arc<Disk>,
        trusted_epoch: u64,
        headers: &[Option<SegmentHeader>],
    ) -> Self {
        let segment = |header: &Option<SegmentHeader>| Segment {
            table: RwLock::new(None),
            loading: Mutex::new(()),
            allocated: AtomicU64::new(header.map_or(0, |h| h.allocated)),
        };
        Self {
            disk,
            trusted_epoch,
            segments: headers.iter().map(segment).collect(),
        }
    }

    /// The bytes on disk of all chunk files, as far as known.
    pub(super) fn allocated(&self) -> u64 {
        self.segments
            .iter()
            .map(|s| s.allocated.load(Ordering::Relaxed))
            .sum()
    }

    /// Loaded segments and used slots in them.
    pub(super) fn loaded(&self) -> (u64, u64) {
        let used = |s: &Segment| s.table.read().as_ref().map(|t| t.map.len() as u64);
        let counts: Vec<u64> = self.segments.iter().filter_map(used).collect();
        (counts.len() as u64, counts.iter().sum())
    }

    /// The slot of a chunk, without waiting.
    pub(super) fn find_now(&self, tag: Tag, chunk_no: u64) -> Lookup {
        let hash = slot_hash(tag, chunk_no);
        match &*self.segment(hash).table.read() {
            None => Lookup::Unloaded,
            Some(table) => table
                .find(hash, tag, chunk_no)
                .map_or(Lookup::Absent, Lookup::Found),
        }
    }

    /// Loads the segment of a chunk if it is not loaded. Waits for the disk.
    pub(super) fn load_for(&self, tag: Tag, chunk_no: u64) -> io::Result<()> {
        let number = self.disk.geometry.segment_of(slot_hash(tag, chunk_no));
        self.load(number).map(|_| ())
    }

    /// Loads a segment if it is not loaded; whether it was not.
    pub(super) fn load(&self, number: u32) -> io::Result<bool> {
        let Some(segment) = self.segments.get(number as usize) else {
            return Ok(false);
        };
        let _loading = segment.loading.lock();
        if segment.table.read().is_some() {
            return Ok(false);
        }
        let table = Table::read(&self.disk, number, self.trusted_epoch)?;
        segment
            .allocated
            .store(table.allocated(), Ordering::Relaxed);
        *segment.table.write() = Some(table);
        Ok(true)
    }

    /// The slots at the next `most` places of a loaded segment, from `place` on, and the place behind them; none at the
    /// segment's end.
    pub(super) fn slots_from(
        &self,
        number: u32,
        place: u32,
        most: usize,
    ) -> (Option<u32>, Vec<Arc<Slot>>) {
        let segment = self.segments.get(number as usize);
        let table = segment.map(|segment| segment.table.read());
        let Some(table) = table.as_ref().and_then(|table| table.as_ref()) else {
            return (None, Vec::new());
        };
        let rest = table.places.get(place as usize..).unwrap_or_default();
        let slots = rest.iter().take(most).flatten().cloned().collect();
        let next = (rest.len() > most).then(|| place + u32::try_from(most).unwrap_or_default());
        (next, slots)
    }

    /// Runs `change` on the loaded table of a chunk's segment; `None` where it is not loaded.
    pub(super) fn with_table<T>(
        &self,
        tag: Tag,
        chunk_no: u64,
        change: impl FnOnce(&mut Table) -> T,
    ) -> Option<T> {
        self.with_segment(self.segment_number(tag, chunk_no), change)
    }

    /// Runs `change` on the loaded table that holds `slot`.
    pub(super) fn with_table_of<T>(
        &self,
        slot: &Slot,
        change: impl FnOnce(&mut Table) -> T,
    ) -> Option<T> {
        self.with_table(slot.tag, slot.chunk_no, change)
    }

    /// The number of a chunk's segment.
    pub(super) fn segment_number(&self, tag: Tag, chunk_no: u64) -> u32 {
        self.disk.geometry.segment_of(slot_hash(tag, chunk_no))
    }

    /// The slot at a place of a loaded segment.
    pub(super) fn at(&self, id: SlotId) -> Option<Arc<Slot>> {
        let number = id.0 / self.disk.geometry.slots_per_segment();
        let table = self.segments.get(number as usize)?.table.read();
        let table = table.as_ref()?;
        table.slot_at(id.0 - table.base).cloned()
    }

    /// What the policy keeps of a slot over a restart, as flag bits of its record.
    pub(super) fn standing(&self, slot: &Slot) -> u32 {
        let table = self
            .segment(slot_hash(slot.tag, slot.chunk_no))
            .table
            .read();
        let main = table
            .as_ref()
            .is_some_and(|table| table.policy.is_main(slot.id.0 - table.base));
        let visited = slot.used.load(Ordering::Relaxed);
        let bit = |set, flag| if set { flag } else { 0 };
        bit(main, SlotFlags::QUEUE_MAIN) | bit(visited, SlotFlags::VISITED)
    }

    /// Runs `change` on the table of a segment; `None` where it is not loaded.
    pub(super) fn with_segment<T>(
        &self,
        number: u32,
        change: impl FnOnce(&mut Table) -> T,
    ) -> Option<T> {
        let segment = self.segments.get(number as usize)?;
        segment.table.write().as_mut().map(change)
    }

    /// The segments whose files take something, the fullest first.
    pub(super) fn fullest(&self) -> Vec<u32> {
        let allocated = |s: &Segment| s.allocated.load(Ordering::Relaxed);
        let mut full: Vec<(u64, u32)> = self.segments.iter().map(allocated).zip(0..).collect();
        full.retain(|(bytes, _)| *bytes > 0);
        full.sort_by(|a, b| b.cmp(a));
        full.into_iter().map(|(_, number)| number).collect()
    }

    /// Notes that the file of a slot grew or shrank.
    pub(super) fn account(&self, slot: &Slot, before_4k: u32, after_4k: u32) {
        self.account_in(
            self.segment_number(slot.tag, slot.chunk_no),
            before_4k,
            after_4k,
        );
        if before_4k != after_4k {
            self.with_table(slot.tag, slot.chunk_no, |table| {
                table.resize(slot, after_4k)
            });
        }
    }

    /// Notes that a file of a segment grew or shrank.
    pub(super) fn account_in(&self, number: u32, before_4k: u32, after_4k: u32) {
        let Some(segment) = self.segments.get(number as usize) else {
            return;
        };
        let allocated = &segment.allocated;
        allocated.fetch_add(u64::from(after_4k) << 12, Ordering::Relaxed);
        // The subtraction saturates: a header that said too little must not wrap the count round.
        let less = u64::from(before_4k) << 12;
        let _ = allocated.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            Some(n.saturating_sub(less))
        });
    }

    /// The header of a loaded segment as it stands.
    pub(super) fn header(&self, number: u32) -> Option<SegmentHeader> {
        let segment = self.segments.get(number as usize)?;
        let table = segment.table.read();
        let table = table.as_ref()?;
        Some(SegmentHeader {
            segment: number,
            used_slots: u32::try_from(table.map.len()).unwrap_or(u32::MAX),
            used_blobs: 0,
            hand: 0,
            allocated: segment.allocated.load(Ordering::Relaxed),
            stamp: self.disk.stamp(),
        })
    }

    fn segment(&self, hash: u64) -> &Segment {
        let number = self.disk.geometry.segment_of(hash) as usize;
        self.segments
            .get(number)
            .expect("segment_of stays below the number of segments")
    }
}

impl Table {
    /// Reads a segment's slot table. A sector that is not whole is a free place: one chunk is lost. Of two slots with
    /// the same chunk the one with the higher stamp holds.
    fn read(disk: &Disk, number: u32, trusted_epoch: u64) -> io::Result<Self> {
        let count = disk.geometry.slots_per_segment();
        let mut table = Self {
            base: number * count,
            places: vec![None; count as usize],
            map: HashTable::new(),
            free: BitVec::repeat(true, count as usize),
            left: Left::default(),
            policy: cull::chosen(count),
        };
        let start = disk.geometry.slot_table_offset(number);
        disk.for_each_sector(start, count, |place, offset, sector| {
            let record = match SlotRecord::decode(sector, disk.uuid, offset) {
                Ok(record) => record,
                Err(SectorError::Blank) => return,
                // Nobody knows whether the file behind a damaged sector is tainted: it is unlinked before reuse.
                Err(_) => return table.doubt(place),
            };
            let right_place = disk
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
            let left = FreePlace::of(&twin);
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
            let main = state.flags.0 & standing::BITS != 0;
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
    pub(super) fn find(&self, hash: u64, tag: Tag, chunk_no: u64) -> Option<Arc<Slot>> {
        let holds = |place: &u32| {
            self.slot_at(*place)
                .is_some_and(|slot| slot.tag == tag && slot.chunk_no == chunk_no)
        };
        let place = self.map.find(spread(hash), holds)?;
        self.slot_at(*place).map(Arc::clone)
    }

    /// Puts a new tenant at its place, which must be free.
    pub(super) fn insert(&mut self, slot: Arc<Slot>) {
        let (place, pages) = (slot.id.0 - self.base, slot.state.lock().alloc_4k);
        self.policy.insert(place, pages, print(&slot));
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

    /// Takes a slot out, if the place is still its own: that is nobody's until [`Table::put_left`]. Returns whether it was.
    pub(super) fn remove(&mut self, slot: &Arc<Slot>) -> bool {
        let held = self.take_out(slot);
        if held {
            self.policy.removed(slot.id.0 - self.base);
        }
        held
    }

    /// Takes a victim out and frees its place, if the place is still that slot's. Returns whether it was.
    pub(super) fn evict(&mut self, slot: &Arc<Slot>, left: FreePlace) -> bool {
        let held = self.unlink(slot, left);
        if held {
            self.policy.evicted(slot.id.0 - self.base, print(slot));
        }
        held
    }

    /// Proposes a slot to be taken from its tenant.
    pub(super) fn victim(&mut self, probes: &mut u32) -> Option<Arc<Slot>> {
        let places = &self.places;
        let slot_at = |place: u32| places.get(place as usize).and_then(Option::as_ref);
        let mut used = |place| slot_at(place).is_some_and(|slot| slot.take_used());
        let place = self.policy.victim(&mut used, probes)?;
        slot_at(place).cloned()
    }

    /// Notes what a slot's file takes now.
    pub(super) fn resize(&mut self, slot: &Slot, pages: u32) {
        self.policy.resize(slot.id.0 - self.base, pages);
    }

    fn unlink(&mut self, slot: &Arc<Slot>, left: FreePlace) -> bool {
        let held = self.take_out(slot);
        held.then(|| self.put_left(slot.id, left));
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
    pub(super) fn left_for(&self, pages: u32) -> Option<(SlotId, FreePlace)> {
        let (place, left) = self.left.best_for(pages)?;
        Some((SlotId(self.base + place), left))
    }

    /// A free place without a file; asked where [`Table::left_for`] has none with one.
    pub(super) fn empty_place(&self) -> Option<(SlotId, FreePlace)> {
        let place = self.left.without_file().or_else(|| {
            let place = u32::try_from(self.free.first_one()?).ok()?;
            Some((place, self.left.get(place).unwrap_or_default()))
        });
        place.map(|(place, left)| (SlotId(self.base + place), left))
    }

    /// Takes the free place with the largest file out of the table, until [`Table::put_left`].
    pub(super) fn take_left(&mut self) -> Option<(SlotId, FreePlace)> {
        let (place, _) = self.left.largest()?;
        self.take_left_at(SlotId(self.base + place))
    }

    /// As [`Table::take_left`], but not the place that suits a chunk of so many pages best.
    pub(super) fn take_spare(&mut self, pages: u32) -> Option<(SlotId, FreePlace)> {
        let place = self.left.spare(pages)?;
        self.take_left_at(SlotId(self.base + place))
    }

    /// Takes a free place that has had a tenant out of the table, until [`Table::put_left`].
    pub(super) fn take_left_at(&mut self, id: SlotId) -> Option<(SlotId, FreePlace)> {
        let place = id.0 - self.base;
        let left = self.left.take(place)?;
        self.free.set(place as usize, false);
        Some((id, left))
    }

    /// Puts a free place back.
    pub(super) fn put_left(&mut self, id: SlotId, left: FreePlace) {
        let place = id.0 - self.base;
        self.free.set(place as usize, true);
        self.left.put(place, left);
    }

    fn slot_at(&self, place: u32) -> Option<&Arc<Slot>> {
        self.places.get(place as usize)?.as_ref()
    }

    fn allocated(&self) -> u64 {
        let slots = self
            .places
            .iter()
            .flatten()
            .map(|slot| slot.state.lock().alloc_4k);
        let pages = slots.map(u64::from).sum::<u64>() + self.left.pages();
        pages << 12
    }
}

impl FreePlace {
    /// What the place of `slot` remembers once it is freed.
    pub(super) fn of(slot: &Slot) -> Self {
        let state = slot.state.lock();
        Self {
            generation: slot.generation,
            alloc_4k: state.alloc_4k,
            flags: state.flags,
        }
    }
}

/// By which the policy knows a chunk again.
fn print(slot: &Slot) -> u32 {
    let [a, b, c, d, ..] = slot_hash(slot.tag, slot.chunk_no).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The map looks at the top bits of a hash, which are all equal within a segment.
fn spread(hash: u64) -> u64 {
    hash.rotate_left(32)
}
