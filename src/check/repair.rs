//! Carrying out what the findings say.
//!
//! Each repair is one sector, or one file that nothing names; a cut in between leaves a cache that the next check finds
//! no worse than before.

use std::io;

use super::rules::{Finding, Repair};
use super::{CheckError, Disk, Report};
use crate::format::{BlobRecord, Geometry, SECTOR_LEN, Sector, SlotFlags, SlotRecord, Superblock};
use crate::units::{BlockMask, SlotId};

/// What a repair may do beside putting right what is clean data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Means {
    /// Whether bytes of users that were never uploaded may be removed.
    pub discard_dirty: bool,
}

/// Puts right what `wanted` says yes to, and syncs. A repair that fails leaves its finding open, with the reason added.
/// Bytes of users stay, and their finding open, unless `means` says otherwise.
///
/// Errors where the sync fails.
pub fn repair(
    disk: Disk<'_>,
    report: &mut Report,
    means: Means,
    mut wanted: impl FnMut(&Finding) -> bool,
) -> Result<(), CheckError> {
    let superblock = report.superblock;
    for finding in &mut report.findings {
        let kept = finding.repair == Repair::DiscardDirty && !means.discard_dirty;
        if finding.fixed || kept || !wanted(finding) {
            continue;
        }
        let mender = Mender {
            disk,
            superblock: &superblock,
        };
        match mender.apply(&finding.repair) {
            Ok(()) => finding.fixed = true,
            Err(error) => finding
                .detail
                .push_str(&format!("; repair failed: {error}")),
        }
    }
    if report.findings.iter().any(|finding| finding.fixed) {
        disk.storage.sync_all()?;
        disk.storage.sync_index()?;
    }
    Ok(())
}

/// One repair after the other.
struct Mender<'a> {
    disk: Disk<'a>,
    superblock: &'a Superblock,
}

impl Mender<'_> {
    fn apply(&self, repair: &Repair) -> io::Result<()> {
        let (uuid, geometry) = (self.superblock.uuid, self.superblock.geometry);
        match repair {
            Repair::IndexLength(len) => self.disk.files.set_index_len(*len),
            Repair::Superblock(next) => self.write(next.offset(), &next.encode()),
            Repair::Backup(next) => {
                self.write(next.geometry.backup_offset(), &next.encode_backup())
            }
            Repair::Session(next) => self.write(next.offset(), &next.encode(uuid)),
            Repair::Segment(header) => {
                let offset = Geometry::segment_header_offset(header.segment);
                self.write(offset, &header.encode(uuid))
            }
            Repair::BlankSlot(slot) => {
                // Whether the file was ever handed out is not known any more, so it is not to be written again.
                self.remove_file(*slot)?;
                self.write(geometry.slot_offset(*slot), &[0; SECTOR_LEN])
            }
            Repair::FreeSlot(slot) => self.change_slot(*slot, |old| {
                let taint = SlotFlags(old.flags.0 & SlotFlags::TAINTED);
                SlotRecord::free(old.stamp, old.generation, old.alloc_4k, taint)
            }),
            Repair::ClearBlocks(slot, blocks) => {
                self.change_slot(*slot, |old| cleared(old, *blocks))
            }
            Repair::FreeBlob(number) => {
                let offset = geometry.blob_offset(*number);
                self.write(offset, &BlobRecord::free().encode(uuid, offset))
            }
            Repair::Blank(offset) => self.write(*offset, &[0; SECTOR_LEN]),
            Repair::RemoveFile(slot) => self.remove_file(*slot),
            Repair::Quarantine(path) => self.disk.files.quarantine(path),
            Repair::DiscardDirty => self.disk.files.discard_dirty(),
        }
    }

    /// Never beyond the end: that would make the index as long as a superblock claims that has to be wrong.
    fn write(&self, offset: u64, sector: &Sector) -> io::Result<()> {
        let len = self.disk.storage.index_len()?;
        if offset + SECTOR_LEN as u64 > len {
            return Err(io::Error::other(format!(
                "it lies at byte {offset}, beyond the end of the index, which has {len} bytes"
            )));
        }
        self.disk.storage.write_index(offset, sector)
    }

    fn remove_file(&self, slot: SlotId) -> io::Result<()> {
        let path = self.disk.files.path_of(slot);
        // Something else in the place of the file is not the cache's, and a finding of its own.
        match self.disk.files.find(&path)? {
            Some(found) if found.slot == Some(slot) => self.disk.storage.remove_chunk(slot),
            _ => Ok(()),
        }
    }

    fn change_slot(
        &self,
        slot: SlotId,
        change: impl FnOnce(SlotRecord) -> SlotRecord,
    ) -> io::Result<()> {
        let (uuid, offset) = (
            self.superblock.uuid,
            self.superblock.geometry.slot_offset(slot),
        );
        let mut sector = [0; SECTOR_LEN];
        self.disk.storage.read_index(offset, &mut sector)?;
        let record = SlotRecord::decode(&sector, uuid, offset).map_err(io::Error::other)?;
        self.write(offset, &change(record).encode(uuid, offset))
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
