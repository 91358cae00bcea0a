//! The store's files as the checker walks them: each is named by its slot's number, and there are no others.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::super::fates::{Change, Fate};
use super::super::mem_file::MemFile;
use super::CrashStore;
use crate::storage::{CacheFiles, ChunkStat, FoundFile};
use crate::units::SlotId;

fn slot_of(path: &Path) -> Option<SlotId> {
    path.to_str()?.parse().ok().map(SlotId)
}

/// How many slots' files count as those of one directory.
const DIRECTORY: u32 = 16;

impl CrashStore {
    /// How many operations of [`crate::storage::Storage`] were asked for so far.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// The bytes that the chunk files take on disk.
    pub fn allocated(&self) -> u64 {
        let state = self.state.lock();
        let files = state.names.values().filter_map(|n| state.files.get(n));
        files.map(MemFile::allocated).sum()
    }

    /// The disk after a power cut that keeps every record, name and size, and loses all data.
    pub fn crash_without_data(&self) -> Self {
        let lost: Vec<bool> = self.state.lock().log.iter().map(Change::is_data).collect();
        self.crash_with(|n| match lost.get(n) {
            Some(true) => Fate::Drop,
            _ => Fate::Keep,
        })
    }

    pub(super) fn list(&self, from: SlotId) -> io::Result<(Vec<SlotId>, Option<SlotId>)> {
        let state = &mut *self.state.lock();
        state.operation(state.faults.read_errors)?;
        let end = SlotId(from.0.saturating_add(DIRECTORY));
        let slots = state.names.range(from..end).map(|(slot, _)| *slot);
        let more = state.names.range(end..).next();
        Ok((slots.collect(), more.map(|(slot, _)| *slot)))
    }

    pub(super) fn stat(&self, slot: SlotId) -> io::Result<Option<ChunkStat>> {
        let state = &mut *self.state.lock();
        state.operation(state.faults.read_errors)?;
        Ok(state.file(slot).map(|file| ChunkStat {
            len: file.len() as u64,
            bytes: file.allocated(),
        }))
    }
}

/// A slot's file has the slot's number for a path; nothing else lies in the store.
impl CacheFiles for CrashStore {
    fn list_files(&self, each: &mut dyn FnMut(FoundFile)) -> io::Result<()> {
        let state = self.state.lock();
        for (slot, number) in &state.names {
            let len = state.files.get(number).map_or(0, |file| file.len() as u64);
            each(FoundFile {
                path: self.path_of(*slot),
                slot: Some(*slot),
                len,
            });
        }
        Ok(())
    }

    fn path_of(&self, slot: SlotId) -> PathBuf {
        slot.0.to_string().into()
    }

    fn find(&self, path: &Path) -> io::Result<Option<FoundFile>> {
        let state = &mut *self.state.lock();
        let slot = slot_of(path);
        let file = slot.and_then(|slot| state.file(slot));
        Ok(file.map(|file| FoundFile {
            path: path.to_owned(),
            slot,
            len: file.len() as u64,
        }))
    }

    fn quarantine(&self, path: &Path) -> io::Result<()> {
        let slot = slot_of(path).ok_or(io::Error::from(Errno::NOENT))?;
        self.state.lock().remove(slot);
        Ok(())
    }

    fn set_index_len(&self, _len: u64) -> io::Result<()> {
        Err(Errno::OPNOTSUPP.into())
    }

    fn dirty_files(&self) -> io::Result<Vec<FoundFile>> {
        Ok(Vec::new())
    }

    fn discard_dirty(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_exclusive(&self) -> bool {
        true
    }
}
