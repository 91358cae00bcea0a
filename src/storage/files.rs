//! The seam through which the checker walks the chunk files themselves.

use std::io;
use std::path::{Path, PathBuf};

use super::dir::CacheDir;
use super::layout::{CHUNKS_NAME, QUARANTINE_NAME, slot_at};
use crate::units::SlotId;

use rustix::fs::{Mode, RenameFlags};
use rustix::io::Errno;

/// A file that lies among the chunk files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundFile {
    /// Its path below the cache directory.
    pub path: PathBuf,
    /// The slot whose place this is; `None` for a file that lies where no slot's file does, or that is no plain file.
    pub slot: Option<SlotId>,
    /// Its length in bytes.
    pub len: u64,
}

/// What the checker does with files. [`crate::storage::Storage`] reaches a file by its slot; this reaches those that
/// belong to none.
pub trait ChunkFiles {
    /// Calls `each` for every file among the chunk files, in no particular order.
    fn list_chunks(&self, each: &mut dyn FnMut(FoundFile)) -> io::Result<()>;

    /// Moves a file out of the way, into the directory `quarantine`, where nothing is ever overwritten.
    fn quarantine(&self, path: &Path) -> io::Result<()>;
}

/// Chunk files lie this many directories below the cache directory: `chunks`, segment, leaf.
const DEPTH: usize = 3;

impl CacheDir {
    fn walk(&self, below: &Path, depth: usize, each: &mut dyn FnMut(FoundFile)) -> io::Result<()> {
        let entries = match std::fs::read_dir(self.path().join(below)) {
            Ok(entries) => entries,
            // The daemon may be removing files while we look, and a new cache has none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let path = below.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < DEPTH {
                self.walk(&path, depth + 1, each)?;
                continue;
            }
            let len = match entry.metadata() {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let geometry = &self.superblock().geometry;
            let slot = path
                .to_str()
                .filter(|_| kind.is_file())
                .and_then(|p| slot_at(geometry, p));
            each(FoundFile { path, slot, len });
        }
        Ok(())
    }
}

impl ChunkFiles for CacheDir {
    fn list_chunks(&self, each: &mut dyn FnMut(FoundFile)) -> io::Result<()> {
        self.walk(Path::new(CHUNKS_NAME), 1, each)
    }

    fn quarantine(&self, path: &Path) -> io::Result<()> {
        if self.read_only() {
            return Err(Errno::ROFS.into());
        }
        match rustix::fs::mkdirat(self.dir(), QUARANTINE_NAME, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let name = path.file_name().unwrap_or(path.as_os_str());
        for copy in 0u64.. {
            let mut new_name = name.to_owned();
            if copy > 0 {
                new_name.push(format!(".{copy}"));
            }
            let to = Path::new(QUARANTINE_NAME).join(new_name);
            let result = rustix::fs::renameat_with(
                self.dir(),
                path,
                self.dir(),
                &to,
                RenameFlags::NOREPLACE,
            );
            match result {
                Err(Errno::EXIST) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::EXIST.into())
    }
}
