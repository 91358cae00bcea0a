//! The first bytes of an object as one answer of the remote brought them, with the version that they belong to.
//!
//! The first fetch of an object that is being opened may find another version than the one that was shown. Its bytes
//! are kept here for the blob of that version, which is opened next: a file that changes all the time can be opened all
//! the same, since nothing has to be asked a second time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::runtime::locks::Mutex;
use crate::units::{ByteRange, ChunkSize, Facts, FileKind, Validator};

/// What the kernel asks for in one request when it begins to read a file: a file of so many bytes comes whole at its
/// open.
pub(crate) const FIRST_READ: u64 = 128 << 10;

/// The bytes that the open of a file of `size` bytes asks for: the whole of a small file, one block of any other.
pub(crate) fn first_bytes(size: u64, chunk: ChunkSize) -> ByteRange {
    let len = if size <= FIRST_READ {
        size
    } else {
        chunk.block_size().min(size)
    };
    ByteRange::at(0, len)
}

/// The first bytes of one version of an object.
#[derive(Clone, Debug)]
pub struct Head {
    /// What stat(2) shows of the version; its validator is set.
    pub facts: Facts,
    pub(crate) settled: bool,
    pub(crate) bytes: Bytes,
}

/// The heads that a blob has to do with.
#[derive(Default)]
pub(crate) struct Heads {
    /// How often a user has had dropped what is held of them.
    pub(crate) dropped: AtomicU64,
    /// The next open is to ask the remote although the blob has served bytes.
    pub(crate) asks: AtomicBool,
    /// Its own, and when it came, until it is opened.
    pub(crate) own: Mutex<Option<(Head, Duration)>>,
    /// That of the version which its first fetch found in its stead.
    pub(crate) next: Mutex<Option<Head>>,
}

impl Heads {
    /// Lets go of what open files hold of the first bytes, because a user has had the cached data dropped: what is read
    /// next comes from the remote, and the next open asks it.
    pub(crate) fn drop_all(&self) {
        self.dropped.fetch_add(1, Ordering::AcqRel);
        self.asks.store(true, Ordering::Release);
    }
}

/// A head that is being received.
pub(crate) struct Receiving {
    facts: Facts,
    settled: bool,
    bytes: BytesMut,
}

impl Receiving {
    /// Begins to receive the head of the version `facts`, of which `wanted` bytes are delivered. `None` where they
    /// would be of no use: of an object without a validator only what one answer delivered is one version.
    pub(crate) fn new(facts: &Facts, settled: bool, wanted: u64) -> Option<Self> {
        let stamped = matches!(facts.validator, Some(Validator::Stamp(_)));
        let whole = facts.size <= wanted;
        let useful = facts.kind == FileKind::File && (whole || !stamped);
        useful.then(|| Self {
            facts: facts.clone(),
            settled,
            bytes: BytesMut::new(),
        })
    }

    pub(crate) fn take(&mut self, bytes: &Bytes) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The head, as far as its bytes came.
    pub(crate) fn finish(self) -> Head {
        Head {
            facts: self.facts,
            settled: self.settled,
            bytes: self.bytes.freeze(),
        }
    }
}

impl Head {
    /// Whether these are all the bytes of `range`.
    pub(crate) fn holds(&self, range: ByteRange) -> bool {
        range.end <= self.bytes.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_asked_for_whole_and_of_another_one_block() {
        let chunk = ChunkSize::DEFAULT;
        for (size, asked) in [
            (1, 1),
            (65_536, 65_536),
            (131_072, 131_072),
            (131_073, 65_536),
            (100 << 30, 65_536),
        ] {
            assert_eq!(first_bytes(size, chunk), ByteRange::at(0, asked), "{size}");
        }
        let large = ChunkSize::MAX;
        assert_eq!(first_bytes(100 << 30, large).len(), 1 << 20);
        assert_eq!(first_bytes(200_000, large).len(), 200_000);
    }

    #[test]
    fn the_head_of_a_version_that_cannot_be_continued_is_of_no_use() {
        let facts = |size, validator| Facts::file(size, validator);
        let strong = || Validator::Strong(b"v".as_slice().into());
        assert!(Receiving::new(&facts(1000, strong()), true, 10).is_some());
        assert!(Receiving::new(&facts(1000, Validator::Stamp(1)), true, 10).is_none());
        assert!(Receiving::new(&facts(10, Validator::Stamp(1)), true, 10).is_some());
        let dir = Facts {
            kind: FileKind::Dir,
            ..facts(10, strong())
        };
        assert!(Receiving::new(&dir, true, 10).is_none());
    }
}
