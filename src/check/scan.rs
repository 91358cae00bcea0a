//! Reading a cache once, from front to back.
//!
//! About 100 bytes of memory are held for each slot and blob in use: 200 MB for a full cache of 1 TiB. The index is read
//! before the files are listed: a block's bytes are written before its presence, so that a daemon at work beside makes no
//! file look short.

use std::io;
use std::ops::Range;

use bitvec::vec::BitVec;
use hashbrown::HashMap;

use super::facts::{Bad, BlobFact, CacheFacts, Evidence, SegmentSums, SessionCopy, SlotFact};
use super::{CheckError, Disk, Observer, Phase, Step};
use crate::format::{
    BlobKind, BlobRecord, Geometry, HeapCell, SECTOR_LEN, Sector, SectorError, SegmentHeader,
    Session, SlotKind, SlotRecord, Superblock,
};
use crate::storage::Storage;
use crate::units::{BlockMask, SlotId, Uuid};

/// The index is read in pieces of this many sectors.
const PIECE: u64 = 2048;
/// So many unreadable sectors are a dying disk, not damage that a repair of records could mend.
const UNREADABLE_MAX: usize = 1024;
const SECTOR: u64 = SECTOR_LEN as u64;

/// A sector, or why the disk did not give it.
pub(super) type Read = Result<Sector, io::Error>;

/// Gathers the facts. Errors where all superblocks are bad, the disk fails as a whole, or the observer says so.
pub(super) fn scan(disk: Disk<'_>, observe: Observer<'_>) -> Result<CacheFacts, CheckError> {
    let mut facts = heads(disk.storage)?;
    let geometry = facts.superblock.geometry;
    let total = geometry
        .within(facts.index_len)
        .iter()
        .copied()
        .map(u64::from)
        .sum();
    let mut scan = Scan {
        disk,
        observe,
        done: 0,
        total,
    };
    for segment in 0..geometry.segments() {
        scan.segment(&mut facts, segment)?;
    }
    scan.files(&mut facts)?;
    Ok(facts)
}

/// Reads one sector of the heads.
fn one(storage: &dyn Storage, offset: u64) -> io::Result<(Read, Evidence)> {
    let read = read_sectors(storage, offset, 1)?.pop();
    let read = read.unwrap_or(Ok([0; SECTOR_LEN]));
    let fingerprint = fingerprint(&read);
    Ok((
        read,
        Evidence {
            offset,
            fingerprint,
        },
    ))
}

/// The superblock that holds, and the copies that do not; the backup is number 2.
fn superblocks(storage: &dyn Storage) -> Result<(Superblock, Vec<Bad>), CheckError> {
    let mut copies = [[0; SECTOR_LEN]; 2];
    let mut reads = Vec::new();
    for (number, copy) in (0..).zip(&mut copies) {
        let (read, evidence) = one(storage, Geometry::superblock_offset(number))?;
        let decoded = decode(&read, |sector| Superblock::decode(sector, number));
        *copy = read.unwrap_or([0; SECTOR_LEN]);
        reads.push((number, evidence, decoded));
    }
    let backup = match Geometry::backup_offset_in(storage.index_len()?) {
        Some(offset) => Some((one(storage, offset)?.0.unwrap_or([0; SECTOR_LEN]), offset)),
        None => None,
    };
    let backup = backup.as_ref().map(|(sector, offset)| (sector, *offset));
    let superblock = Superblock::choose_or_backup(&copies, backup);
    let superblock = superblock.map_err(CheckError::Superblock)?;
    let offset = superblock.geometry.backup_offset();
    let (read, evidence) = one(storage, offset)?;
    let decoded = decode(&read, |sector| Superblock::decode_backup(sector, offset));
    reads.push((2, evidence, decoded));
    let mut bad = Vec::new();
    for (number, evidence, decoded) in reads {
        let same = |s: &Superblock| (s.uuid, s.geometry) == (superblock.uuid, superblock.geometry);
        let why = match decoded {
            Ok(copy) if same(&copy) => continue,
            Ok(_) => "its uuid or geometry differs from that of the current copy".to_owned(),
            Err(why) => why,
        };
        bad.push(Bad {
            number,
            evidence,
            why,
        });
    }
    Ok((superblock, bad))
}

/// Superblocks, sessions and segment headers.
fn heads(storage: &dyn Storage) -> Result<CacheFacts, CheckError> {
    let (superblock, bad_superblocks) = superblocks(storage)?;
    let uuid = superblock.uuid;
    let mut sessions = [(); 2].map(|()| SessionCopy::Blank(Evidence::default()));
    for (number, session) in (0..).zip(&mut sessions) {
        let (read, evidence) = one(storage, Geometry::session_offset(number))?;
        *session = match decode(&read, |s| unless_blank(Session::decode(s, uuid, number))) {
            Ok(None) => SessionCopy::Blank(evidence),
            Ok(Some(session)) => SessionCopy::Valid(session, evidence),
            Err(why) => SessionCopy::Bad(Bad {
                number,
                evidence,
                why,
            }),
        };
    }
    let index_len = storage.index_len()?;
    let [slots, blobs, _] = superblock.geometry.within(index_len);
    let mut facts = CacheFacts {
        superblock,
        index_len,
        bad_superblocks,
        sessions,
        bad_segments: Vec::new(),
        blank_segments: Vec::new(),
        sums: Vec::new(),
        slots: Vec::new(),
        bad_slots: Vec::new(),
        slot_written: BitVec::repeat(true, slots as usize),
        blobs: Vec::new(),
        bad_blobs: Vec::new(),
        blob_written: BitVec::repeat(true, blobs as usize),
        used_heap: 0,
        bad_heap: Vec::new(),
        last_epoch: 0,
        newest: None,
        files: HashMap::new(),
        strays: Vec::new(),
        dirty: Vec::new(),
        blocks_read: 0,
        bytes_read: 0,
    };
    for number in 0..superblock.geometry.segments() {
        header(&mut facts, storage, number)?;
    }
    Ok(facts)
}

fn header(facts: &mut CacheFacts, storage: &dyn Storage, number: u32) -> io::Result<()> {
    let uuid = facts.superblock.uuid;
    let (read, evidence) = one(storage, Geometry::segment_header_offset(number))?;
    match decode(&read, |s| {
        unless_blank(SegmentHeader::decode(s, uuid, number))
    }) {
        Ok(Some(header)) => facts.stamped(header.stamp.epoch(), evidence),
        Ok(None) => facts.blank_segments.push(number),
        Err(why) => facts.bad_segments.push(Bad {
            number,
            evidence,
            why,
        }),
    }
    Ok(())
}

struct Scan<'a, 'o> {
    disk: Disk<'a>,
    observe: Observer<'o>,
    done: u64,
    total: u64,
}

impl Scan<'_, '_> {
    /// The three tables of one segment.
    fn segment(&mut self, facts: &mut CacheFacts, segment: u32) -> Result<(), CheckError> {
        let (uuid, geometry) = (facts.superblock.uuid, facts.superblock.geometry);
        let end = facts.index_len;
        facts.sums.push(SegmentSums::default());
        let slots = geometry.slots_per_segment();
        self.table(
            geometry.slot_table_offset(segment)..end,
            slots,
            |n, read, evidence| {
                slot(facts, uuid, SlotId(segment * slots + n), read, evidence);
            },
        )?;
        let blobs = geometry.blobs_per_segment();
        self.table(
            geometry.blob_table_offset(segment)..end,
            blobs,
            |n, read, evidence| {
                blob(facts, uuid, segment * blobs + n, read, evidence);
            },
        )?;
        let cells = geometry.heap_per_segment();
        self.table(
            geometry.heap_offset(segment)..end,
            cells,
            |n, read, evidence| {
                heap(facts, uuid, segment * cells + n, read, evidence);
            },
        )?;
        let unreadable = |bad: &[Bad]| {
            bad.iter()
                .filter(|b| b.evidence.fingerprint.is_none())
                .count()
        };
        let lost = [&facts.bad_slots, &facts.bad_blobs, &facts.bad_heap];
        if lost.iter().map(|bad| unreadable(bad)).sum::<usize>() > UNREADABLE_MAX {
            return Err(io::Error::other("too many sectors of the index cannot be read").into());
        }
        Ok(())
    }

    /// Calls `each` for the records of a table that begins where `within` does. What lies beyond the end of the index,
    /// where `within` ends, is blank, however much of it a superblock counts.
    fn table(
        &mut self,
        within: Range<u64>,
        count: u32,
        mut each: impl FnMut(u32, Read, Evidence),
    ) -> Result<(), CheckError> {
        let start = within.start;
        let there = within.end.saturating_sub(start).div_ceil(SECTOR);
        let count = there.min(u64::from(count));
        let mut next = 0;
        while next < count {
            let len = PIECE.min(count - next);
            let sectors = read_sectors(self.disk.storage, start + next * SECTOR, len)?;
            for (n, read) in (next..).zip(sectors) {
                let offset = start + n * SECTOR;
                let fingerprint = fingerprint(&read);
                let n = u32::try_from(n).unwrap_or_default();
                each(
                    n,
                    read,
                    Evidence {
                        offset,
                        fingerprint,
                    },
                );
            }
            next += len;
            self.done += len;
            self.report(Phase::Sectors, self.done, self.total)?;
        }
        Ok(())
    }

    fn report(&mut self, phase: Phase, done: u64, total: u64) -> Result<(), CheckError> {
        match (self.observe)(Step { phase, done, total }) {
            std::ops::ControlFlow::Continue(()) => Ok(()),
            std::ops::ControlFlow::Break(()) => Err(CheckError::Cancelled),
        }
    }

    fn files(&mut self, facts: &mut CacheFacts) -> Result<(), CheckError> {
        let (files, strays) = (&mut facts.files, &mut facts.strays);
        self.disk.files.list_files(&mut |found| match found.slot {
            Some(slot) => drop(files.insert(slot, found.len)),
            None => strays.push(found),
        })?;
        strays.sort_by(|a, b| a.path.cmp(&b.path));
        facts.dirty = self.disk.files.dirty_files()?;
        self.report(Phase::Files, facts.files.len() as u64, 0)
    }
}

fn slot(facts: &mut CacheFacts, uuid: Uuid, slot: SlotId, read: Read, evidence: Evidence) {
    let offset = evidence.offset;
    let record = match decode(&read, |s| unless_blank(SlotRecord::decode(s, uuid, offset))) {
        Ok(Some(record)) => record,
        Ok(None) => return facts.slot_written.set(slot.0 as usize, false),
        Err(why) => {
            return facts.bad_slots.push(Bad {
                number: slot.0,
                evidence,
                why,
            });
        }
    };
    facts.stamped(record.stamp.epoch(), evidence);
    let used = record.kind != SlotKind::Free;
    if let Some(sums) = facts.sums.last_mut() {
        sums.allocated += u64::from(record.alloc_4k) << 12;
        sums.used_slots += u32::from(used);
    }
    if !used {
        return;
    }
    facts.slots.push(SlotFact {
        slot,
        evidence,
        kind: record.kind,
        stamp: record.stamp,
        tag: record.tag,
        chunk_no: record.chunk_no,
        chunk: record.chunk,
        valid_len: record.valid_len,
        hint: record.blob_hint,
        present: record.present,
        bad_blocks: BlockMask::NONE,
    });
}

fn blob(facts: &mut CacheFacts, uuid: Uuid, number: u32, read: Read, evidence: Evidence) {
    let offset = evidence.offset;
    match decode(&read, |s| unless_blank(BlobRecord::decode(s, uuid, offset))) {
        Ok(None) => facts.blob_written.set(number as usize, false),
        Ok(Some(record)) => {
            let BlobRecord {
                key,
                tag,
                size,
                chunk,
                stamp,
                kind,
                ..
            } = record;
            facts.stamped(stamp.epoch(), evidence);
            if kind == BlobKind::Free {
                return;
            }
            facts.blobs.push(BlobFact {
                number,
                evidence,
                kind,
                key,
                tag,
                size,
                chunk,
                stamp,
            });
            if let Some(sums) = facts.sums.last_mut() {
                sums.used_blobs += 1;
            }
        }
        Err(why) => facts.bad_blobs.push(Bad {
            number,
            evidence,
            why,
        }),
    }
}

fn heap(facts: &mut CacheFacts, uuid: Uuid, number: u32, read: Read, evidence: Evidence) {
    let offset = evidence.offset;
    match decode(&read, |s| unless_blank(HeapCell::decode(s, uuid, offset))) {
        Ok(None) => {}
        Ok(Some(cell)) => {
            facts.stamped(cell.stamp.epoch(), evidence);
            facts.used_heap += 1;
        }
        Err(why) => facts.bad_heap.push(Bad {
            number,
            evidence,
            why,
        }),
    }
}

/// A record's verdict with "never used" as a value.
fn unless_blank<T>(decoded: Result<T, SectorError>) -> Result<Option<T>, SectorError> {
    match decoded {
        Ok(record) => Ok(Some(record)),
        Err(SectorError::Blank) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Decodes what was read; both kinds of failure become a sentence.
fn decode<T>(
    read: &Read,
    decode: impl FnOnce(&Sector) -> Result<T, SectorError>,
) -> Result<T, String> {
    match read {
        Ok(sector) => decode(sector).map_err(|error| error.to_string()),
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}

pub(super) fn fingerprint(read: &Read) -> Option<u32> {
    read.as_ref().ok().map(|sector| crc32fast::hash(sector))
}

/// Reads `count` sectors at `offset`, at once if the disk allows it, otherwise one by one.
pub(super) fn read_sectors(
    storage: &dyn Storage,
    offset: u64,
    count: u64,
) -> io::Result<Vec<Read>> {
    let len = usize::try_from(count * SECTOR).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    if storage.read_index(offset, &mut bytes).is_ok() {
        let (sectors, _) = bytes.as_chunks::<SECTOR_LEN>();
        return Ok(sectors.iter().map(|sector| Ok(*sector)).collect());
    }
    let one = |n| {
        let mut sector = [0; SECTOR_LEN];
        storage
            .read_index(offset + n * SECTOR, &mut sector)
            .map(|()| sector)
    };
    Ok((0..count).map(one).collect())
}
