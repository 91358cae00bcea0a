//! The table of blobs: by key to the record that binds the key to a version.
//!
//! A segment's table in memory holds numbers only; a record is read from the index when it is asked for. A record that
//! was changed stays in `dirty` until it is written, and is read from there.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bitvec::vec::BitVec;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use super::disk::{Disk, Unread};
use crate::format::{BlobKind, BlobRecord, Sector, blob_segment_hash};
use crate::units::{BlobKey, Stamp, Tag};

/// All segments' blob tables.
pub(super) struct Blobs {
    disk: Arc<Disk>,
    segments: Box<[Segment]>,
    dirty: Mutex<BTreeMap<u32, BlobRecord>>,
}

#[derive(Default)]
struct Segment {
    table: RwLock<Option<Table>>,
    loading: Mutex<()>,
}

struct Table {
    numbers: HashMap<BlobKey, u32>,
    free: BitVec,
}

impl Blobs {
    pub(super) fn new(disk: Arc<Disk>) -> Self {
        let segments = (0..disk.geometry.segments())
            .map(|_| Segment::default())
            .collect();
        Self {
            disk,
            segments,
            dirty: Mutex::default(),
        }
    }

    /// The record of a key and its number. Waits for the disk.
    pub(super) fn get(&self, key: BlobKey) -> io::Result<Option<(u32, BlobRecord)>> {
        self.load(key)?;
        let number = {
            let table = self.segment(key).table.read();
            table
                .as_ref()
                .and_then(|table| table.numbers.get(&key).copied())
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
    pub(super) fn put(&self, record: BlobRecord) -> Option<u32> {
        if self.disk.read_only {
            return None;
        }
        let mut table = self.segment(record.key).table.write();
        let table = table.as_mut()?;
        let number = match table.numbers.get(&record.key) {
            Some(number) => *number,
            None => {
                let place = u32::try_from(table.free.first_one()?).ok()?;
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
    pub(super) fn tag_of(&self, number: u32) -> io::Result<Option<Tag>> {
        if number >= self.disk.geometry.n_blobs() {
            return Ok(None);
        }
        Ok(self
            .record(number)?
            .filter(|r| r.kind != BlobKind::Free)
            .map(|record| record.tag))
    }

    /// Writes what is dirty. A record that cannot be written stays dirty; the error of the last such is returned.
    pub(super) fn flush(&self) -> io::Result<()> {
        let batch: Vec<(u32, Stamp, Sector)> = {
            let dirty = self.dirty.lock();
            let encode = |(n, r): (&u32, &BlobRecord)| (*n, r.stamp, self.disk.encode_blob(*n, r));
            dirty.iter().map(encode).collect()
        };
        let mut outcome = Ok(());
        for (number, stamp, sector) in batch {
            match self.disk.write_blob(number, &sector) {
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
        match self.disk.read_blob(number) {
            Ok(record) => Ok(Some(record)),
            Err(Unread::NotWhole) => Ok(None),
            Err(Unread::Io(error)) => Err(error),
        }
    }

    fn load(&self, key: BlobKey) -> io::Result<()> {
        let segment = self.segment(key);
        let _loading = segment.loading.lock();
        if segment.table.read().is_some() {
            return Ok(());
        }
        let (base, count) = (self.base(key), self.disk.geometry.blobs_per_segment());
        let number = self.disk.geometry.segment_of(blob_segment_hash(key));
        let mut newest: HashMap<BlobKey, (Stamp, u32)> = HashMap::new();
        let mut free = BitVec::repeat(true, count as usize);
        let start = self.disk.geometry.blob_table_offset(number);
        self.disk
            .for_each_sector(start, count, |place, offset, sector| {
                let Ok(record) = BlobRecord::decode(sector, self.disk.uuid, offset) else {
                    return;
                };
                let here = self.disk.geometry.segment_of(blob_segment_hash(record.key)) == number;
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
        *segment.table.write() = Some(Table { numbers, free });
        Ok(())
    }

    fn base(&self, key: BlobKey) -> u32 {
        let geometry = &self.disk.geometry;
        geometry.segment_of(blob_segment_hash(key)) * geometry.blobs_per_segment()
    }

    fn segment(&self, key: BlobKey) -> &Segment {
        let number = self.disk.geometry.segment_of(blob_segment_hash(key)) as usize;
        self.segments
            .get(number)
            .expect("segment_of stays below the number of segments")
    }
}
