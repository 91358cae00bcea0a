//! Whether a finding stands: beside a daemon, things move while they are looked at.
//!
//! Every sector that a finding is about is read twice more, and its file is looked at in between. Stamps are never
//! issued twice, so a sector that reads the same is the same, and all of them were so at the moment between the two
//! readings. Where a daemon may be at work a while lies there, longer than a daemon takes from the first to the last
//! of the writes that belong together.

use std::io;
use std::time::Duration;

use super::Disk;
use super::facts::{FilePlace, FileSeen};
use super::rules::Finding;
use super::scan::{fingerprint, read_sectors};

/// A daemon writes its dirty sectors 20 times a second, and promises 200 ms.
const WHILE: Duration = Duration::from_millis(500);

/// Keeps the findings that stand.
pub(super) fn recheck(disk: Disk<'_>, mut found: Vec<Finding>) -> io::Result<Vec<Finding>> {
    keep(&mut found, |finding| sectors_hold(disk, finding))?;
    if disk.live && !found.is_empty() {
        std::thread::sleep(WHILE);
    }
    keep(&mut found, |finding| {
        Ok(match &finding.file {
            Some(seen) => file_holds(disk, seen)?,
            None => true,
        })
    })?;
    keep(&mut found, |finding| sectors_hold(disk, finding))?;
    Ok(found)
}

/// As `retain`, with the first error.
fn keep(
    found: &mut Vec<Finding>,
    mut holds: impl FnMut(&Finding) -> io::Result<bool>,
) -> io::Result<()> {
    let mut lost = None;
    found.retain(|finding| {
        holds(finding).unwrap_or_else(|error| {
            lost.get_or_insert(error);
            true
        })
    });
    lost.map_or(Ok(()), Err)
}

fn sectors_hold(disk: Disk<'_>, finding: &Finding) -> io::Result<bool> {
    for evidence in &finding.evidence {
        let again = read_sectors(disk.storage, evidence.offset, 1)?;
        if again
            .iter()
            .any(|read| fingerprint(read) != evidence.fingerprint)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn file_holds(disk: Disk<'_>, seen: &FileSeen) -> io::Result<bool> {
    match &seen.place {
        FilePlace::Slot(slot) => {
            let found = disk.files.find(&disk.files.path_of(*slot))?;
            // Something else in the place of a slot's file is none.
            let file = found.filter(|found| found.slot == Some(*slot));
            Ok(file.map(|file| file.len) == seen.len)
        }
        FilePlace::Path(path) => Ok(disk.files.find(path)?.is_some() == seen.len.is_some()),
    }
}
