//! The seam through which the checker walks the files themselves.

use std::io;
use std::path::{Path, PathBuf};

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

/// What the checker does with files. [`Storage`](super::Storage) reaches a file by its slot; this reaches those that
/// belong to none.
pub trait CacheFiles {
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

    /// Whether no other process can change the cache meanwhile.
    fn is_exclusive(&self) -> bool;
}
