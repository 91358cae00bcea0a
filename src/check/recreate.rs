//! A cache that is made again, reported as a check: where no superblock holds there is nothing else that could be done.

use std::path::Path;

use super::rules::{Finding, Repair};
use super::{CheckError, CheckOptions, Clause, Disk, Means, Observer, Report, check, repair};
use crate::storage::{self, CacheDir, CacheDirError, Recreated};

/// Why a cache was not made again.
#[derive(Debug, thiserror::Error)]
pub enum RecreateError {
    /// The directory was refused, or the disk failed.
    #[error(transparent)]
    Dir(#[from] CacheDirError),
    /// The new cache could not be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// [`storage::recreate`], and a check of the new cache with everything put right that it finds (what is not the cache's
/// goes into `quarantine`). The report has the loss of the old cache as its first finding, put right.
///
/// For a directory that [`CacheDir::open_for_repair`] refused with [`CacheDirError::Superblock`], if the user wants it.
pub fn recreate(
    path: &Path,
    means: Means,
    observe: Observer<'_>,
) -> Result<(CacheDir, Report), RecreateError> {
    let recreated = storage::recreate(path, means.discard_dirty, &mut |_| {})?;
    let Recreated {
        cache,
        old_index,
        files,
        bytes,
    } = recreated;
    let disk = Disk::of(&cache).on(cache.host());
    let mut report = check(disk, CheckOptions::PLAIN, observe)?;
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
