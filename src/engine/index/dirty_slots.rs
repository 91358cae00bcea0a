//! The slots whose sector lacks something.

use std::sync::Arc;

use crate::engine::index::slot::Slot;
use crate::runtime::locks::Mutex;

/// The slots whose sector lacks something.
#[derive(Default)]
pub(crate) struct DirtySlots {
    slots: Mutex<Vec<Arc<Slot>>>,
    /// Held by the one flush that runs.
    pub(crate) flushing: Mutex<()>,
}

impl DirtySlots {
    /// The slot's checksums are in memory and its sector lacks some of them.
    pub(crate) fn note(&self, slot: &Arc<Slot>) {
        self.slots.lock().push(Arc::clone(slot));
    }

    /// Takes all slots that were noted; one may be among them more than once.
    pub(super) fn take(&self) -> Vec<Arc<Slot>> {
        std::mem::take(&mut *self.slots.lock())
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.slots.lock().is_empty()
    }
}
