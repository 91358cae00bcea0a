//! The seam through which the checker walks the files themselves.

use std::borrow::Cow;
use std::fs::DirEntry;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::below::open_below;
use super::dir::CacheDir;
use super::layout::{
    CHUNKS_NAME, CHUNKS_NEW_NAME, CHUNKS_OLD_NAME, DIRTY_NAME, QUARANTINE_NAME, is_slot_dir,
    slot_at,
};
use super::refuse::belongs_here;
use crate::units::SlotId;

/// Something that lies in a cache directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundFile {
    /// Its path below the cache directory.
    pub path: PathBuf,
    /// The slot whose place this is; `None` for what is not the cache's.
    pub slot: Option<SlotId>,
    /// Its length in bytes; of a directory that of everything in it.
    pub len: u64,
}

/// What the checker does with files. [`crate::storage::Storage`] reaches a file by its slot; this reaches those that
/// belong to none.
pub trait ChunkFiles {
    /// Calls `each` for every chunk file, and for whatever in the directory is not the cache's (a directory of that kind
    /// once, as a whole), in no particular order.
    fn list_files(&self, each: &mut dyn FnMut(FoundFile)) -> io::Result<()>;

    /// Where a slot's file lies below the cache directory.
    fn path_of(&self, slot: SlotId) -> PathBuf;

    /// What lies at this path below the cache directory, if anything does; a directory's own length only.
    fn find(&self, path: &Path) -> io::Result<Option<FoundFile>>;

    /// Moves something out of the way, into the directory `quarantine`, where nothing is ever overwritten.
    fn quarantine(&self, path: &Path) -> io::Result<()>;

    /// Cuts the index to this length, or writes zeros up to it.
    fn set_index_len(&self, len: u64) -> io::Result<()>;

    /// The files below `dirty`: bytes of users that were not uploaded.
    fn dirty_files(&self) -> io::Result<Vec<FoundFile>>;

    /// Removes `dirty` with everything in it.
    fn discard_dirty(&self) -> io::Result<()>;

    /// Whether nobody else can change the cache meanwhile.
    fn is_exclusive(&self) -> bool;
}

impl CacheDir {
    /// The path with the usual name of the directory of the chunk files.
    fn usual<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match path.strip_prefix(self.chunks()) {
            Some(below) if self.chunks() != CHUNKS_NAME => format!("{CHUNKS_NAME}{below}").into(),
            _ => path.into(),
        }
    }

    /// Lists a directory that slots' files lie in.
    fn walk(&self, below: &Path, each: &mut dyn FnMut(FoundFile)) -> io::Result<()> {
        let geometry = &self.superblock().geometry;
        for_entries(&self.path().join(below), |entry| {
            let path = below.join(entry.file_name());
            let kind = entry.file_type()?;
            let name = path.to_str().map(|path| self.usual(path));
            let name = name.as_deref();
            if kind.is_dir() && name.is_some_and(|name| is_slot_dir(geometry, name)) {
                return self.walk(&path, each);
            }
            let slot = name
                .filter(|_| kind.is_file())
                .and_then(|p| slot_at(geometry, p));
            let len = tree_len(&entry)?;
            each(FoundFile { path, slot, len });
            Ok(())
        })
    }
}

impl ChunkFiles for CacheDir {
    fn list_files(&self, each: &mut dyn FnMut(FoundFile)) -> io::Result<()> {
        // Beside a daemon that makes its first chunk file, `chunks` may come into being meanwhile.
        let mut is_there = false;
        for_entries(self.path(), |entry| {
            let (name, path) = (entry.file_name(), PathBuf::from(entry.file_name()));
            let is_dir = entry.file_type()?.is_dir();
            is_there |= is_dir && name == self.chunks();
            // Around a resize they hold the same files under other names; only directories are the cache's.
            let of_chunks = [CHUNKS_NAME, CHUNKS_NEW_NAME, CHUNKS_OLD_NAME];
            let ours = match of_chunks.iter().any(|chunks| name == *chunks) {
                true => is_dir,
                false => belongs_here(&name),
            };
            if !ours {
                let (slot, len) = (None, tree_len(&entry)?);
                each(FoundFile { path, slot, len });
            }
            Ok(())
        })?;
        match is_there {
            true => self.walk(Path::new(self.chunks()), each),
            false => Ok(()),
        }
    }

    fn path_of(&self, slot: SlotId) -> PathBuf {
        self.place(slot).into()
    }

    fn find(&self, path: &Path) -> io::Result<Option<FoundFile>> {
        let found = match self.path().join(path).symlink_metadata() {
            Ok(found) => found,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let place = path.to_str().filter(|_| found.is_file());
        let place = place.map(|path| self.usual(path));
        Ok(Some(FoundFile {
            path: path.to_owned(),
            slot: place.and_then(|place| slot_at(&self.superblock().geometry, &place)),
            len: found.len(),
        }))
    }

    fn quarantine(&self, path: &Path) -> io::Result<()> {
        if self.read_only() {
            return Err(Errno::ROFS.into());
        }
        quarantine(self.dir(), path).map(drop)
    }

    fn set_index_len(&self, len: u64) -> io::Result<()> {
        self.make_index_long(len)
    }

    fn dirty_files(&self) -> io::Result<Vec<FoundFile>> {
        dirty_files(self.path())
    }

    fn discard_dirty(&self) -> io::Result<()> {
        if self.read_only() {
            return Err(Errno::ROFS.into());
        }
        discard_dirty(self.path())
    }

    fn is_exclusive(&self) -> bool {
        self.is_locked()
    }
}

/// Moves `path`, below the cache directory `dir`, into `quarantine`; returns where it lies now.
pub(super) fn quarantine(dir: impl AsFd, path: &Path) -> io::Result<PathBuf> {
    match rustix::fs::mkdirat(&dir, QUARANTINE_NAME, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let into = open_below(&dir, QUARANTINE_NAME, flags)?;
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
pub(super) fn dirty_files(top: &Path) -> io::Result<Vec<FoundFile>> {
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
pub(super) fn discard_dirty(top: &Path) -> io::Result<()> {
    let dirty = top.join(DIRTY_NAME);
    match dirty.symlink_metadata() {
        Ok(it) if it.is_dir() => std::fs::remove_dir_all(dirty),
        Ok(_) => std::fs::remove_file(dirty),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Calls `each` for what lies in a directory. What is gone meanwhile is left out: the daemon may be removing files.
pub(super) fn for_entries(
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
fn tree_len(entry: &DirEntry) -> io::Result<u64> {
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
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
