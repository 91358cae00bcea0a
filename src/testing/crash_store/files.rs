//! The store's files as the checker walks them: each is named by its slot's number, and there are no others.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::CrashStore;
use crate::storage::{ChunkFiles, FoundFile};
use crate::units::SlotId;

fn slot_of(path: &Path) -> Option<SlotId> {
    path.to_str()?.parse().ok().map(SlotId)
}

/// A slot's file has the slot's number for a path; nothing else lies in the store.
impl ChunkFiles for CrashStore {
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
