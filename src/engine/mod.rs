//! Floor 3: the cache.
//!
//! A synchronous core that never waits on the network or on a sick disk: what cannot be answered at once is handed to an
//! [`Executor`] (the disk pool) or a [`Fetcher`] (the network), and the reader is called back. It has no threads and no
//! clock of its own, so that a seeded simulation can drive it.

mod clock;
mod config;
mod error;
mod executor;
mod network;

pub use clock::{Clock, SystemClock};
pub use config::{ChunkPolicy, Config};
pub use error::{OpenError, ReadError};
pub use executor::{DiskPool, Executor, Job, Lane};
pub use network::Network;

use std::sync::Arc;

use bytes::Bytes;

use crate::remote::Sink;
use crate::units::{BlobKey, ByteRange, ChunkSize, Facts, ObjectName, Tag, Validator};

/// Called with the bytes of a read, which are fewer than asked only at the blob's end, or with why there are none.
pub type ReadDone = Box<dyn FnOnce(Result<Bytes, ReadError>) + Send>;

/// What the engine starts fetches through.
pub trait Fetcher: Send + Sync + 'static {
    /// Starts one fetch and returns at once. The job is the sink of the bytes; when it is finished or dropped, its
    /// readers are answered.
    fn start(&self, job: FetchJob);
}

/// One ranged read that the engine wants from the remote.
pub struct FetchJob {}

impl FetchJob {
    /// The object.
    pub fn name(&self) -> &ObjectName {
        panic!("in work")
    }
    /// The bytes wanted: whole blocks, cut at the blob's end.
    pub fn range(&self) -> ByteRange {
        panic!("in work")
    }
    /// The version that the blob is bound to, if it is.
    pub fn bound(&self) -> Option<Validator> {
        panic!("in work")
    }
    /// Ends the fetch; what was not delivered is an error for its readers.
    pub fn finish(self, _result: Result<(), crate::remote::RemoteError>) {
        panic!("in work")
    }
}

impl Sink for FetchJob {
    fn version(&mut self, _: &Facts, _: bool) -> Result<(), crate::remote::RemoteError> {
        panic!("in work")
    }
    fn data(&mut self, _: Bytes) {
        panic!("in work")
    }
}

/// The cache: one index, one set of chunk files, one size limit.
pub struct Cache {}

/// What the machine says of itself: it tells a killed daemon from a power cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HostIdentity {
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// The machine's id.
    pub host_id: [u8; 16],
    /// The kernel's number of the mount that holds the cache directory.
    pub disk_mount_id: u64,
    /// This process.
    pub pid: u32,
}

/// What a cache stands on.
pub struct Ground {
    /// The disk.
    pub storage: Arc<dyn crate::storage::Storage>,
    /// The disk pool.
    pub executor: Arc<dyn Executor>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The machine.
    pub host: HostIdentity,
}

impl Cache {
    /// Opens the cache: O(1) whatever its size. Writes and syncs the session record.
    pub fn open(_ground: Ground, _config: Config) -> Result<Arc<Self>, OpenError> {
        panic!("in work")
    }

    /// Attaches a remote. `identity` and `salt` go into every key; `chunks` chooses the chunk size of new versions.
    pub fn source(
        self: &Arc<Self>,
        _identity: &str,
        _salt: &str,
        _fetcher: Arc<dyn Fetcher>,
        _chunks: ChunkPolicy,
    ) -> Arc<Source> {
        panic!("in work")
    }

    /// Does what time brings: answers reads that are past their deadline, writes dirty sectors. To be called at least
    /// every 100 ms.
    pub fn tick(&self) {}

    /// Flushes, syncs and writes the clean mark. Further reads are answered from the network.
    pub fn close(&self) -> std::io::Result<()> {
        Ok(())
    }

    /// The counters, as they stand.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}

/// The counters of a cache.
#[derive(Clone, Default, Debug, serde::Serialize, serde::Deserialize, PartialEq, Eq)]
pub struct Stats {
    /// Fetches started at the remote.
    pub remote_requests: u64,
    /// Data bytes that the remote delivered.
    pub remote_bytes: u64,
}

/// One remote as seen through the cache.
pub struct Source {}

impl Source {
    /// The blob of this name in the version that `facts` describe. It is bound at once where they carry a validator,
    /// otherwise by its first fetch, and then to that version for ever. One live `Blob` per name and version: callers
    /// keep it (an inode does).
    pub fn blob(self: &Arc<Self>, _name: &ObjectName, _facts: &Facts) -> Arc<Blob> {
        panic!("in work")
    }
}

/// What becomes of a blob behind its owner's back.
#[derive(Clone, Debug)]
pub enum BlobEvent {
    /// The first fetch found another version than the facts said, and the blob is now bound to that one.
    Rebound(Box<Facts>),
    /// The remote has a newer version: what is not cached can no longer be read.
    Superseded,
}

/// One version of one object, as a reader sees it.
pub struct Blob {}

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
    /// The validator, once bound.
    pub validator: Option<Validator>,
    /// Whether what is fetched now is recorded: not while the version is provisional.
    pub settled: bool,
}

impl Blob {
    /// The facts of the version that the blob serves.
    pub fn facts(&self) -> Arc<Facts> {
        panic!("in work")
    }

    /// Whether bytes of a settled version were seen: until then opens must not keep the kernel's pages.
    pub fn is_settled(&self) -> bool {
        panic!("in work")
    }

    /// Whether the blob serves one version for good: false until the first fetch of a blob without a known validator, or
    /// of one whose version nothing was served from yet.
    pub fn is_bound(&self) -> bool {
        panic!("in work")
    }

    /// Whether a newer version was seen.
    pub fn is_superseded(&self) -> bool {
        panic!("in work")
    }

    /// Tells the blob that the remote has a newer version: no more fetches, what is cached stays readable.
    pub fn supersede(&self) {
        panic!("in work")
    }

    /// Has `watcher` called for what becomes of the blob; set once. It must not call back into the blob's reads.
    pub fn watch(&self, _watcher: Box<dyn Fn(BlobEvent) + Send + Sync>) {
        panic!("in work")
    }

    /// Calls back with what is known of the blob; it may have to look into the index.
    pub fn describe(self: &Arc<Self>, _done: Box<dyn FnOnce(BlobInfo) + Send>) {
        panic!("in work")
    }

    /// A reader with a readahead of its own: one per open handle.
    pub fn reader(self: &Arc<Self>) -> Reader {
        panic!("in work")
    }
}

/// One open handle on a blob.
pub struct Reader {}

impl Reader {
    /// Fills the front of `buf` with the bytes from `offset` if that can be done without waiting: they are cached,
    /// verified and in memory. Returns how many (fewer than `buf` holds only at the blob's end), or `None`: then call
    /// [`Reader::read`].
    pub fn read_now(&self, _offset: u64, _buf: &mut [u8]) -> Option<usize> {
        panic!("in work")
    }

    /// Reads `range` and calls `done`, at once or later, on any thread, within the deadline.
    pub fn read(&self, _range: ByteRange, _done: ReadDone) {
        panic!("in work")
    }
}
