//! One inode, and what can be said of it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::listing::Listing;
use crate::units::{Facts, FileKind, ObjectName, Validator};
use crate::vfs::attr::{Attr, Owner};

/// One inode; `S` is what it serves.
pub(in crate::vfs) struct Inode<S> {
    /// Never given twice in a mount, as the number may be: what comes late asks whether it still is the same inode.
    pub(in crate::vfs) serial: u64,
    pub(in crate::vfs) parent: u64,
    pub(in crate::vfs) name: ObjectName,
    pub(in crate::vfs) facts: Facts,
    /// When the youngest evidence for the facts was asked for.
    pub(in crate::vfs) checked: Duration,
    pub(in crate::vfs) superseded: bool,
    pub(in crate::vfs) lookups: u64,
    /// Open files.
    pub(in crate::vfs) opens: u32,
    pub(in crate::vfs) link: Option<Arc<[u8]>>,
    /// The youngest listing that is complete.
    pub(in crate::vfs) listing: Option<Arc<Listing>>,
    /// A younger one whose pages still come, while a reader wants them.
    pub(super) coming: Weak<Listing>,
    /// The listing that the entries in the kernel's cache come from.
    pub(in crate::vfs) kernel_has: Option<Weak<Listing>>,
    pub(in crate::vfs) state: Arc<S>,
}

/// What the table can say of a name.
#[derive(PartialEq, Debug)]
pub(in crate::vfs) enum Lookup {
    /// This inode serves it.
    Inode(u64),
    /// A listing has it, with these facts, asked for then.
    Listed(Facts, Duration),
    /// A complete listing, asked for then, has no such name.
    Absent(Duration),
    /// Only the remote can tell.
    Unknown,
}

/// What evidence made of an inode.
#[derive(Debug)]
pub(in crate::vfs) enum Outcome<S> {
    /// It still serves the current version.
    Current,
    /// It does not, and did not before.
    Old,
    /// It no longer does: what it serves is to be told.
    Superseded(Arc<S>),
}

/// What an inode serves.
pub(in crate::vfs) trait Served {
    /// What an inode that is shown with these facts serves.
    fn new(facts: &Facts) -> Self;

    /// The size in bytes that it is shown with, if it is a regular file.
    fn size(&self) -> u64;

    /// The version that is served, where more was learned of it than the facts say.
    fn validator(&self) -> Option<Validator>;
}

impl<S: Served> Inode<S> {
    /// What stat(2) shows of it, under the number `ino`.
    pub(in crate::vfs) fn attr(&self, ino: u64, owner: Owner) -> Attr {
        let size = match self.facts.kind {
            FileKind::File => self.state.size(),
            _ => self.facts.size,
        };
        Attr::new(ino, &self.facts, size, owner)
    }
}
