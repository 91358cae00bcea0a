//! Keeping what a repair is about to change or drop, all of it before the first thing is changed.

use std::io;
use std::path::Path;

use super::rules::{Finding, Repair};
use super::{Disk, Report};
use crate::format::{Geometry, SECTOR_LEN, Sector};
use crate::units::SlotId;

/// Keeps copies of what a repair is about to change for good.
pub trait Salvage {
    /// The sector of the index at `offset`, which now holds `bytes`, is to be written.
    fn sector(&mut self, offset: u64, bytes: &Sector) -> io::Result<()>;

    /// The file at this path below the cache directory is to be removed, or to lose bytes.
    fn file(&mut self, path: &Path) -> io::Result<()>;
}

/// Shows `keeper` every sector that a repair of the `wanted` findings would write or cut off, and every file of which it
/// would drop bytes. What is only moved within the cache directory is not shown, nor is a sector that the disk does not
/// give.
///
/// Errors: what the keeper says, or that a directory cannot be read. Nothing was changed then.
pub fn salvage(
    disk: Disk<'_>,
    report: &Report,
    discard_dirty: bool,
    keeper: &mut dyn Salvage,
    mut wanted: impl FnMut(&Finding) -> bool,
) -> io::Result<()> {
    let geometry = report.superblock.geometry;
    let open = report.findings.iter().filter(|finding| !finding.fixed);
    for finding in open {
        if !wanted(finding) {
            continue;
        }
        match &finding.repair {
            Repair::IndexLength(len) => {
                let mut offset = *len;
                while offset < disk.storage.index_len()? {
                    sector(disk, offset, keeper)?;
                    offset += SECTOR_LEN as u64;
                }
            }
            Repair::DiscardDirty if discard_dirty => {
                for file in disk.files.dirty_files()? {
                    keeper.file(&file.path)?;
                }
            }
            Repair::DiscardDirty | Repair::Quarantine(_) => {}
            other => {
                let (offset, slot) = touched(other, &geometry);
                if let Some(offset) = offset {
                    sector(disk, offset, keeper)?;
                }
                if let Some(slot) = slot {
                    file(disk, slot, keeper)?;
                }
            }
        }
    }
    Ok(())
}

/// The sector that a repair writes, and the slot of which it drops bytes.
fn touched(repair: &Repair, geometry: &Geometry) -> (Option<u64>, Option<SlotId>) {
    let slot_sector = |slot: &SlotId| (Some(geometry.slot_offset(*slot)), Some(*slot));
    match repair {
        Repair::Superblock(next) => (Some(next.offset()), None),
        Repair::Backup(next) => (Some(next.geometry.backup_offset()), None),
        Repair::Session(next) => (Some(next.offset()), None),
        Repair::Segment(header) => (Some(Geometry::segment_header_offset(header.segment)), None),
        Repair::BlankSlot(slot) | Repair::FreeSlot(slot) | Repair::ClearBlocks(slot, _) => {
            slot_sector(slot)
        }
        Repair::FreeBlob(number) => (Some(geometry.blob_offset(*number)), None),
        Repair::Blank(offset) => (Some(*offset), None),
        Repair::RemoveFile(slot) => (None, Some(*slot)),
        Repair::IndexLength(_) | Repair::Quarantine(_) | Repair::DiscardDirty => (None, None),
    }
}

fn sector(disk: Disk<'_>, offset: u64, keeper: &mut dyn Salvage) -> io::Result<()> {
    let mut bytes = [0; SECTOR_LEN];
    match disk.storage.read_index(offset, &mut bytes) {
        Ok(()) => keeper.sector(offset, &bytes),
        Err(_) => Ok(()),
    }
}

fn file(disk: Disk<'_>, slot: SlotId, keeper: &mut dyn Salvage) -> io::Result<()> {
    let path = disk.files.path_of(slot);
    match disk.files.find(&path)? {
        Some(found) if found.slot == Some(slot) => keeper.file(&path),
        _ => Ok(()),
    }
}
