//! What is wrong with the facts, and what would put it right. Pure.
//!
//! A record gets at most one finding that frees it: what is freed breaks no further rule.

use std::path::PathBuf;

use hashbrown::{HashMap, HashSet};
use serde::Serialize;

use super::clause::Clause;
use super::facts::{Bad, BlobFact, Evidence, Facts, SessionCopy, SlotFact};
use crate::format::{
    Geometry, SegmentHeader, Session, SessionState, SlotKind, Superblock, blob_segment_hash,
    slot_hash,
};
use crate::storage::HostIdentity;
use crate::units::{BlockMask, SlotId, Stamp};

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The clause that is broken.
    pub clause: Clause,
    /// Where: which record or file.
    pub place: String,
    /// What is wrong there, as a sentence.
    pub detail: String,
    /// Bytes of cached data that are lost, or set aside, by putting it right.
    pub bytes: u64,
    /// Whether it was put right.
    pub fixed: bool,
    /// What would put it right.
    #[serde(skip)]
    pub repair: Repair,
    /// The sectors that it is about.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
}

/// What puts a finding right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repair {
    /// Write this superblock.
    Superblock(Box<Superblock>),
    /// Write this session.
    Session(Box<Session>),
    /// Write this segment header.
    Segment(Box<SegmentHeader>),
    /// Write a blank slot record and remove the slot's file, of which nothing is known any more.
    BlankSlot(SlotId),
    /// Free the slot; its file stays its own.
    FreeSlot(SlotId),
    /// Call these blocks of the slot absent.
    ClearBlocks(SlotId, BlockMask),
    /// Write a blank sector at this offset.
    Blank(u64),
    /// Move this file into `quarantine`.
    Quarantine(PathBuf),
}

/// Everything that is wrong.
pub(super) fn findings(facts: &Facts, host: Option<HostIdentity>) -> Vec<Finding> {
    let mut found = Vec::new();
    superblocks(facts, &mut found);
    sessions(facts, &mut found);
    segments(facts, &mut found);
    bad_records(facts, &mut found);
    let freed = slot_places(facts, &mut found);
    blob_places(facts, &mut found);
    slot_bytes(facts, trusted_epoch(facts, host), &freed, &mut found);
    for path in &facts.strays {
        found.push(Finding {
            clause: Clause::FileStray,
            place: path.display().to_string(),
            detail: "it lies where no slot's file does".to_owned(),
            bytes: 0,
            fixed: false,
            repair: Repair::Quarantine(path.clone()),
            evidence: Vec::new(),
        });
    }
    found
}

/// Slots that no blob record names: they are found again if the same version of the same object is asked for.
pub(super) fn orphans(facts: &Facts) -> u64 {
    let named: HashSet<_> = facts.blobs.iter().map(|blob| blob.tag).collect();
    facts
        .slots
        .iter()
        .filter(|slot| !named.contains(&slot.tag))
        .count() as u64
}

fn at_sector(
    clause: Clause,
    place: String,
    detail: String,
    repair: Repair,
    evidence: Evidence,
) -> Finding {
    Finding {
        clause,
        place,
        detail,
        bytes: 0,
        fixed: false,
        repair,
        evidence: vec![evidence],
    }
}

fn bad(clause: Clause, what: &str, bad: &Bad, repair: Repair) -> Finding {
    at_sector(
        clause,
        format!("{what} {}", bad.number),
        bad.why.clone(),
        repair,
        bad.evidence,
    )
}

/// The other copy is written over a bad one, as the next in sequence: that number selects the bad copy.
fn superblocks(facts: &Facts, found: &mut Vec<Finding>) {
    for copy in &facts.bad_superblocks {
        let next = Superblock {
            sequence: facts.superblock.sequence + 1,
            ..facts.superblock
        };
        found.push(bad(
            Clause::Super,
            "superblock copy",
            copy,
            Repair::Superblock(Box::new(next)),
        ));
    }
}

/// A new session is written over a bad one, with an epoch as high as any that was ever seen, so that no stamp can be
/// issued twice, and with no boot id, so that everything older is suspect.
fn sessions(facts: &Facts, found: &mut Vec<Finding>) {
    let valid = facts.sessions.iter().filter_map(SessionCopy::session);
    let last = valid.max_by_key(|session| session.sequence);
    let epoch = last
        .map_or(0, |session| session.epoch)
        .max(facts.last_epoch);
    // A bad copy may have been the last one, whose epoch has left no stamp yet.
    let next_epoch = (epoch + 1).min((1 << 24) - 1);
    let written_to = |number: u32| {
        let sequence = last.map_or(0, |session| session.sequence + 1);
        let sequence = sequence + u64::from(sequence & 1 != u64::from(number));
        Session {
            state: SessionState::Open,
            sequence,
            epoch: next_epoch,
            trusted_epoch: next_epoch,
            boot_id: [0; 16],
            host_id: [0; 16],
            disk_mount_id: 0,
            started_at: 0,
            pid: 0,
        }
    };
    let before = found.len();
    for copy in &facts.sessions {
        if let SessionCopy::Bad(copy) = copy {
            let repair = Repair::Session(Box::new(written_to(copy.number)));
            found.push(bad(Clause::Session, "session copy", copy, repair));
        }
    }
    let known = last.map_or(0, |session| session.epoch);
    if found.len() == before && known < facts.last_epoch {
        let newest = facts.last_epoch;
        let number = last.map_or(0, |session| 1 - session.copy());
        // A mount in the middle of the scan would explain it, and would have written the other copy.
        let other = facts
            .sessions
            .get(number as usize)
            .map(SessionCopy::evidence)
            .into_iter()
            .collect();
        found.push(Finding {
            clause: Clause::Session,
            place: "session".to_owned(),
            detail: format!("its epoch is {known}, but a record was written in epoch {newest}"),
            bytes: 0,
            fixed: false,
            repair: Repair::Session(Box::new(written_to(number))),
            evidence: other,
        });
    }
}

/// A header only informs; it is written anew from what was counted.
fn segments(facts: &Facts, found: &mut Vec<Finding>) {
    for header in &facts.bad_segments {
        let sums = facts
            .sums
            .get(header.number as usize)
            .copied()
            .unwrap_or_default();
        let counted = SegmentHeader {
            segment: header.number,
            used_slots: sums.used_slots,
            used_blobs: sums.used_blobs,
            hand: 0,
            allocated: sums.allocated,
            stamp: Stamp::default(),
        };
        found.push(bad(
            Clause::Segment,
            "segment",
            header,
            Repair::Segment(Box::new(counted)),
        ));
    }
}

fn bad_records(facts: &Facts, found: &mut Vec<Finding>) {
    for slot in &facts.bad_slots {
        let repair = Repair::BlankSlot(SlotId(slot.number));
        found.push(bad(Clause::SlotSector, "slot", slot, repair));
    }
    for blob in &facts.bad_blobs {
        let repair = Repair::Blank(blob.evidence.offset);
        found.push(bad(Clause::BlobSector, "blob record", blob, repair));
    }
    for cell in &facts.bad_heap {
        let repair = Repair::Blank(cell.evidence.offset);
        found.push(bad(Clause::HeapSector, "heap cell", cell, repair));
    }
}

/// Slots that stand where they cannot, or twice. Returns those that are to be freed.
fn slot_places(facts: &Facts, found: &mut Vec<Finding>) -> HashSet<SlotId> {
    let geometry = &facts.superblock.geometry;
    let mut freed = HashSet::new();
    let mut free = |slot: &SlotFact, clause, detail| {
        freed.insert(slot.slot);
        let repair = Repair::FreeSlot(slot.slot);
        found.push(at_sector(
            clause,
            format!("slot {}", slot.slot.0),
            detail,
            repair,
            slot.evidence,
        ));
    };
    let mut best: HashMap<_, &SlotFact> = HashMap::new();
    for slot in &facts.slots {
        let own = slot.slot.0 / geometry.slots_per_segment();
        let right = geometry.segment_of(slot_hash(slot.tag, slot.chunk_no));
        if slot.kind == SlotKind::Pack {
            let detail = "it is a pack, which a cache without that feature cannot hold".to_owned();
            free(slot, Clause::SlotSector, detail);
        } else if own != right {
            let detail = format!("it lies in segment {own}, its chunk belongs into {right}");
            free(slot, Clause::SlotPlace, detail);
        } else if let Some(twin) = best.insert((slot.tag, slot.chunk_no), slot) {
            let (keep, drop) = if twin.stamp >= slot.stamp {
                (twin, slot)
            } else {
                (slot, twin)
            };
            best.insert((keep.tag, keep.chunk_no), keep);
            let detail = format!(
                "it holds chunk {} of {} as slot {} does, which is newer",
                drop.chunk_no, drop.tag, keep.slot.0
            );
            free(drop, Clause::SlotTwin, detail);
        }
    }
    freed
}

fn blob_places(facts: &Facts, found: &mut Vec<Finding>) {
    let geometry: &Geometry = &facts.superblock.geometry;
    let mut blank = |blob: &BlobFact, clause, detail| {
        let repair = Repair::Blank(blob.evidence.offset);
        let place = format!("blob record {}", blob.number);
        found.push(at_sector(clause, place, detail, repair, blob.evidence));
    };
    let mut best: HashMap<_, &BlobFact> = HashMap::new();
    for blob in &facts.blobs {
        let own = blob.number / geometry.blobs_per_segment();
        let right = geometry.segment_of(blob_segment_hash(blob.key));
        if own != right {
            let detail = format!("it lies in segment {own}, its key belongs into {right}");
            blank(blob, Clause::BlobPlace, detail);
        } else if let Some(twin) = best.insert(blob.key, blob) {
            let (keep, drop) = if twin.stamp >= blob.stamp {
                (twin, blob)
            } else {
                (blob, twin)
            };
            best.insert(keep.key, keep);
            let detail = format!(
                "it has key {} as record {} does, which is newer",
                drop.key, keep.number
            );
            blank(drop, Clause::BlobTwin, detail);
        }
    }
}

/// Slots with a lower epoch are suspect: written before the last boot, or before the cache disk was mounted as it is now.
/// Without a session of this host and boot all of them are.
fn trusted_epoch(facts: &Facts, host: Option<HostIdentity>) -> u64 {
    let valid = facts.sessions.iter().filter_map(SessionCopy::session);
    let last = valid.max_by_key(|session| session.sequence);
    let here = |s: &Session, host: HostIdentity| {
        (s.boot_id, s.host_id, s.disk_mount_id) == (host.boot_id, host.host_id, host.disk_mount_id)
    };
    let same_boot = last.filter(|s| host.is_some_and(|host| here(s, host)));
    same_boot.map_or(u64::MAX, |session| session.trusted_epoch)
}

/// Presence against the files, and against the bytes where they were read. A wrong block costs a suspect slot all of its
/// blocks: where one was damaged by a cut, others may be whose checksum fits by chance.
fn slot_bytes(facts: &Facts, trusted: u64, freed: &HashSet<SlotId>, found: &mut Vec<Finding>) {
    for slot in facts
        .slots
        .iter()
        .filter(|slot| !freed.contains(&slot.slot))
    {
        let len = facts.files.get(&slot.slot).copied();
        let short = slot.beyond(len.unwrap_or(0));
        let wrong = slot.bad_blocks.without(short);
        let mut add = |clause, detail: String, repair| {
            let place = format!("slot {}", slot.slot.0);
            found.push(at_sector(clause, place, detail, repair, slot.evidence));
        };
        if !wrong.is_empty() {
            let detail = format!("blocks {:?} are wrong", wrong.iter().collect::<Vec<_>>());
            if slot.stamp.epoch() < trusted {
                let detail = format!("{detail}, and it was written before the last boot");
                add(Clause::BlockCrc, detail, Repair::FreeSlot(slot.slot));
                continue;
            }
            add(
                Clause::BlockCrc,
                detail,
                Repair::ClearBlocks(slot.slot, wrong),
            );
        }
        if !short.is_empty() {
            let file = match len {
                Some(len) => format!("the file has {len} bytes"),
                None => "there is no file".to_owned(),
            };
            let detail = format!("{file}, {} present blocks lie beyond", short.count());
            add(
                Clause::FileShort,
                detail,
                Repair::ClearBlocks(slot.slot, short),
            );
        }
    }
}
