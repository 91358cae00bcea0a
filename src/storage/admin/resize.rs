//! A cache that gets another geometry: a new index, into which the records of the old one move, while their chunk files get
//! other names. No byte of a chunk is copied.
//!
//! The new index is written beside the old one, and the chunk files are linked under their new names into a directory
//! beside the old one. All of it is synced. Then the new index takes the old one's name: that is the moment from which on
//! the cache is the new one. The directories follow.
//!
//! A kill or a power cut may come at any moment. [`settle`], which runs at every opening with the lock held, sees by
//! the names how far the resize had come: while there is an index under its new name nothing was switched, and what was
//! prepared is removed; where there is none, the directories are switched to the end. The names can show that because
//! of the order in which they are made and removed, with a sync of the directory after each step. A file has two links
//! meanwhile, and larder writes to no such file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use hashbrown::HashMap;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::create::{CreateOptions, Progress, blank_index, not_written};
use super::relocate::{Candidate, Capacity, assign};
use crate::format::{
    BlobKind, BlobRecord, Geometry, SECTOR_LEN, Sector, SegmentHeader, SlotKind, SlotRecord,
    Superblock, blob_segment_hash, slot_hash,
};
use crate::storage::api::Storage;
use crate::storage::dir::{
    CHUNKS_NAME, CHUNKS_NEW_NAME, CacheDir, CacheDirError, FOLLOW_STEPS, INDEX_NAME,
    INDEX_NEW_NAME, chunk_path, follow, open_at, parents, settle,
};
use crate::units::{SlotId, Stamp};

/// How much of the old index is read at a time.
const PIECE: usize = 1 << 20;

/// What a cache shall be from now on; what is not given follows from the rest.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ResizeOptions {
    /// The size limit in bytes, index included; `None` keeps it.
    pub capacity: Option<u64>,
    /// How many chunk slots.
    pub slots: Option<u64>,
    /// How many files the cache can know.
    pub files: Option<u64>,
}

/// What became of a cache that was resized.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resized {
    /// Its superblock now.
    pub superblock: Superblock,
    /// Chunks that moved.
    pub chunks: u64,
    /// Chunks that did not fit, or had no file.
    pub chunks_dropped: u64,
    /// Files that it knows.
    pub files: u64,
    /// Files that did not fit.
    pub files_dropped: u64,
}

impl ResizeOptions {
    /// What a cache with this superblock becomes. A number that is given alone leaves the other one as it is; a size, or
    /// nothing at all, makes both what a new cache of the size has.
    fn wanted(&self, held: &Superblock) -> CreateOptions {
        let keep = self.capacity.is_none() && (self.slots.is_some() || self.files.is_some());
        let kept = |count: u32| keep.then_some(u64::from(count));
        CreateOptions {
            capacity: self.capacity.unwrap_or(held.capacity),
            slots: self.slots.or(kept(held.geometry.n_slots())),
            files: self.files.or(kept(held.geometry.n_blobs())),
        }
    }
}

/// Gives the cache in `path`, which no process uses, another geometry or capacity. `progress` is called at every step.
///
/// Errors: see [`CacheDirError`]. The cache is then what it was.
pub fn resize(
    path: &Path,
    options: &ResizeOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Resized, CacheDirError> {
    let cache = CacheDir::open(path)?;
    let held = *cache.superblock();
    if cache.read_only() || !held.may_be_rewritten() {
        return Err(CacheDirError::Newer(path.join(INDEX_NAME)));
    }
    let wanted = options.wanted(&held);
    let move_out = Move {
        geometry: wanted.geometry()?,
        capacity: wanted.capacity,
        old: &cache,
        held,
    };
    let prepared = move_out.prepare(progress);
    let resized = prepared.map_err(|error| {
        // The next open removes what cannot be removed now.
        drop(settle(cache.dir(), path));
        not_written(cache.dir(), path, move_out.geometry, error)
    })?;
    let switched = switch(cache.dir(), path, progress);
    switched.map_err(CacheDirError::io("switch to the new index in", path))?;
    Ok(resized)
}

/// The old cache, and what it shall be.
struct Move<'a> {
    old: &'a CacheDir,
    held: Superblock,
    geometry: Geometry,
    capacity: u64,
}

impl Move<'_> {
    /// Writes the new index and links the chunk files, all under new names, and syncs it.
    fn prepare(&self, progress: &mut dyn FnMut(Progress)) -> io::Result<Resized> {
        let dir = self.old.dir();
        let index = blank_index(dir, self.geometry.index_len(), progress)?;
        // The index's name comes before the first link and goes after the last.
        dir.sync_all()?;
        progress(Progress { done: 0, total: 1 });
        rustix::fs::mkdirat(dir, CHUNKS_NEW_NAME, Mode::RWXU)?;
        let (blobs, blobs_found) = self.blobs()?;
        self.write_blobs(&index, &blobs)?;
        progress(Progress { done: 1, total: 1 });
        let (slots, slots_found) = self.slots()?;
        let (headers, moved) = self.move_slots(&index, &slots, &blobs, progress)?;
        let superblock = self.write_heads(&index, headers)?;
        index.sync_all()?;
        self.old.sync_all()?;
        progress(Progress { done: 1, total: 1 });
        Ok(Resized {
            superblock,
            chunks: moved,
            chunks_dropped: slots_found - moved,
            files: blobs.len() as u64,
            files_dropped: blobs_found - blobs.len() as u64,
        })
    }

    /// The old and new numbers of the blob records that move, and how many there are in all.
    fn blobs(&self) -> io::Result<(HashMap<u32, u32>, u64)> {
        let (old, new) = (&self.held.geometry, &self.geometry);
        let mut candidates = Vec::new();
        for segment in 0..old.segments() {
            let (start, count) = (old.blob_table_offset(segment), old.blobs_per_segment());
            self.for_each(start, count, |at, offset, sector| {
                let Ok(record) = BlobRecord::decode(sector, self.held.uuid, offset) else {
                    return;
                };
                if record.kind == BlobKind::Free || record.pack.is_some() {
                    return;
                }
                candidates.push(Candidate {
                    from: segment * count + at,
                    identity: record.key,
                    segment: new.segment_of(blob_segment_hash(record.key)),
                    stamp: record.stamp.0,
                    bytes: 0,
                });
            })?;
        }
        let found = candidates.len() as u64;
        let capacity = Capacity {
            segments: new.segments(),
            per_segment: new.blobs_per_segment(),
            bytes: u64::MAX,
        };
        Ok((assign(candidates, capacity).into_iter().collect(), found))
    }

    fn write_blobs(&self, index: &File, blobs: &HashMap<u32, u32>) -> io::Result<()> {
        let (old, uuid) = (&self.held.geometry, self.held.uuid);
        let mut all: Vec<_> = blobs.iter().collect();
        all.sort_unstable();
        for (from, to) in all {
            let offset = old.blob_offset(*from);
            let mut record = BlobRecord::decode(&self.sector(offset)?, uuid, offset)
                .map_err(|error| io::Error::other(error.to_string()))?;
            // No writer of this version has anything in the heap, which does not move.
            record.heap_head = None;
            let offset = self.geometry.blob_offset(*to);
            index.write_all_at(&record.encode(uuid, offset), offset)?;
        }
        Ok(())
    }

    /// The old and new numbers of the slots that move, and how many hold something.
    fn slots(&self) -> io::Result<(Vec<(u32, u32)>, u64)> {
        let (old, new) = (&self.held.geometry, &self.geometry);
        let mut candidates = Vec::new();
        for segment in 0..old.segments() {
            let (start, count) = (old.slot_table_offset(segment), old.slots_per_segment());
            self.for_each(start, count, |at, offset, sector| {
                let Ok(record) = SlotRecord::decode(sector, self.held.uuid, offset) else {
                    return;
                };
                if !matches!(record.kind, SlotKind::Data | SlotKind::Dir) {
                    return;
                }
                candidates.push(Candidate {
                    from: segment * count + at,
                    identity: (record.tag, record.chunk_no),
                    segment: new.segment_of(slot_hash(record.tag, record.chunk_no)),
                    stamp: record.stamp.0,
                    bytes: u64::from(record.alloc_4k) << 12,
                });
            })?;
        }
        let found = candidates.len() as u64;
        let capacity = Capacity {
            segments: new.segments(),
            per_segment: new.slots_per_segment(),
            bytes: self.capacity.saturating_sub(new.index_len()),
        };
        Ok((assign(candidates, capacity), found))
    }

    /// Links the files of the slots that move, and writes their records. Returns what the segments hold, and how many
    /// moved: a slot without a file stays behind.
    fn move_slots(
        &self,
        index: &File,
        slots: &[(u32, u32)],
        blobs: &HashMap<u32, u32>,
        progress: &mut dyn FnMut(Progress),
    ) -> io::Result<(Vec<SegmentHeader>, u64)> {
        let (old, uuid) = (&self.held.geometry, self.held.uuid);
        let header = |segment| SegmentHeader {
            segment,
            ..SegmentHeader::default()
        };
        let mut headers: Vec<_> = (0..self.geometry.segments()).map(header).collect();
        let (mut moved, total) = (0, slots.len() as u64);
        for ((from, to), done) in slots.iter().zip(0u64..) {
            let (from, to) = (SlotId(*from), SlotId(*to));
            let offset = old.slot_offset(from);
            let mut record = SlotRecord::decode(&self.sector(offset)?, uuid, offset)
                .map_err(|error| io::Error::other(error.to_string()))?;
            progress(Progress { done, total });
            if !self.link(from, to)? {
                continue;
            }
            record.blob_hint = record.blob_hint.and_then(|hint| blobs.get(&hint).copied());
            let offset = self.geometry.slot_offset(to);
            index.write_all_at(&record.encode(uuid, offset), offset)?;
            let segment = to.0 / self.geometry.slots_per_segment();
            if let Some(header) = headers.get_mut(segment as usize) {
                header.used_slots += 1;
                header.allocated += u64::from(record.alloc_4k) << 12;
            }
            moved += 1;
        }
        for number in blobs.values() {
            let segment = number / self.geometry.blobs_per_segment();
            if let Some(header) = headers.get_mut(segment as usize) {
                header.used_blobs += 1;
            }
        }
        Ok((headers, moved))
    }

    /// Links a slot's file under its new name; `false` where it has none.
    fn link(&self, from: SlotId, to: SlotId) -> io::Result<bool> {
        let dir = self.old.dir();
        let old = chunk_path(&self.held.geometry, from);
        let new = chunk_path(&self.geometry, to);
        let new = new.replacen(CHUNKS_NAME, CHUNKS_NEW_NAME, 1);
        let (Some((old_dir, old_name)), Some((new_dir, new_name))) =
            (old.rsplit_once('/'), new.rsplit_once('/'))
        else {
            return Ok(false);
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let old_dir = match open_at(dir, old_dir, flags) {
            Err(Errno::NOENT) => return Ok(false),
            other => other?,
        };
        let new_dir = match open_at(dir, new_dir, flags) {
            Err(Errno::NOENT) => {
                for parent in parents(&new) {
                    match rustix::fs::mkdirat(dir, parent, Mode::RWXU) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                open_at(dir, new_dir, flags)?
            }
            other => other?,
        };
        match rustix::fs::linkat(&old_dir, old_name, &new_dir, new_name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes sessions, headers and superblocks. The sessions are the old ones, with the epoch that no stamp exceeds.
    fn write_heads(&self, index: &File, headers: Vec<SegmentHeader>) -> io::Result<Superblock> {
        for copy in [0, 1] {
            let offset = Geometry::session_offset(copy);
            index.write_all_at(&self.sector(offset)?, offset)?;
        }
        let old_headers = (0..self.held.geometry.segments()).map(|segment| {
            let sector = self.sector(Geometry::segment_header_offset(segment))?;
            let header = SegmentHeader::decode(&sector, self.held.uuid, segment);
            Ok(header.map_or(Stamp::default(), |header| header.stamp))
        });
        let stamps: io::Result<Vec<Stamp>> = old_headers.collect();
        let stamp = stamps?.into_iter().max().unwrap_or_default();
        for header in headers {
            let header = SegmentHeader { stamp, ..header };
            let offset = Geometry::segment_header_offset(header.segment);
            index.write_all_at(&header.encode(self.held.uuid), offset)?;
        }
        let wanted = Superblock {
            geometry: self.geometry,
            capacity: self.capacity,
            ..self.held
        };
        let first = wanted.next_for(1 - self.held.copy());
        let second = first.next_for(self.held.copy());
        for superblock in [first, second] {
            index.write_all_at(&superblock.encode(), superblock.offset())?;
        }
        index.write_all_at(&second.encode_backup(), self.geometry.backup_offset())?;
        Ok(second)
    }

    fn sector(&self, offset: u64) -> io::Result<Sector> {
        let mut sector = [0; SECTOR_LEN];
        self.old.read_index(offset, &mut sector)?;
        Ok(sector)
    }

    /// Calls `each` with the place, the offset and the bytes of every sector of a table.
    fn for_each(
        &self,
        start: u64,
        count: u32,
        mut each: impl FnMut(u32, u64, &Sector),
    ) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut place = 0;
        while place < count {
            let offset = |place: u32| start + u64::from(place) * SECTOR_LEN as u64;
            let len = PIECE.min((count - place) as usize * SECTOR_LEN);
            let (front, _) = piece.split_at_mut(len);
            self.old.read_index(offset(place), front)?;
            for sector in front.as_chunks::<SECTOR_LEN>().0 {
                each(place, offset(place), sector);
                place += 1;
            }
        }
        Ok(())
    }
}

/// Gives the new index the old one's name, and lets the directories follow.
fn switch(dir: &File, path: &Path, progress: &mut dyn FnMut(Progress)) -> io::Result<()> {
    rustix::fs::renameat(dir, INDEX_NEW_NAME, dir, INDEX_NAME)?;
    dir.sync_all()?;
    follow(dir, path, &mut |done| {
        progress(Progress {
            done,
            total: FOLLOW_STEPS,
        });
    })
}
