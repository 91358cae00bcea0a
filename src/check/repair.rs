//! Carrying out what the findings say.
//!
//! Each repair is one sector, or one file that nothing names; a cut in between leaves a cache that the next check finds
//! no worse than before.

use std::io;

use super::rules::{Finding, Repair};
use super::{CheckError, Disk, Report};
use crate::format::{Geometry, SECTOR_LEN, SlotFlags, SlotRecord, Superblock};
use crate::storage::Storage;
use crate::units::{BlockMask, SlotId, Uuid};

/// Puts right what `wanted` says yes to, and syncs. A repair that fails leaves its finding open, with the reason added.
///
/// Errors where the superblock cannot be read again or the sync fails.
pub fn repair(
    disk: Disk<'_>,
    report: &mut Report,
    mut wanted: impl FnMut(&Finding) -> bool,
) -> Result<(), CheckError> {
    let superblock = report.superblock;
    for finding in &mut report.findings {
        if finding.fixed || !wanted(finding) {
            continue;
        }
        match apply(disk, &superblock, &finding.repair) {
            Ok(()) => finding.fixed = true,
            Err(error) => finding
                .detail
                .push_str(&format!("; it cannot be put right: {error}")),
        }
    }
    if report.findings.iter().any(|finding| finding.fixed) {
        disk.storage.sync_all()?;
        disk.storage.sync_index()?;
    }
    Ok(())
}

fn apply(disk: Disk<'_>, superblock: &Superblock, repair: &Repair) -> io::Result<()> {
    let (storage, uuid, geometry) = (disk.storage, superblock.uuid, &superblock.geometry);
    match repair {
        Repair::Superblock(next) => storage.write_index(next.offset(), &next.encode()),
        Repair::Session(next) => storage.write_index(next.offset(), &next.encode(uuid)),
        Repair::Segment(header) => {
            let offset = Geometry::segment_header_offset(header.segment);
            storage.write_index(offset, &header.encode(uuid))
        }
        Repair::BlankSlot(slot) => {
            storage.write_index(geometry.slot_offset(*slot), &[0; SECTOR_LEN])?;
            // Whether the file was ever handed out is not known any more, so it is not to be written again.
            storage.remove_chunk(*slot)
        }
        Repair::FreeSlot(slot) => change_slot(storage, uuid, geometry, *slot, |old| {
            let taint = SlotFlags(old.flags.0 & SlotFlags::TAINTED);
            SlotRecord::free(old.stamp, old.generation, old.alloc_4k, taint)
        }),
        Repair::ClearBlocks(slot, blocks) => {
            change_slot(storage, uuid, geometry, *slot, |old| cleared(old, *blocks))
        }
        Repair::Blank(offset) => storage.write_index(*offset, &[0; SECTOR_LEN]),
        Repair::Quarantine(path) => disk.files.quarantine(path),
    }
}

/// The record without these blocks, and without the checksums that they had.
fn cleared(mut record: SlotRecord, blocks: BlockMask) -> SlotRecord {
    record.present = record.present.without(blocks);
    for (crc, block) in record.crcs.iter_mut().zip(0..) {
        if blocks.has(block) {
            *crc = 0;
        }
    }
    record
}

fn change_slot(
    storage: &dyn Storage,
    uuid: Uuid,
    geometry: &Geometry,
    slot: SlotId,
    change: impl FnOnce(SlotRecord) -> SlotRecord,
) -> io::Result<()> {
    let offset = geometry.slot_offset(slot);
    let mut sector = [0; SECTOR_LEN];
    storage.read_index(offset, &mut sector)?;
    let record = SlotRecord::decode(&sector, uuid, offset).map_err(io::Error::other)?;
    storage.write_index(offset, &change(record).encode(uuid, offset))
}
