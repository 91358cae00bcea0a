//! One version of one object, as a file system or an embedder sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};

use bytes::Bytes;

use crate::engine::api::cache::Cache;
use crate::engine::error::ReadError;
use crate::engine::flight::read_op::ReadDone;
use crate::engine::index::lease::SlotLease;
use crate::engine::index::slots::Lookup;
use crate::engine::read::open::Opening;
use crate::engine::read::reader::ObjectReader;
use crate::engine::read::reads::Reads;
use crate::engine::upkeep::evict::Evicted;
use crate::engine::version::head::Head;
use crate::engine::version::object::{BlobEvent, Object};
use crate::runtime::executor::{Job, Lane};
use crate::units::{BlobKey, ByteRange, ChunkSize, Facts, Tag, Validator};

/// What `larder info` and the extended attributes show of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// The key.
    pub key: BlobKey,
    /// The tag, once bound and resolved.
    pub tag: Option<Tag>,
    /// The chunk size, once resolved.
    pub chunk_size: Option<ChunkSize>,
    /// The bytes of this version that the cache holds.
    pub cached_bytes: u64,
    /// The validator, once known.
    pub validator: Option<Validator>,
    /// Whether what is fetched now is recorded: not while the version is provisional.
    pub settled: bool,
}

/// A chunk file that was lent. The chunk is not evicted until this is dropped.
pub struct LentChunk {
    file: OwnedFd,
    _lease: SlotLease,
}

impl LentChunk {
    /// The file, which is read only.
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }
}

/// One version of one object, as a reader sees it.
pub struct Blob {
    cache: Arc<Cache>,
    reads: Arc<Reads>,
    object: Arc<Object>,
}

impl Blob {
    pub(super) fn new(cache: Arc<Cache>, reads: Arc<Reads>, object: Arc<Object>) -> Self {
        Self {
            cache,
            reads,
            object,
        }
    }

    /// The facts of the version that the blob serves.
    pub fn facts(&self) -> Arc<Facts> {
        self.object.facts()
    }

    /// Whether the bytes last fetched, or the record found, were those of a settled version.
    pub fn is_settled(&self) -> bool {
        self.object.is_settled()
    }

    /// Whether an open may keep the pages that a reader's kernel holds of this blob: not where provisional bytes may be
    /// among them. The first open that finds the version settled drops them, so the opens after it may keep theirs; an
    /// open of pages that were right all along must not wait for a fetch that is filling one of them.
    pub fn keeps_pages(&self) -> bool {
        self.object.keeps_pages()
    }

    /// Whether a byte was served: from then on the blob is this version for good.
    pub fn is_bound(&self) -> bool {
        self.object.is_bound()
    }

    /// Whether a newer version was seen.
    pub fn is_superseded(&self) -> bool {
        self.object.is_superseded()
    }

    /// Tells the blob that the remote has a newer version: no more fetches, what is cached stays readable.
    pub fn supersede(&self) {
        self.object.supersede();
    }

    /// Has `watcher` called for what becomes of the blob; set once. It must not call back into the blob's reads.
    pub fn watch(&self, watcher: Box<dyn Fn(BlobEvent) + Send + Sync>) {
        self.object.watch(watcher);
    }

    /// The validator of the version that the blob is bound to, or that its facts name.
    pub fn known_validator(&self) -> Option<Validator> {
        self.object.known_validator()
    }

    /// Whether the version is one that the remote cannot confirm and that was believed for long enough: an open is now
    /// to be given the one that the remote has.
    pub fn has_expired(&self) -> bool {
        self.object.has_expired()
    }

    /// Finds out whether the remote still has the version that was shown, if the cache does not have its first bytes:
    /// where nothing was served of it yet, where nothing is kept of it because it is not settled, and where a user has
    /// had it dropped. What else was served may have left the cache, and be in the kernel's. Calls `done` once, at once
    /// or later, on any thread.
    pub fn open(&self, done: impl FnOnce(Opening) + Send + 'static) {
        self.reads.open(&self.object, done);
    }

    /// A reader with a readahead of its own: one per open handle.
    pub fn reader(self: &Arc<Self>) -> Reader {
        let inner = ObjectReader::new(Arc::clone(&self.reads), Arc::clone(&self.object));
        Reader::new(Arc::clone(self), inner)
    }

    /// A reader for the open that has fetched the `first` bytes.
    pub fn reader_from(self: &Arc<Self>, first: Bytes) -> Reader {
        let (reads, object) = (Arc::clone(&self.reads), Arc::clone(&self.object));
        Reader::new(Arc::clone(self), ObjectReader::opened(reads, object, first))
    }

    /// Keeps a head that came with an earlier answer, for the open that comes next.
    pub(super) fn keep_head(&self, head: Head) {
        let now = self.cache.services.now();
        *self.object.heads.own.lock() = Some((head, now));
    }

    /// Drops what open files hold of the first bytes, because a user has had the cached data dropped: what is read next
    /// comes from the remote, and the next open asks it.
    pub fn drop_heads(&self) {
        self.object.heads.drop_all();
    }

    /// Drops what is cached of the blob's version, from chunk `from` on. Waits for the disk.
    pub fn evict(&self, from: u64) -> Evicted {
        self.cache.evictions.evict(&self.object, from)
    }

    /// A descriptor of the file that holds chunk `chunk_no` of the blob's version, read only, with a lease: the chunk
    /// stays in the cache until that is dropped. `None` where the chunk is not in the cache, or not known to be without
    /// waiting for the disk. Which blocks of the file are the version's is not said: only those that are present are.
    ///
    /// Errors where the cache has no files, or its disk fails.
    pub fn lend_chunk(&self, chunk_no: u64) -> io::Result<Option<LentChunk>> {
        let index = &self.cache.index;
        let tag = self.object.layout().and_then(|layout| layout.tag());
        let slot = tag.map(|tag| index.slots.find_now(tag, chunk_no));
        let Some(Lookup::Found(slot)) = slot else {
            return Ok(None);
        };
        let Some(lease) = SlotLease::new(index, &slot) else {
            return Ok(None);
        };
        let file = lease.lend()?;
        Ok(Some(LentChunk {
            file,
            _lease: lease,
        }))
    }

    /// Calls back with what is known of the blob, after a look into the index where that is needed.
    pub fn describe(self: &Arc<Self>, done: Box<dyn FnOnce(BlobInfo) + Send>) {
        let blob = Arc::clone(self);
        let job: Job = Box::new(move || {
            blob.object.resolve();
            done(blob.info());
        });
        // A pool that takes no more jobs is being shut down: the answer is given from here.
        if let Err(job) = self.cache.services.submit(Lane::Read, job) {
            job();
        }
    }

    fn info(&self) -> BlobInfo {
        let layout = self.object.layout();
        let tag = layout.as_ref().and_then(|layout| layout.tag());
        let index = &self.cache.index;
        let cached = match (&layout, tag) {
            (Some(layout), Some(tag)) => index.cached_bytes(tag, layout.chunk, layout.size),
            _ => 0,
        };
        BlobInfo {
            key: self.object.key,
            tag,
            chunk_size: layout.as_ref().map(|layout| layout.chunk),
            cached_bytes: cached,
            validator: self.known_validator(),
            settled: self.is_settled(),
        }
    }
}

/// One open handle on a blob.
pub struct Reader {
    blob: Arc<Blob>,
    inner: ObjectReader,
}

impl Reader {
    fn new(blob: Arc<Blob>, inner: ObjectReader) -> Self {
        Self { blob, inner }
    }

    /// The blob that is read.
    pub fn blob(&self) -> &Arc<Blob> {
        &self.blob
    }

    /// Fills the front of `buf` with the bytes from `offset` if that can be done without waiting: they are cached and
    /// in memory, and their checksums hold. Returns how many (fewer than `buf` holds only at the blob's end), or
    /// `None`: then call [`Reader::read`].
    pub fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<usize> {
        self.inner.read_now(offset, buf)
    }

    /// Reads `range` and calls `done`, at once or later, on any thread, within the deadline.
    pub fn read(&self, range: ByteRange, done: ReadDone) {
        self.inner.read(range, done);
    }

    /// Reads `range` and waits for the bytes, at most until the deadline; they are fewer than asked only at the blob's
    /// end. Not to be called on a thread of an asynchronous runtime.
    pub fn read_blocking(&self, range: ByteRange) -> Result<Bytes, ReadError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let done = move |result| {
            // The caller waits for the answer below.
            let _ = answer.send(result);
        };
        self.read(range, Box::new(done));
        answered.recv().unwrap_or(Err(ReadError::Closed))
    }
}
