//! What a remote says of an object, and what of that identifies a version.

use super::FileKind;

/// Seconds and nanoseconds since 1970, as stat(2) gives them; seconds may be negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01 00:00 UTC.
    pub secs: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

impl Timestamp {
    /// What stands for a time that the remote does not know.
    pub const UNKNOWN: Self = Self { secs: 0, nanos: 0 };
}

/// The class of a validator, strongest promise first. The numbers are those on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ValidatorClass {
    /// The remote says nothing: a stamp of larder's own stands in.
    Stamp = 1,
    /// Inode, size, mtime and ctime of a local file.
    Local = 2,
    /// Last-Modified and size.
    Modified = 3,
    /// A weak ETag, with the size.
    WeakEtag = 4,
    /// An ETag made from time and size, as nginx makes them.
    TimeEtag = 5,
    /// A strong ETag, version id, generation or digest.
    Strong = 6,
}

impl ValidatorClass {
    /// The word that `larder info` and the extended attributes show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stamp => "stamp",
            Self::Local => "local",
            Self::Modified => "last-modified",
            Self::WeakEtag => "weak-etag",
            Self::TimeEtag => "time-etag",
            Self::Strong => "strong",
        }
    }
}

/// What identifies one version of an object: two equal validators of one object mean equal bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Validator {
    /// The remote says nothing; the stamp is kept in the blob record.
    Stamp(u64),
    /// A file of a local (or kernel-mounted) file system.
    Local {
        /// The inode number, where the file system keeps it over a remount; otherwise 0.
        ino: u64,
        /// The size in bytes.
        size: u64,
        /// The time of the last change of content.
        mtime: Timestamp,
        /// The time of the last change of content or inode.
        ctime: Timestamp,
    },
    /// Last-Modified and size.
    Modified {
        /// Last-Modified.
        mtime: Timestamp,
        /// The size in bytes.
        size: u64,
    },
    /// A weak ETag (without its `W/`) and the size.
    WeakEtag {
        /// The opaque part of the tag.
        etag: Box<[u8]>,
        /// The size in bytes.
        size: u64,
    },
    /// An ETag that was made from time and size.
    TimeEtag(Box<[u8]>),
    /// A strong ETag, version id, generation or digest.
    Strong(Box<[u8]>),
}

impl Validator {
    /// The class that it belongs to.
    pub fn class(&self) -> ValidatorClass {
        match self {
            Self::Stamp(_) => ValidatorClass::Stamp,
            Self::Local { .. } => ValidatorClass::Local,
            Self::Modified { .. } => ValidatorClass::Modified,
            Self::WeakEtag { .. } => ValidatorClass::WeakEtag,
            Self::TimeEtag(_) => ValidatorClass::TimeEtag,
            Self::Strong(_) => ValidatorClass::Strong,
        }
    }
}

/// What a remote says of one object: the facts that stat(2) shows, and its validator where it is known already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// What it is.
    pub kind: FileKind,
    /// Its size in bytes; for a symbolic link the length of its target.
    pub size: u64,
    /// The time of the last change of content; [`Timestamp::UNKNOWN`] where the remote does not know it.
    pub mtime: Timestamp,
    /// The time of the last change of content or inode; the mtime where the remote knows no other.
    pub ctime: Timestamp,
    /// Permission bits, with set-uid, set-gid and sticky: at most 0o7777.
    pub perm: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The device number of a device node, otherwise 0.
    pub rdev: u32,
    /// What identifies this version; `None` where only a fetch can show it (a listing without an ETag).
    pub validator: Option<Validator>,
}

impl Facts {
    /// The facts of a regular file of `size` bytes of this version, readable by all: for a remote that knows no more.
    pub fn file(size: u64, validator: Validator) -> Self {
        Self {
            kind: FileKind::File,
            size,
            mtime: Timestamp::UNKNOWN,
            ctime: Timestamp::UNKNOWN,
            perm: 0o444,
            uid: 0,
            gid: 0,
            rdev: 0,
            validator: Some(validator),
        }
    }

    /// The facts of an object of which the kind alone is known: it can be shown, and no user may do anything with it.
    pub fn unknown(kind: FileKind) -> Self {
        Self {
            kind,
            size: 0,
            mtime: Timestamp::UNKNOWN,
            ctime: Timestamp::UNKNOWN,
            perm: 0,
            uid: 0,
            gid: 0,
            rdev: 0,
            validator: None,
        }
    }

    /// Whether stat(2) shows the same for both: all but the validator, which no program sees.
    pub fn shows_the_same_as(&self, other: &Facts) -> bool {
        let shown = |facts: &Facts| Facts {
            validator: None,
            ..facts.clone()
        };
        shown(self) == shown(other)
    }

    /// Whether `newer` contradicts a fact that these facts know: a different kind, size or mtime, or a different
    /// validator of the same class. A stronger fact that is merely added contradicts nothing: a server that learns to
    /// send ETags has not changed its files.
    pub fn contradicted_by(&self, newer: &Facts) -> bool {
        let differs = |a: &Validator, b: &Validator| a.class() == b.class() && a != b;
        let known = |facts: &Facts| facts.mtime != Timestamp::UNKNOWN;
        self.kind != newer.kind
            || self.size != newer.size
            || known(self) && known(newer) && self.mtime != newer.mtime
            || matches!((&self.validator, &newer.validator), (Some(a), Some(b)) if differs(a, b))
    }
}
