//! What a check is given: the records and the files of one cache.

use crate::storage::{CacheFiles, HostIdentity, Storage};

/// What is checked: the records and the files of one cache.
#[derive(Clone, Copy)]
pub struct Disk<'a> {
    /// The records and the blocks.
    pub storage: &'a dyn Storage,
    /// The files as such.
    pub files: &'a dyn CacheFiles,
    /// The machine, where it is known: only in the boot that wrote a slot can one bad block of it stand alone.
    pub host: Option<HostIdentity>,
    /// Whether another process may change the cache meanwhile: what is found is then looked at again after a while.
    pub live: bool,
}

impl<'a> Disk<'a> {
    /// A store that is both.
    pub fn of(store: &'a (impl Storage + CacheFiles)) -> Self {
        Self {
            storage: store,
            files: store,
            host: None,
            live: !store.is_exclusive(),
        }
    }

    /// The same on this machine.
    #[must_use]
    pub fn on(self, host: HostIdentity) -> Self {
        Self {
            host: Some(host),
            ..self
        }
    }
}
