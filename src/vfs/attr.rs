//! What stat(2) shows of an inode.

use serde::{Deserialize, Serialize};

use crate::units::{Facts, FileKind, Timestamp};

/// The attributes of one inode, as every frontend shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attr {
    /// The inode number.
    pub ino: u64,
    /// What it is.
    pub kind: FileKind,
    /// The size in bytes.
    pub size: u64,
    /// The size in units of 512 bytes: as if nothing were sparse, for the remote does not say.
    pub blocks: u64,
    /// The time of the last change of content; shown as the time of the last access, too.
    pub mtime: Timestamp,
    /// The time of the last change of content or inode.
    pub ctime: Timestamp,
    /// Permission bits, at most 0o7777.
    pub perm: u16,
    /// 1, or 2 for directories, whatever the remote counts: two names are two inodes here.
    pub nlink: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The device number of a device node.
    pub rdev: u32,
}

/// Who owns all that a mount shows, where that is not for the remote to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Owner {
    /// The user; `None` leaves each file its own.
    pub uid: Option<u32>,
    /// The group; `None` leaves each file its own.
    pub gid: Option<u32>,
}

impl Attr {
    /// The attributes of inode `ino` with these facts; it is shown with `size` bytes.
    pub(super) fn new(ino: u64, facts: &Facts, size: u64, owner: Owner) -> Self {
        Self {
            ino,
            kind: facts.kind,
            size,
            blocks: size.div_ceil(512),
            mtime: facts.mtime,
            ctime: facts.ctime,
            perm: facts.perm & 0o7777,
            nlink: if facts.kind == FileKind::Dir { 2 } else { 1 },
            uid: owner.uid.unwrap_or(facts.uid),
            gid: owner.gid.unwrap_or(facts.gid),
            rdev: facts.rdev,
        }
    }
}
