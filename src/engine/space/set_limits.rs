//! Changing the limits of a cache that is open.
//!
//! The capacity is kept in all three superblocks. The copy that does not hold is written first and synced, then the
//! other one and the backup: whenever this is cut short, one of them holds and says the old or the new size.

use std::io;

use crate::engine::config::free_space::{FreeSpace, Pressure};
use crate::engine::index::session::sector;
use crate::engine::space::cache_space::Space;
use crate::format::{Geometry, SectorError, Superblock};
use crate::storage::Storage;

/// The limits of a cache, as they stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LimitsView {
    /// The most bytes that it takes on disk, index included.
    pub capacity: u64,
    /// What it leaves free on its disk.
    pub free: FreeSpace,
    /// The bytes that it takes.
    pub used_bytes: u64,
    /// Whether its disk is short of space.
    pub pressure: Pressure,
    /// What the user should know of a change: a sentence.
    pub note: Option<String>,
}

/// Why limits were not changed: a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// The index leaves too little.
    #[error(
        "a cache size of {capacity} bytes is too small for this cache: its index alone takes {index} bytes. Give {least} or more, \
         or shrink the index with 'larder resize --cache-size'"
    )]
    TooSmall {
        /// What was asked for.
        capacity: u64,
        /// The bytes of the index.
        index: u64,
        /// The least that can be.
        least: u64,
    },
    /// Nothing may be written.
    #[error(
        "the size of this cache cannot be changed: the cache uses features that this version of larder cannot write. Use a newer larder"
    )]
    ReadOnly,
    /// The open index was damaged.
    #[error(
        "neither copy of the superblock is valid ({0}): unmount, then repair the cache with cachefsck -p"
    )]
    Superblock(SectorError),
    /// The disk said no.
    #[error("the new size could not be written to the cache disk: {0}")]
    Io(#[from] io::Error),
}

impl Space {
    /// The limits, as they stand.
    pub(crate) fn limits_view(&self) -> LimitsView {
        LimitsView {
            capacity: self.limits.capacity(),
            free: self.limits.marks(),
            used_bytes: self.index.used_bytes(),
            pressure: self.limits.pressure(),
            note: None,
        }
    }

    /// Changes what is given, at once: a cache that takes more than it may from now on gives back in the background.
    /// The capacity is kept on disk; what has to stay free is kept until the cache is closed. Waits for the disk.
    ///
    /// Errors with a sentence; nothing was changed then, but where the disk failed in the midst the next opening may
    /// find the new capacity.
    pub(crate) fn set_limits(
        &self,
        capacity: Option<u64>,
        free: Option<FreeSpace>,
    ) -> Result<LimitsView, LimitsError> {
        let mut note = None;
        if let Some(capacity) = capacity {
            let _changing = self.limits.changing.lock();
            let index = self.index.file.geometry.index_len();
            let least = Geometry::CAPACITY_MIN.max(index * 2);
            if capacity < least {
                return Err(LimitsError::TooSmall {
                    capacity,
                    index,
                    least,
                });
            }
            let before = self.limits.capacity();
            if capacity != before {
                self.persist_capacity(capacity)?;
                self.limits.set_capacity(capacity);
                if capacity > before {
                    note = outgrown(&self.index.file.geometry, capacity);
                }
            }
        }
        if let Some(free) = free {
            self.limits.set_marks(free);
        }
        Ok(LimitsView {
            note,
            ..self.limits_view()
        })
    }

    fn persist_capacity(&self, capacity: u64) -> Result<(), LimitsError> {
        let storage = &*self.index.storage;
        let copies = [
            sector(storage, Geometry::superblock_offset(0))?,
            sector(storage, Geometry::superblock_offset(1))?,
        ];
        let held = Superblock::choose(&copies).map_err(LimitsError::Superblock)?;
        if self.index.file.read_only || !held.may_be_rewritten() {
            return Err(LimitsError::ReadOnly);
        }
        let first = Superblock { capacity, ..held }.next_for(1 - held.copy());
        let second = first.next_for(held.copy());
        storage.write_index(first.offset(), &first.encode())?;
        storage.sync_index()?;
        storage.write_index(second.offset(), &second.encode())?;
        storage.sync_index()?;
        let backup = second.geometry.backup_offset();
        storage.write_index(backup, &second.encode_backup())?;
        storage.sync_index()?;
        Ok(())
    }
}

/// What is to be said of a capacity for which the index has fewer slots or files than a new cache would have.
fn outgrown(geometry: &Geometry, capacity: u64) -> Option<String> {
    let usual = Geometry::for_capacity(capacity, None, None).ok()?;
    let (slots, files) = (geometry.n_slots(), geometry.n_blobs());
    (slots < usual.n_slots() || files < usual.n_blobs()).then(|| {
        format!(
            "the index was made for a smaller cache: it has room for {slots} chunks and {files} files, while a new cache of this size would have room for {} chunks and {} files. To enlarge it, unmount the cache and run 'larder resize'",
            usual.n_slots(),
            usual.n_blobs()
        )
    })
}
