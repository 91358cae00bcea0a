//! A cache that is made again, empty, because nothing of it can be proven: all three superblocks are gone, and with
//! them the number that seeds every checksum, every key and every tag.
//!
//! The old chunk files are removed before the old index is set aside, so that whatever cuts this short leaves a cache
//! that the next try makes again, or one that is empty.

use std::path::{Path, PathBuf};

use super::create::{CreateOptions, Progress, create_index};
use crate::format::Geometry;
use crate::storage::dir::{
    CacheDir, CacheDirError, DIRTY_NAME, Demand, INDEX_NAME, dirty_files, discard_dirty,
    for_chunks, lock, look, open_own, quarantine, settle,
};

/// What became of a cache that was made again.
#[derive(Debug)]
pub struct Recreated {
    /// The new cache, empty.
    pub cache: CacheDir,
    /// Where the old index lies now, below the cache directory.
    pub old_index: PathBuf,
    /// How many chunk files were removed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Sets the index of a cache aside of which no superblock holds, removes its chunk files, and writes an empty index
/// for the least capacity whose default index is at least as long as the old one was. Files that have not the form
/// of a slot's are left for the checker.
///
/// Errors: see [`CacheDirError`]; [`CacheDirError::Sound`] where a superblock holds, [`CacheDirError::Dirty`] where
/// there are bytes of users and `discard` is not set. Nothing was touched then.
pub fn recreate(
    path: &Path,
    discard: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recreated, CacheDirError> {
    let dir = open_own(path)?;
    refuse_sound(
        look(&dir, path, Demand::Provable).map(|found| found.is_some()),
        path,
    )?;
    let (host, lock) = lock(&dir, path)?;
    refuse_sound(
        look(&dir, path, Demand::Provable).map(|found| found.is_some()),
        path,
    )?;
    let dirty = dirty_files(path).map_err(CacheDirError::io("list dirty/ in", path))?;
    if !dirty.is_empty() && !discard {
        return Err(CacheDirError::Dirty {
            path: path.join(DIRTY_NAME),
            files: dirty.len(),
        });
    }
    let index = path.join(INDEX_NAME);
    let old = index
        .symlink_metadata()
        .map_err(CacheDirError::io("stat", &index))?;
    settle(&dir, path).map_err(CacheDirError::io(
        "clean up after an interrupted resize in",
        path,
    ))?;
    let (mut files, mut bytes) = (0, 0);
    let mut remove = |file: &Path, len: u64| {
        std::fs::remove_file(path.join(file))?;
        (files, bytes) = (files + 1, bytes + len);
        Ok(())
    };
    for_chunks(path, &mut remove).map_err(CacheDirError::io("remove the chunk files of", path))?;
    for found in &dirty {
        remove(&found.path, found.len)
            .map_err(CacheDirError::io("remove", path.join(&found.path)))?;
    }
    if discard {
        discard_dirty(path).map_err(CacheDirError::io("remove dirty/ of", path))?;
    }
    let old_index =
        quarantine(&dir, Path::new(INDEX_NAME)).map_err(CacheDirError::io("quarantine", &index))?;
    let options = CreateOptions {
        capacity: Geometry::capacity_for_index(old.len()),
        slots: None,
        files: None,
    };
    create_index(&dir, path, &options, progress)?;
    Ok(Recreated {
        cache: CacheDir::build(path, dir, host, Some(lock), Demand::Whole)?,
        old_index,
        files,
        bytes,
    })
}

/// Passes only for an index that is there and of which no superblock holds.
fn refuse_sound(found: Result<bool, CacheDirError>, path: &Path) -> Result<(), CacheDirError> {
    match found {
        Ok(true) => Err(CacheDirError::Sound(path.join(INDEX_NAME))),
        Ok(false) => Err(CacheDirError::NoCache(path.into())),
        Err(CacheDirError::Superblock { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}
