//! Names and numbers that identify things.

use std::fmt;

/// A cache's own 128-bit number, which keys every hash in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// The 128-bit keyed hash of an object's full identity: remote, salt and name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BlobKey(pub [u8; 16]);

/// The 128-bit identity of one version of one blob at one chunk size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tag(pub [u8; 16]);

/// The number of a chunk slot over the whole cache: segment times slots per segment, plus the place in the segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SlotId(pub u32);

/// A number that is never issued twice in the life of a cache: 24 bits of epoch, 40 bits of counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The bits of the counter below the epoch.
    pub const COUNTER_BITS: u32 = 40;

    /// The `counter`-th stamp of `epoch`.
    pub fn new(epoch: u64, counter: u64) -> Self {
        debug_assert!(
            counter < 1 << Self::COUNTER_BITS,
            "a mount issues fewer than 2^40 stamps"
        );
        Self(epoch << Self::COUNTER_BITS | counter)
    }

    /// The epoch (the mount) that issued it.
    pub fn epoch(self) -> u64 {
        self.0 >> Self::COUNTER_BITS
    }
}

/// The name of an object within its remote: path components joined by `/`, no leading slash, empty for the root.
/// Bytes, not text: names need not be UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ObjectName(Box<[u8]>);

impl ObjectName {
    /// The remote's root.
    pub fn root() -> Self {
        Self::default()
    }

    /// The object of this full name.
    pub fn new(path: impl Into<Box<[u8]>>) -> Self {
        Self(path.into())
    }

    /// The object `name` in the directory `self`.
    #[must_use]
    pub fn child(&self, name: &[u8]) -> Self {
        if self.0.is_empty() {
            return Self(name.into());
        }
        Self([&self.0, b"/".as_slice(), name].concat().into())
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the remote's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::shown_bytes(&self.0).fmt(f)
    }
}

/// What kind of thing an object is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// A regular file: a blob.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe: shown, never opened by larder.
    Fifo,
    /// A socket: shown, never opened by larder.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

macro_rules! hex_display {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex(&self.0, f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}
hex_display!(Uuid, BlobKey, Tag);
