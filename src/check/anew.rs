//! A cache that begins anew, told as a check: where no superblock holds there is nothing else that could be done.

use std::path::Path;

use super::rules::{Finding, Repair};
use super::{CheckError, Clause, Disk, Means, Observer, Plan, Report, check, repair};
use crate::storage::{Anew, CacheDir, CacheDirError};

/// Why a cache did not begin anew.
#[derive(Debug, thiserror::Error)]
pub enum AnewError {
    /// The directory was refused, or the disk failed.
    #[error(transparent)]
    Dir(#[from] CacheDirError),
    /// The new cache could not be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// [`CacheDir::start_anew`], and a check of the new cache with everything put right that it finds (what is not the cache's
/// goes into `quarantine`). The report has the loss of the old cache as its first finding, put right.
///
/// For a directory that [`CacheDir::open_for_repair`] refused with [`CacheDirError::Superblock`], if the user wants it.
pub fn start_anew(
    path: &Path,
    means: Means,
    observe: Observer<'_>,
) -> Result<(CacheDir, Report), AnewError> {
    let anew = CacheDir::start_anew(path, means.discard_dirty, &mut |_| {})?;
    let Anew {
        cache,
        old_index,
        files,
        bytes,
    } = anew;
    let disk = Disk::of(&cache).on(cache.host());
    let mut report = check(disk, Plan::PLAIN, observe)?;
    repair(disk, &mut report, means, |_| true)?;
    let capacity = cache.superblock().capacity;
    let finding = Finding {
        clause: Clause::Super,
        place: "all superblocks".to_owned(),
        detail: format!(
            "none was valid; the old index was moved to {}, {files} chunk files were removed, and the new cache has a size limit of {capacity} bytes",
            old_index.display()
        ),
        bytes,
        fixed: true,
        repair: Repair::IndexLength(cache.superblock().geometry.index_len()),
        evidence: Vec::new(),
        file: None,
    };
    report.findings.insert(0, finding);
    Ok((cache, report))
}
