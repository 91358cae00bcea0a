//! The table of slots: by tag and chunk number to the slot that holds the chunk.
//!
//! One table per segment, loaded from the index at its first touch, so that opening costs the same whatever the size.
//! Invariants:
//!
//! * The allocated bytes of a segment count the files of free places too.
//! * An unloaded segment counts what its header said.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::locks::{Mutex, RwLock};

use crate::engine::index::index_file::IndexFile;
use crate::engine::index::segment::SegmentTable;
use crate::engine::index::slot::Slot;
use crate::format::{SegmentHeader, SlotFlags, slot_hash};
use crate::units::{SlotId, Tag};

/// All segments.
pub(crate) struct Slots {
    file: Arc<IndexFile>,
    trusted_epoch: u64,
    segments: Box<[Segment]>,
}

struct Segment {
    table: RwLock<Option<SegmentTable>>,
    /// Held while the table is loaded, so that it is read once.
    loading: Mutex<()>,
    /// Bytes on disk of this segment's chunk files.
    allocated: AtomicU64,
}

/// What a lookup that cannot wait finds.
pub(crate) enum Lookup {
    Found(Arc<Slot>),
    Absent,
    /// The segment was not loaded yet.
    Unloaded,
}

impl Slots {
    /// The table over `disk`, nothing loaded. `headers` are those of all segments, as far as they are whole.
    pub(crate) fn new(
        file: Arc<IndexFile>,
        trusted_epoch: u64,
        headers: &[Option<SegmentHeader>],
    ) -> Self {
        let segment = |header: &Option<SegmentHeader>| Segment {
            table: RwLock::new(None),
            loading: Mutex::new(()),
            allocated: AtomicU64::new(header.map_or(0, |h| h.allocated)),
        };
        Self {
            file,
            trusted_epoch,
            segments: headers.iter().map(segment).collect(),
        }
    }

    /// The bytes on disk of all chunk files, as far as known.
    pub(crate) fn allocated(&self) -> u64 {
        self.segments
            .iter()
            .map(|s| s.allocated.load(Ordering::Relaxed))
            .sum()
    }

    /// Loaded segments and used slots in them.
    pub(crate) fn loaded(&self) -> (u64, u64) {
        let used = |s: &Segment| s.table.read().as_ref().map(|t| t.map.len() as u64);
        let counts: Vec<u64> = self.segments.iter().filter_map(used).collect();
        (counts.len() as u64, counts.iter().sum())
    }

    /// The slot of a chunk, without waiting.
    pub(crate) fn find_now(&self, tag: Tag, chunk_no: u64) -> Lookup {
        let hash = slot_hash(tag, chunk_no);
        match &*self.segment(hash).table.read() {
            None => Lookup::Unloaded,
            Some(table) => table
                .find(hash, tag, chunk_no)
                .map_or(Lookup::Absent, Lookup::Found),
        }
    }

    /// Loads the segment of a chunk if it is not loaded. Waits for the disk.
    pub(crate) fn load_for(&self, tag: Tag, chunk_no: u64) -> io::Result<()> {
        let number = self.file.geometry.segment_of(slot_hash(tag, chunk_no));
        self.load(number).map(|_| ())
    }

    /// Loads a segment if it is not loaded; whether it was not. Where the disk hangs, no caller waits for the one that
    /// loads it.
    pub(crate) fn load(&self, number: u32) -> io::Result<bool> {
        let Some(segment) = self.segments.get(number as usize) else {
            return Ok(false);
        };
        if segment.table.read().is_some() {
            return Ok(false);
        }
        self.file.storage.may_read()?;
        let _loading = segment.loading.lock();
        if segment.table.read().is_some() {
            return Ok(false);
        }
        let table = SegmentTable::read(&self.file, number, self.trusted_epoch)?;
        segment
            .allocated
            .store(table.allocated(), Ordering::Relaxed);
        *segment.table.write() = Some(table);
        Ok(true)
    }

    /// The slots at the next `most` places of a loaded segment, from `place` on, and the place behind them; none at the
    /// segment's end.
    pub(crate) fn slots_from(
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
    pub(crate) fn with_table<T>(
        &self,
        tag: Tag,
        chunk_no: u64,
        change: impl FnOnce(&mut SegmentTable) -> T,
    ) -> Option<T> {
        self.with_segment(self.segment_number(tag, chunk_no), change)
    }

    /// Runs `change` on the loaded table that holds `slot`.
    pub(super) fn with_table_of<T>(
        &self,
        slot: &Slot,
        change: impl FnOnce(&mut SegmentTable) -> T,
    ) -> Option<T> {
        self.with_table(slot.tag, slot.chunk_no, change)
    }

    /// The number of a chunk's segment.
    pub(crate) fn segment_number(&self, tag: Tag, chunk_no: u64) -> u32 {
        self.file.geometry.segment_of(slot_hash(tag, chunk_no))
    }

    /// The slot at a place of a loaded segment.
    pub(crate) fn at(&self, id: SlotId) -> Option<Arc<Slot>> {
        let number = id.0 / self.file.geometry.slots_per_segment();
        let table = self.segments.get(number as usize)?.table.read();
        let table = table.as_ref()?;
        table.slot_at(id.0 - table.base).cloned()
    }

    /// What the policy keeps of a slot over a restart, as flag bits of its record.
    pub(crate) fn saved_priority(&self, slot: &Slot) -> u32 {
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
    pub(crate) fn with_segment<T>(
        &self,
        number: u32,
        change: impl FnOnce(&mut SegmentTable) -> T,
    ) -> Option<T> {
        let segment = self.segments.get(number as usize)?;
        segment.table.write().as_mut().map(change)
    }

    /// The segments whose files take something, the fullest first.
    pub(crate) fn fullest(&self) -> Vec<u32> {
        let allocated = |s: &Segment| s.allocated.load(Ordering::Relaxed);
        let mut full: Vec<(u64, u32)> = self.segments.iter().map(allocated).zip(0..).collect();
        full.retain(|(bytes, _)| *bytes > 0);
        full.sort_by(|a, b| b.cmp(a));
        full.into_iter().map(|(_, number)| number).collect()
    }

    /// Notes that the file of a slot grew or shrank.
    pub(crate) fn account(&self, slot: &Slot, before_4k: u32, after_4k: u32) {
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
    pub(crate) fn header(&self, number: u32) -> Option<SegmentHeader> {
        let segment = self.segments.get(number as usize)?;
        let table = segment.table.read();
        let table = table.as_ref()?;
        Some(SegmentHeader {
            segment: number,
            used_slots: u32::try_from(table.map.len()).unwrap_or(u32::MAX),
            used_blobs: 0,
            hand: 0,
            allocated: segment.allocated.load(Ordering::Relaxed),
            stamp: self.file.stamp(),
        })
    }

    fn segment(&self, hash: u64) -> &Segment {
        let number = self.file.geometry.segment_of(hash) as usize;
        self.segments
            .get(number)
            .expect("segment_of stays below the number of segments")
    }
}
