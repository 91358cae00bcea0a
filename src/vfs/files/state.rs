//! What one inode serves.
//!
//! An inode serves one version for its whole life, and is shown with one size: a read through it never gives bytes of
//! another size. What it serves is kept here, apart from what is known of its name (`names`) and from who has it open
//! (`requests`).

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::engine::{Blob, Reader};
use crate::units::{Facts, Validator};
use crate::vfs::names::Served;

/// The version that an inode of a regular file serves, and the size that it is shown with. Other inodes serve nothing.
pub(in crate::vfs) struct FileState {
    /// The size in bytes that stat(2) shows and reads end at.
    size: u64,
    /// The version, made at the first open.
    base: OnceLock<Arc<Blob>>,
}

impl Served for FileState {
    fn new(facts: &Facts) -> Self {
        Self {
            size: facts.size,
            base: OnceLock::new(),
        }
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn validator(&self) -> Option<Validator> {
        self.base.get()?.known_validator()
    }
}

impl FileState {
    /// The blob of the version, if it was opened before.
    pub(in crate::vfs) fn blob(&self) -> Option<&Arc<Blob>> {
        self.base.get()
    }

    /// The blob of the version; `make` makes it where it was never opened.
    pub(in crate::vfs) fn blob_or(&self, make: impl FnOnce() -> Arc<Blob>) -> &Arc<Blob> {
        self.base.get_or_init(make)
    }

    /// What one open reads from; `first` are the bytes that the open has fetched. `None` where the version was never opened.
    pub(in crate::vfs) fn reader(&self, first: Bytes) -> Option<Reader> {
        self.base.get().map(|blob| blob.reader_from(first))
    }

    /// A newer version has taken the name.
    pub(in crate::vfs) fn supersede(&self) {
        if let Some(blob) = self.base.get() {
            blob.supersede();
        }
    }

    /// Drops what opens have fetched and no read has taken yet.
    pub(in crate::vfs) fn drop_heads(&self) {
        if let Some(blob) = self.base.get() {
            blob.drop_heads();
        }
    }
}
