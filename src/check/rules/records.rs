//! Slots and blob records, each by itself and against one another.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};

use super::{Finding, Repair};
use crate::check::clause::Clause;
use crate::check::facts::{BlobFact, CacheFacts, Evidence, FilePlace, FileSeen, SlotFact};
use crate::format::{BlobKind, SlotKind, blob_segment_hash, slot_hash};
use crate::units::{BlobKey, SlotId};

/// Sectors that are not believed.
pub(super) fn bad(facts: &CacheFacts, found: &mut Vec<Finding>) {
    for slot in &facts.bad_slots {
        let id = SlotId(slot.number);
        let finding = Finding::bad(Clause::SlotSector, "slot", slot, Repair::BlankSlot(id));
        // What the file held is lost with its proof.
        let len = facts.files.get(&id).copied();
        let place = FilePlace::Slot(id);
        found.push(
            finding
                .costs(len.unwrap_or(0))
                .at_file(FileSeen { place, len }),
        );
    }
    for blob in &facts.bad_blobs {
        let repair = Repair::FreeBlob(blob.number);
        found.push(Finding::bad(
            Clause::BlobSector,
            "blob record",
            blob,
            repair,
        ));
    }
    for cell in &facts.bad_heap {
        let repair = Repair::Blank(cell.evidence.offset);
        found.push(Finding::bad(Clause::HeapSector, "heap cell", cell, repair));
    }
}

/// Blob records that lie where they cannot, or twice. Returns those that hold.
pub(super) fn blobs<'a>(
    facts: &'a CacheFacts,
    found: &mut Vec<Finding>,
) -> HashMap<BlobKey, &'a BlobFact> {
    let geometry = &facts.superblock.geometry;
    let mut free = |blob: &BlobFact, clause, detail, other: Option<Evidence>| {
        let place = format!("blob record {}", blob.number);
        let finding = Finding::new(clause, place, detail, Repair::FreeBlob(blob.number));
        found.push(finding.seen([blob.evidence].into_iter().chain(other)));
    };
    let mut best: HashMap<_, &BlobFact> = HashMap::new();
    for blob in &facts.blobs {
        let own = blob.number / geometry.blobs_per_segment();
        let right = geometry.segment_of(blob_segment_hash(blob.key));
        if own != right {
            let detail = format!("it is in segment {own}, but its key belongs in segment {right}");
            free(blob, Clause::BlobPlace, detail, None);
        } else if let Some(twin) = best.insert(blob.key, blob) {
            let (keep, drop) = if twin.stamp >= blob.stamp {
                (twin, blob)
            } else {
                (blob, twin)
            };
            best.insert(keep.key, keep);
            let detail = format!(
                "it has the same key {} as record {}, which is newer",
                drop.key, keep.number
            );
            free(drop, Clause::BlobTwin, detail, Some(keep.evidence));
        }
    }
    best
}

/// Slots that stand where they cannot, or twice, or hold what their blob cannot have. Returns those that are to be freed.
pub(super) fn slots(
    facts: &CacheFacts,
    blobs: &HashMap<BlobKey, &BlobFact>,
    found: &mut Vec<Finding>,
) -> HashSet<SlotId> {
    let geometry = &facts.superblock.geometry;
    let files = blobs.values().filter(|blob| blob.kind == BlobKind::File);
    let by_tag: HashMap<_, _> = files.map(|blob| (blob.tag, *blob)).collect();
    let mut freed = HashSet::new();
    let mut free = |slot: &SlotFact, clause, detail, other: Option<Evidence>| {
        freed.insert(slot.slot);
        let place = format!("slot {}", slot.slot.0);
        let finding = Finding::new(clause, place, detail, Repair::FreeSlot(slot.slot));
        let evidence = [slot.evidence].into_iter().chain(other);
        found.push(finding.seen(evidence).costs(slot.bytes_of(slot.present)));
    };
    let mut best: HashMap<_, &SlotFact> = HashMap::new();
    for slot in facts.slots.iter().filter(|slot| slot.kind != SlotKind::Dir) {
        let own = slot.slot.0 / geometry.slots_per_segment();
        let right = geometry.segment_of(slot_hash(slot.tag, slot.chunk_no));
        if slot.kind == SlotKind::Pack {
            let detail = "it is of kind pack, which this cache's features do not allow".to_owned();
            free(slot, Clause::SlotSector, detail, None);
        } else if own != right {
            let detail =
                format!("it is in segment {own}, but its chunk belongs in segment {right}");
            free(slot, Clause::SlotPlace, detail, None);
        } else if let Some(blob) = by_tag.get(&slot.tag).filter(|blob| !fits(slot, blob)) {
            let detail = format!(
                "it has {} bytes of chunk {} with a chunk size of {}, but its blob has {} bytes and a chunk size of {}",
                slot.valid_len,
                slot.chunk_no,
                slot.chunk.bytes(),
                blob.size,
                blob.chunk.bytes()
            );
            free(slot, Clause::SlotExtent, detail, Some(blob.evidence));
        } else if let Some(twin) = best.insert((slot.tag, slot.chunk_no), slot) {
            let (keep, drop) = if twin.stamp >= slot.stamp {
                (twin, slot)
            } else {
                (slot, twin)
            };
            best.insert((keep.tag, keep.chunk_no), keep);
            let detail = format!(
                "it has the same chunk {} of {} as slot {}, which is newer",
                drop.chunk_no, drop.tag, keep.slot.0
            );
            free(drop, Clause::SlotTwin, detail, Some(keep.evidence));
        }
    }
    freed
}

/// Whether the blob has such a chunk.
fn fits(slot: &SlotFact, blob: &BlobFact) -> bool {
    let chunks = blob.size.div_ceil(blob.chunk.bytes());
    slot.chunk == blob.chunk
        && slot.chunk_no < chunks
        && u64::from(slot.valid_len) == blob.chunk.valid_len(blob.size, slot.chunk_no)
}

/// Records that are blank although a slot names them. That is a finding only where a session that was closed cleanly
/// stamped the slot: a slot is written before its blob's record, and a cut or a kill in between leaves it so for good.
pub(super) fn lost_blobs(facts: &CacheFacts, freed: &HashSet<SlotId>, found: &mut Vec<Finding>) {
    let Some(closed) = facts.closed_cleanly() else {
        return;
    };
    let mut lost: BTreeMap<u32, (&SlotFact, u64)> = BTreeMap::new();
    let known =
        |slot: &&SlotFact| slot.is_data() && closed.stamped(slot) && !freed.contains(&slot.slot);
    let exists = |number: &u32| *number < facts.superblock.geometry.n_blobs();
    for slot in facts.slots.iter().filter(known) {
        let blank = |number: &u32| exists(number) && !facts.is_blob_written(*number);
        if let Some(number) = slot.hint.filter(blank) {
            lost.entry(number).or_insert((slot, 0)).1 += 1;
        }
    }
    for (number, (slot, slots)) in lost {
        let place = format!("blob record {number}");
        let detail = format!(
            "it is blank, although {slots} slots refer to it, among them slot {}",
            slot.slot.0
        );
        let record = Evidence::blank(facts.superblock.geometry.blob_offset(number));
        let finding = Finding::new(Clause::BlobLost, place, detail, Repair::FreeBlob(number));
        found.push(finding.seen([closed.evidence, record, slot.evidence]));
    }
}
