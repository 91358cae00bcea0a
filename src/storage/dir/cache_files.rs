//! The files of an open cache directory, for the checker.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::cache_dir::CacheDir;
use super::paths::{CHUNKS_NAME, CHUNKS_NEW_NAME, CHUNKS_OLD_NAME, is_slot_dir, slot_at};
use super::refuse::belongs_here;
use super::tree::{dirty_files, discard_dirty, for_entries, is_gone, quarantine, tree_len};
use crate::storage::api::{CacheFiles, FoundFile};
use crate::units::SlotId;

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

impl CacheFiles for CacheDir {
    fn list_files(&self, each: &mut dyn FnMut(FoundFile)) -> io::Result<()> {
        // Beside a daemon that makes its first chunk file, `chunks` may come into being meanwhile.
        let mut is_there = false;
        for_entries(self.path(), |entry| {
            let (name, path) = (entry.file_name(), PathBuf::from(entry.file_name()));
            let is_dir = entry.file_type()?.is_dir();
            is_there |= is_dir && name == self.chunks();
            // Around a resize they hold the same files under other names; only directories are the cache's.
            let of_chunks = [CHUNKS_NAME, CHUNKS_NEW_NAME, CHUNKS_OLD_NAME];
            let ours = if of_chunks.iter().any(|chunks| name == *chunks) {
                is_dir
            } else {
                belongs_here(&name)
            };
            if !ours {
                let (slot, len) = (None, tree_len(&entry)?);
                each(FoundFile { path, slot, len });
            }
            Ok(())
        })?;
        if !is_there {
            return Ok(());
        }
        self.walk(Path::new(self.chunks()), each)
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
