//! What is done at an opening with what a kill or a power cut left half done: an index that was being written, a resize.
//!
//! The names show how far it came: `admin/resize.rs` says in which order they come and go.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::paths::{
    CHUNKS_NAME, CHUNKS_NEW_NAME, CHUNKS_OLD_NAME, INDEX_NAME, INDEX_NEW_NAME, could_be_slot,
};
use super::tree::{for_entries, quarantine};

/// The steps of [`follow`].
pub(in crate::storage) const FOLLOW_STEPS: u64 = 4;

/// Clears up after whatever was cut short: an index that was not finished, or a resize. Called with the lock held.
pub(in crate::storage) fn settle(dir: &File, path: &Path) -> io::Result<()> {
    if !exists(dir, INDEX_NAME)? {
        return remove_unfinished(dir);
    }
    if exists(dir, INDEX_NEW_NAME)? {
        remove_tree(dir, path, CHUNKS_NEW_NAME)?;
        dir.sync_all()?;
        return remove_unfinished(dir);
    }
    follow(dir, path, &mut |_| {})
}

/// Puts the new chunk directory in the place of the old one, as far as that was not done, and removes the old one. `step` is
/// called with the number of each of the [`FOLLOW_STEPS`] steps.
pub(in crate::storage) fn follow(
    dir: &File,
    path: &Path,
    step: &mut dyn FnMut(u64),
) -> io::Result<()> {
    if exists(dir, CHUNKS_NEW_NAME)? {
        step(0);
        if exists(dir, CHUNKS_NAME)? {
            remove_tree(dir, path, CHUNKS_OLD_NAME)?;
            rustix::fs::renameat(dir, CHUNKS_NAME, dir, CHUNKS_OLD_NAME)?;
            dir.sync_all()?;
        }
        step(1);
        rustix::fs::renameat(dir, CHUNKS_NEW_NAME, dir, CHUNKS_NAME)?;
        dir.sync_all()?;
    }
    step(2);
    remove_tree(dir, path, CHUNKS_OLD_NAME)?;
    step(3);
    Ok(())
}

/// Removes a directory of chunk files. What else lies in it is set aside.
fn remove_tree(dir: &File, path: &Path, name: &str) -> io::Result<()> {
    if !exists(dir, name)? {
        return Ok(());
    }
    let top = path.join(name);
    let mut dirs = vec![top.clone()];
    let mut at = 0;
    while let Some(below) = dirs.get(at).cloned() {
        at += 1;
        for_entries(&below, |entry| {
            let (found, kind) = (entry.path(), entry.file_type()?);
            let inside = found.strip_prefix(&top).map_err(io::Error::other)?;
            let as_chunk = Path::new(CHUNKS_NAME).join(inside);
            if kind.is_dir() && inside.components().count() <= 2 {
                dirs.push(found);
            } else if kind.is_file() && as_chunk.to_str().is_some_and(could_be_slot) {
                std::fs::remove_file(found)?;
            }
            Ok(())
        })?;
    }
    for empty in dirs.iter().rev() {
        // One that is not empty holds what is not ours.
        let _ = std::fs::remove_dir(empty);
    }
    if exists(dir, name)? {
        quarantine(dir, Path::new(name))?;
    }
    Ok(())
}

/// Where the chunk files of the index lie while the lock is not held: below their new name where a resize got the new index
/// into its place and was cut short before the directories followed.
pub(super) fn chunks_name(dir: &File) -> &'static str {
    let there = |name| exists(dir, name).unwrap_or(false);
    if there(CHUNKS_NEW_NAME) && !there(INDEX_NEW_NAME) {
        CHUNKS_NEW_NAME
    } else {
        CHUNKS_NAME
    }
}

/// Whether something was cut short that the next [`settle`] finishes or takes back.
pub(super) fn is_unsettled(dir: &File) -> bool {
    let names = [INDEX_NEW_NAME, CHUNKS_NEW_NAME, CHUNKS_OLD_NAME];
    (names.iter()).any(|name| exists(dir, name).unwrap_or(false))
}

/// Removes an index that was not finished.
pub(in crate::storage) fn remove_unfinished(dir: &File) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, INDEX_NEW_NAME, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether anything of this name lies in the directory.
fn exists(dir: &File, name: &str) -> io::Result<bool> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
