//! What happens behind the inode table's back: of blobs, and on request.

use super::names::KernelName;
use crate::engine::BlobEvent;
use crate::units::Facts;

/// An inode as the table knows it: by the time that an event is taken its number may serve another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Which {
    pub(super) ino: u64,
    pub(super) serial: u64,
}

/// What happened.
pub(super) enum Event {
    /// The first fetch found another version of which stat(2) shows the same.
    Rebound(Which, Box<Facts>),
    /// The inode's version is no more.
    Superseded(Which),
    /// The kernel is to drop these names; the callback gets their number when it has.
    DropNames(Vec<KernelName>, Box<dyn FnOnce(usize) + Send>),
    /// The file system ends.
    Stop,
}

impl Event {
    pub(super) fn new(which: Which, event: BlobEvent) -> Self {
        match event {
            BlobEvent::Rebound(facts) => Self::Rebound(which, facts),
            BlobEvent::Superseded => Self::Superseded(which),
        }
    }
}
