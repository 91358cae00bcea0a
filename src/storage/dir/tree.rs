//! What lies in a cache directory, walked, set aside and removed by its paths. No cache has to be open for that.

use std::fs::DirEntry;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::open_at::open_at;
use super::paths::{CHUNKS_NAME, DIRTY_NAME, QUARANTINE_NAME, could_be_slot};
use crate::storage::api::FoundFile;

/// Moves `path`, below the cache directory `dir`, into `quarantine`; returns where it lies now.
pub(in crate::storage) fn quarantine(dir: impl AsFd, path: &Path) -> io::Result<PathBuf> {
    match rustix::fs::mkdirat(&dir, QUARANTINE_NAME, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let into = open_at(&dir, QUARANTINE_NAME, flags)?;
    let mut name = path.file_name().unwrap_or(path.as_os_str());
    for copy in 0u64.. {
        let mut new_name = name.to_owned();
        if copy > 0 {
            new_name.push(format!(".{copy}"));
        }
        match rustix::fs::renameat_with(&dir, path, &into, &new_name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            // The number was too much for a long name.
            Err(Errno::NAMETOOLONG) if copy > 0 => name = "long-name".as_ref(),
            Err(error) => return Err(error.into()),
            Ok(()) => return Ok(Path::new(QUARANTINE_NAME).join(new_name)),
        }
    }
    Err(Errno::EXIST.into())
}

/// The files below `dirty` in the cache directory `top`.
pub(in crate::storage) fn dirty_files(top: &Path) -> io::Result<Vec<FoundFile>> {
    let (mut found, mut left) = (Vec::new(), vec![PathBuf::from(DIRTY_NAME)]);
    while let Some(path) = left.pop() {
        match top.join(&path).symlink_metadata() {
            Ok(it) if it.is_dir() => for_entries(&top.join(&path), |entry| {
                left.push(path.join(entry.file_name()));
                Ok(())
            })?,
            Ok(it) => found.push(FoundFile {
                path,
                slot: None,
                len: it.len(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Removes `dirty` from the cache directory `top`.
pub(in crate::storage) fn discard_dirty(top: &Path) -> io::Result<()> {
    let dirty = top.join(DIRTY_NAME);
    match dirty.symlink_metadata() {
        Ok(it) if it.is_dir() => std::fs::remove_dir_all(dirty),
        Ok(_) => std::fs::remove_file(dirty),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Calls `each` with the path and length of every plain file that has the form of a slot's, then removes the directories
/// that are empty.
pub(in crate::storage) fn for_chunks(
    top: &Path,
    each: &mut dyn FnMut(&Path, u64) -> io::Result<()>,
) -> io::Result<()> {
    let chunks = top.join(CHUNKS_NAME).symlink_metadata();
    let mut dirs = Vec::new();
    if chunks.is_ok_and(|found| found.is_dir()) {
        dirs.push(PathBuf::from(CHUNKS_NAME));
    }
    let mut at = 0;
    while let Some(below) = dirs.get(at).cloned() {
        at += 1;
        for_entries(&top.join(&below), |entry| {
            let (path, kind) = (below.join(entry.file_name()), entry.file_type()?);
            if kind.is_dir() && path.components().count() <= 3 {
                dirs.push(path);
            } else if kind.is_file() && path.to_str().is_some_and(could_be_slot) {
                each(&path, entry.metadata()?.len())?;
            }
            Ok(())
        })?;
    }
    for dir in dirs.iter().skip(1).rev() {
        // One that is not empty holds what is not ours.
        let _ = std::fs::remove_dir(top.join(dir));
    }
    Ok(())
}

/// Calls `each` for what lies in a directory. What is gone meanwhile is left out: the daemon may be removing files.
pub(in crate::storage) fn for_entries(
    path: &Path,
    mut each: impl FnMut(DirEntry) -> io::Result<()>,
) -> io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if is_gone(&error) => return Ok(()),
        other => other?,
    };
    for entry in entries {
        match each(entry?) {
            Err(error) if is_gone(&error) => {}
            other => other?,
        }
    }
    Ok(())
}

/// The bytes of a file, or of everything in a directory.
pub(super) fn tree_len(entry: &DirEntry) -> io::Result<u64> {
    let found = entry.metadata()?;
    if !found.is_dir() {
        return Ok(found.len());
    }
    let mut sum = 0;
    for_entries(&entry.path(), |entry| {
        sum += tree_len(&entry)?;
        Ok(())
    })?;
    Ok(sum)
}

/// Whether nothing lies there: it is gone, or something else took the place of a directory above it.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
