//! A slot that stays with its tenant: eviction passes it by for as long as there is a lease on it. It is for a chunk
//! file that is in the kernel's hands, or in an embedder's.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::engine::index::cache_index::Index;
use crate::engine::index::slot::Slot;
use crate::storage::Storage;

/// A lease on a slot, until it is dropped. A slot whose proof does not hold is dropped all the same; its place is
/// handed on when the last lease has gone.
pub(crate) struct SlotLease {
    index: Arc<Index>,
    slot: Arc<Slot>,
}

impl SlotLease {
    /// A lease on `slot`; `None` where the slot belongs to another tenant by now, or has too many leases.
    pub(crate) fn new(index: &Arc<Index>, slot: &Arc<Slot>) -> Option<Self> {
        let mut state = slot.state.lock();
        if state.retired {
            return None;
        }
        state.leases = state.leases.checked_add(1)?;
        drop(state);
        Some(Self {
            index: Arc::clone(index),
            slot: Arc::clone(slot),
        })
    }

    /// A read-only descriptor of the slot's file. Errors where the store has no files, or the disk fails.
    pub(crate) fn lend(&self) -> io::Result<OwnedFd> {
        self.index.storage.lend(self.slot.file())
    }
}

impl Drop for SlotLease {
    fn drop(&mut self) {
        let place = {
            let mut state = self.slot.state.lock();
            state.leases -= 1;
            state.place_if_unused()
        };
        self.index.hand_on(&self.slot, place);
    }
}
