//! Open directories, and the entries that are read through them.

use std::sync::Arc;

use crate::remote::Entry;
use crate::units::{FileKind, ObjectName};
use crate::vfs::names::{Contents, Listing};

/// One open directory.
pub(super) struct OpenDir {
    pub(super) ino: u64,
    pub(super) parent: u64,
    pub(super) name: ObjectName,
    pub(super) listing: Arc<Listing>,
}

/// The answer to an opendir.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenedDir {
    /// The handle.
    pub handle: u64,
    /// Whether what is read through this handle may go into the kernel's cache of entries, and come from there.
    pub cache: bool,
    /// Whether the entries that the kernel has are of this listing.
    pub keep_cache: bool,
}

/// The entries of an open directory that have come so far.
pub struct DirEntries {
    pub(super) dir: Arc<OpenDir>,
    pub(super) contents: Arc<Contents>,
}

/// One entry of an open directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode number that the entry shows.
    pub ino: u64,
    /// The kind that the entry shows.
    pub kind: FileKind,
    /// Where the entry after this one is.
    pub next: u64,
}

/// The index in a listing of the entry at `offset`; none of `.` and `..`.
pub(super) fn index_at(offset: u64) -> Option<usize> {
    usize::try_from(offset.checked_sub(2)?).ok()
}

impl DirEntries {
    pub(super) fn at(&self, offset: u64) -> Option<&Entry> {
        self.contents.get(index_at(offset)?)
    }
}
