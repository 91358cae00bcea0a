//! The first bytes of an object as one answer of the remote brought them, with the version that they belong to.
//!
//! The first fetch of an object that is being opened may find another version than the one that was shown. Its bytes are
//! kept here for the blob of that version, which is opened next: a file that changes all the time can be opened all the
//! same, since nothing has to be asked a second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::engine::api::blob::Blob;
use crate::engine::api::cache::Cache;
use crate::engine::flight::read_op::offset_in;
use crate::runtime::locks::Mutex;
use crate::units::{ByteRange, ChunkSize, Facts, FileKind, Validator};

/// What the kernel asks for in one request when it begins to read a file: a file of so many bytes comes whole at its open.
pub(crate) const FIRST_READ: u64 = 128 << 10;

/// The bytes that the open of a file of `size` bytes asks for: the whole of a small file, one block of any other.
pub(crate) fn first_bytes(size: u64, chunk: ChunkSize) -> ByteRange {
    let len = match size <= FIRST_READ {
        true => size,
        false => chunk.block_size().min(size),
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

/// A head that is being received.
pub(crate) struct Receiving {
    facts: Facts,
    settled: bool,
    bytes: BytesMut,
}

impl Receiving {
    /// Begins to receive the head of the version `facts`, of which `wanted` bytes are delivered. `None` where they would be
    /// of no use: of an object without a validator only what one answer delivered is one version.
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

/// The first bytes of an object for the reader whose open has fetched them. Those of a settled version are on their way to
/// the cache, too, and are held for the first read alone; those of any other are kept nowhere else.
#[derive(Default)]
pub(crate) struct First {
    /// How many there are; 0 once they were let go.
    len: AtomicU64,
    held: Mutex<Option<Held>>,
}

struct Held {
    bytes: Bytes,
    settled: bool,
    /// What [`Heads::dropped`] was.
    dropped: u64,
    cache: Arc<Cache>,
}

impl First {
    /// Holds `bytes`, unless all that is held takes an eighth of the memory for fetches already.
    pub(crate) fn hold(blob: &Blob, bytes: Bytes) -> Self {
        let (cache, len) = (blob.cache(), bytes.len() as u64);
        let held = Held {
            bytes,
            // Where provisional bytes were handed out, these may be among them.
            settled: blob.is_settled() && !blob.is_provisional(),
            dropped: blob.heads.dropped.load(Ordering::Acquire),
            cache: Arc::clone(cache),
        };
        match cache.gate.hold(len) {
            true => Self {
                len: AtomicU64::new(len),
                held: Mutex::new(Some(held)),
            },
            false => Self::default(),
        }
    }

    /// The bytes of `range`, where they are held. Those that were not settled are given out only until the version is: from
    /// then on the cache has it, and pages that later opens keep must not come from here.
    pub(crate) fn take(&self, range: ByteRange, blob: &Blob) -> Option<Bytes> {
        if range.is_empty() || range.start >= self.len.load(Ordering::Relaxed) {
            return None;
        }
        let mut held = self.held.lock();
        let first = held.as_ref()?;
        let outdated = first.dropped != blob.heads.dropped.load(Ordering::Acquire)
            || !first.settled && blob.is_settled();
        let whole = ByteRange::at(0, first.bytes.len() as u64);
        let part = offset_in(whole, range.start)..offset_in(whole, range.end);
        let inside = !outdated && range.end <= whole.end;
        let bytes = inside.then(|| first.bytes.slice(part));
        if inside && !first.settled {
            blob.note_provisional();
        }
        if outdated || first.settled {
            self.len.store(0, Ordering::Relaxed);
            drop(held.take());
        }
        bytes
    }
}

impl Blob {
    /// Drops what open files hold of the first bytes, because a user has had the cached data dropped: what is read next
    /// comes from the remote, and the next open asks it.
    pub fn drop_heads(&self) {
        self.heads.dropped.fetch_add(1, Ordering::AcqRel);
        self.heads.asks.store(true, Ordering::Release);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let len = self.bytes.len() as u64;
        self.cache.gate.let_go(len);
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
