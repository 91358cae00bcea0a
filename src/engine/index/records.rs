//! The table of blobs: by key to the record that binds the key to a version.
//!
//! A segment's table in memory holds numbers only; a record is read from the index when it is asked for. A record that
//! was changed stays in `dirty` until it is written, and is read from there.
//!
//! Records are reused as slots are. A hand goes round a segment (the CLOCK policy) and frees those that no open asked
//! for since it last passed, ahead of need: a few numbers are always free, because putting a record does not wait for
//! the disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitvec::vec::BitVec;
use hashbrown::HashMap;

use crate::engine::index::index_file::{IndexFile, Unread};
use crate::format::{BlobKind, BlobRecord, Sector, blob_segment_hash};
use crate::runtime::locks::{Mutex, RwLock};
use crate::units::{BlobKey, Stamp, Tag};

/// One place in so many is kept free.
const SPARE_SHARE: usize = 64;
/// How many places one search for those to be freed looks at.
const PROBES: usize = 1024;

/// All segments' blob tables.
pub(crate) struct Records {
    file: Arc<IndexFile>,
    segments: Box<[Segment]>,
    dirty: Mutex<BTreeMap<u32, BlobRecord>>,
    /// A table has few free numbers left.
    short: AtomicBool,
}

#[derive(Default)]
struct Segment {
    table: RwLock<Option<RecordTable>>,
    loading: Mutex<()>,
}

struct RecordTable {
    numbers: HashMap<BlobKey, u32>,
    free: BitVec,
    /// Places whose record was asked for since the hand last passed.
    asked: BitVec,
    hand: usize,
}

impl RecordTable {
    fn note(&mut self, place: u32) {
        if let Some(mut bit) = self.asked.get_mut(place as usize) {
            *bit = true;
        }
    }

    /// Whether so few places are free that some are to be freed.
    fn is_short(&self) -> bool {
        self.free.count_ones() <= 1 + self.free.len() / SPARE_SHARE
    }

    /// The next places to be freed, at most `most`, among the next `PROBES` places.
    fn victims(&mut self, most: usize) -> Vec<u32> {
        let (mut found, count) = (Vec::new(), self.free.len());
        for _ in 0..PROBES.min(2 * count) {
            let place = self.hand;
            self.hand = (place + 1) % count.max(1);
            let held = self.free.get(place).is_some_and(|free| !*free);
            let asked = self
                .asked
                .get_mut(place)
                .is_some_and(|mut bit| bit.replace(false));
            if held && !asked {
                found.extend(u32::try_from(place));
            }
            if found.len() >= most {
                break;
            }
        }
        found
    }
}

impl Records {
    pub(crate) fn new(file: Arc<IndexFile>) -> Self {
        let segments = (0..file.geometry.segments())
            .map(|_| Segment::default())
            .collect();
        Self {
            file,
            segments,
            dirty: Mutex::default(),
            short: AtomicBool::new(false),
        }
    }

    /// The record of a key and its number. Waits for the disk.
    pub(crate) fn get(&self, key: BlobKey) -> io::Result<Option<(u32, BlobRecord)>> {
        self.load(key)?;
        let number = {
            let mut table = self.segment(key).table.write();
            table.as_mut().and_then(|table| {
                let number = table.numbers.get(&key).copied()?;
                table.note(number - self.base(key));
                Some(number)
            })
        };
        let Some(number) = number else {
            return Ok(None);
        };
        Ok(self
            .record(number)?
            .filter(|record| record.key == key)
            .map(|record| (number, record)))
    }

    /// Puts a record in place of the key's former one, or at a free number. `None` where the table is full, or is not
    /// loaded because the disk did not answer. Does not wait.
    pub(crate) fn put(&self, record: BlobRecord) -> Option<u32> {
        if self.file.read_only {
            return None;
        }
        let mut table = self.segment(record.key).table.write();
        let table = table.as_mut()?;
        let number = match table.numbers.get(&record.key) {
            Some(number) => *number,
            None => {
                let place = table.free.first_one().and_then(|n| u32::try_from(n).ok());
                if table.is_short() {
                    self.short.store(true, Ordering::Relaxed);
                }
                let place = place?;
                table.free.set(place as usize, false);
                let number = self.base(record.key) + place;
                table.numbers.insert(record.key, number);
                number
            }
        };
        self.dirty.lock().insert(number, record);
        Some(number)
    }

    /// The version that record `number` names now; `None` where it names none. Waits for the disk.
    pub(crate) fn tag_of(&self, number: u32) -> io::Result<Option<Tag>> {
        if number >= self.file.geometry.n_blobs() {
            return Ok(None);
        }
        Ok(self
            .record(number)?
            .filter(|r| r.kind != BlobKind::Free)
            .map(|record| record.tag))
    }

    /// Whether a table has run short of free numbers since this was last asked.
    pub(crate) fn take_short(&self) -> bool {
        self.short.swap(false, Ordering::Relaxed)
    }

    /// Frees some records in each table that is short of free numbers; one that names a version which is `in_use` only
    /// where no number is free at all. What they named is returned. Waits for the disk.
    pub(crate) fn free_some(&self, in_use: impl Fn(Tag) -> bool) -> Vec<BlobRecord> {
        let mut freed = Vec::new();
        for (segment, number) in self.segments.iter().zip(0..) {
            let base = number * self.file.geometry.blobs_per_segment();
            let victims = match &mut *segment.table.write() {
                Some(table) if table.is_short() => {
                    table.victims(1 + 2 * table.free.len() / SPARE_SHARE)
                }
                _ => continue,
            };
            for place in victims {
                let Ok(Some(record)) = self.record(base + place) else {
                    continue;
                };
                let mut table = segment.table.write();
                let held = table.as_mut().filter(|table| {
                    let spared = in_use(record.tag) && table.free.any();
                    !spared && table.numbers.get(&record.key) == Some(&(base + place))
                });
                if let Some(table) = held {
                    table.numbers.remove(&record.key);
                    table.free.set(place as usize, true);
                    self.dirty.lock().insert(base + place, BlobRecord::free());
                    freed.push(record);
                }
            }
        }
        freed
    }

    /// Writes what is dirty. A record that cannot be written stays dirty; the error of the last such is returned.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let batch: Vec<(u32, Stamp, Sector)> = {
            let dirty = self.dirty.lock();
            let encode = |(n, r): (&u32, &BlobRecord)| (*n, r.stamp, self.file.encode_blob(*n, r));
            dirty.iter().map(encode).collect()
        };
        let mut outcome = Ok(());
        for (number, stamp, sector) in batch {
            match self.file.write_blob(number, &sector) {
                Err(error) => outcome = Err(error),
                Ok(()) => {
                    let mut dirty = self.dirty.lock();
                    if dirty
                        .get(&number)
                        .is_some_and(|record| record.stamp == stamp)
                    {
                        dirty.remove(&number);
                    }
                }
            }
        }
        outcome
    }

    fn record(&self, number: u32) -> io::Result<Option<BlobRecord>> {
        if let Some(record) = self.dirty.lock().get(&number) {
            return Ok(Some(record.clone()));
        }
        match self.file.read_blob(number) {
            Ok(record) => Ok(Some(record)),
            Err(Unread::NotWhole) => Ok(None),
            Err(Unread::Io(error)) => Err(error),
        }
    }

    /// Whether the table of a key is in memory: then [`Records::put`] puts.
    pub(crate) fn is_loaded(&self, key: BlobKey) -> bool {
        self.segment(key).table.read().is_some()
    }

    /// Loads the table of a key if it is not loaded. Waits for the disk.
    pub(crate) fn load(&self, key: BlobKey) -> io::Result<()> {
        let segment = self.segment(key);
        if segment.table.read().is_some() {
            return Ok(());
        }
        // The caller that loads it may hang: no other is to wait for that.
        self.file.storage.may_read()?;
        let _loading = segment.loading.lock();
        if segment.table.read().is_some() {
            return Ok(());
        }
        let (base, count) = (self.base(key), self.file.geometry.blobs_per_segment());
        let number = self.file.geometry.segment_of(blob_segment_hash(key));
        let mut newest: HashMap<BlobKey, (Stamp, u32)> = HashMap::new();
        let mut free = BitVec::repeat(true, count as usize);
        let start = self.file.geometry.blob_table_offset(number);
        self.file
            .for_each_sector(start, count, |place, offset, sector| {
                let Ok(record) = BlobRecord::decode(sector, self.file.uuid, offset) else {
                    return;
                };
                let here = self.file.geometry.segment_of(blob_segment_hash(record.key)) == number;
                if record.kind == BlobKind::Free || !here {
                    return;
                }
                free.set(place as usize, false);
                // Of two records of one key the higher stamp holds; the other's number is free again.
                let mine = (record.stamp, place);
                let entry = newest.entry(record.key).or_insert(mine);
                if *entry != mine {
                    let loser = (*entry).min(mine);
                    *entry = (*entry).max(mine);
                    free.set(loser.1 as usize, true);
                }
            })?;
        let numbers = newest
            .into_iter()
            .map(|(key, (_, place))| (key, base + place))
            .collect();
        let asked = BitVec::repeat(false, count as usize);
        let table = RecordTable {
            numbers,
            free,
            asked,
            hand: 0,
        };
        if table.is_short() {
            self.short.store(true, Ordering::Relaxed);
        }
        *segment.table.write() = Some(table);
        Ok(())
    }

    fn base(&self, key: BlobKey) -> u32 {
        let geometry = &self.file.geometry;
        geometry.segment_of(blob_segment_hash(key)) * geometry.blobs_per_segment()
    }

    fn segment(&self, key: BlobKey) -> &Segment {
        let number = self.file.geometry.segment_of(blob_segment_hash(key)) as usize;
        self.segments
            .get(number)
            .expect("segment_of stays below the number of segments")
    }
}
