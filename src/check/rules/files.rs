//! What lies beside the index: chunk files against the slots, and whatever else is there.

use hashbrown::HashSet;

use super::{Finding, Repair};
use crate::check::clause::Clause;
use crate::check::facts::{CacheFacts, Evidence, FilePlace, FileSeen};
use crate::units::SlotId;

/// Presence against the files, and against the bytes where they were read. A wrong block costs a suspect slot all of its
/// blocks: where one was damaged by a cut, others may be whose checksum fits by chance.
pub(super) fn slot_bytes(
    facts: &CacheFacts,
    trusted: u64,
    freed: &HashSet<SlotId>,
    found: &mut Vec<Finding>,
) {
    let held = facts
        .slots
        .iter()
        .filter(|slot| slot.is_data() && !freed.contains(&slot.slot));
    for slot in held {
        let len = facts.files.get(&slot.slot).copied();
        let short = slot.beyond(len.unwrap_or(0));
        let wrong = slot.bad_blocks.without(short);
        let mut add = |clause, detail: String, blocks, repair| {
            let place = format!("slot {}", slot.slot.0);
            let finding = Finding::new(clause, place, detail, repair);
            let finding = finding.costs(slot.bytes_of(blocks)).seen([slot.evidence]);
            let place = FilePlace::Slot(slot.slot);
            found.push(match clause {
                Clause::FileShort => finding.at_file(FileSeen { place, len }),
                _ => finding,
            });
        };
        if !wrong.is_empty() {
            let detail = format!(
                "checksum mismatch or read error in blocks {:?}",
                wrong.iter().collect::<Vec<_>>()
            );
            if slot.stamp.epoch() < trusted {
                let detail = format!(
                    "{detail}; the slot was written before the last boot, so all of it is dropped"
                );
                let repair = Repair::FreeSlot(slot.slot);
                add(Clause::BlockCrc, detail, slot.present, repair);
                continue;
            }
            let repair = Repair::ClearBlocks(slot.slot, wrong);
            add(Clause::BlockCrc, detail, wrong, repair);
        }
        if !short.is_empty() {
            let file = match len {
                Some(len) => format!("the file is {len} bytes long"),
                None => "the file is missing".to_owned(),
            };
            let detail = format!("{file}, so {} present blocks are not in it", short.count());
            let repair = Repair::ClearBlocks(slot.slot, short);
            add(Clause::FileShort, detail, short, repair);
        }
    }
}

/// A slot's sector is written before its file is made: one that is blank over a file was lost, and its proof with it.
pub(super) fn orphans(facts: &CacheFacts, found: &mut Vec<Finding>) {
    let orphans = facts.files.iter().map(|(slot, len)| (*slot, *len));
    let mut orphans: Vec<_> = orphans
        .filter(|(slot, _)| !facts.is_slot_written(*slot))
        .collect();
    orphans.sort_unstable();
    for (slot, len) in orphans {
        let place = format!("slot {}", slot.0);
        let detail = format!("the slot's record is blank, but it has a file of {len} bytes");
        let finding = Finding::new(Clause::FileOrphan, place, detail, Repair::RemoveFile(slot));
        let record = Evidence::blank(facts.superblock.geometry.slot_offset(slot));
        let seen = FileSeen {
            place: FilePlace::Slot(slot),
            len: Some(len),
        };
        found.push(finding.costs(len).seen([record]).at_file(seen));
    }
}

/// What is not the cache's is never deleted.
pub(super) fn strays(facts: &CacheFacts, found: &mut Vec<Finding>) {
    for stray in &facts.strays {
        let place = stray.path.display().to_string();
        let detail = "it does not belong to the cache".to_owned();
        let repair = Repair::Quarantine(stray.path.clone());
        let finding = Finding::new(Clause::FileStray, place, detail, repair);
        let seen = FileSeen {
            place: FilePlace::Path(stray.path.clone()),
            len: Some(stray.len),
        };
        found.push(finding.costs(stray.len).at_file(seen));
    }
}

/// Bytes of users are the one thing in the directory that is no copy.
pub(super) fn dirty(facts: &CacheFacts, found: &mut Vec<Finding>) {
    let bytes = facts.dirty.iter().map(|file| file.len).sum();
    if facts.dirty.is_empty() {
        return;
    }
    let detail = format!(
        "{} files contain {bytes} bytes of user data that was never uploaded and that this version cannot check: use the version of larder that wrote them, or copy them away and give --discard-dirty",
        facts.dirty.len()
    );
    let finding = Finding::new(
        Clause::Dirty,
        "dirty".to_owned(),
        detail,
        Repair::DiscardDirty,
    );
    found.push(finding.costs(bytes));
}
