//! The cache for a program that embeds it: a cache directory with the threads, the clock and the runtime that the core
//! does without. The daemon puts the same parts together by itself, since a mount has more of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{
    Cache, ChunkPolicy, Config, DiskPool, Ground, Network, OpenError, ReadError, Reader, Source,
    SystemClock,
};
use crate::remote::{Remote, RemoteError};
use crate::storage::{CacheDir, CacheDirError, CreateOptions};
use crate::units::{ByteRange, Facts, ObjectName};

/// How often the engine is told that time passes; it asks for 100 ms at most.
const TICK: Duration = Duration::from_millis(50);
/// Threads for a remote that blocks, and ranged reads at a time.
const REMOTE_THREADS: usize = 64;
const REMOTE_REQUESTS: usize = 32;

/// Why a cache directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The directory was refused.
    #[error(transparent)]
    Dir(#[from] CacheDirError),
    /// The cache in it was refused.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The machine gives no more threads.
    #[error("cannot start the threads of the cache: {0}")]
    Threads(#[from] std::io::Error),
}

/// A cache directory, opened and at work; closed cleanly when it is dropped.
pub struct OpenedCache {
    cache: Arc<Cache>,
    pool: Arc<DiskPool>,
    network: Arc<Network>,
    ticker: Ticker,
}

impl OpenedCache {
    /// Opens the cache in the directory `path`, making one of at most `capacity` bytes where there is none. One that
    /// exists keeps its own capacity. The directory is locked: a second opener is told who holds it.
    pub fn open(path: &Path, capacity: u64, config: Config) -> Result<Self, EmbedError> {
        let options = CreateOptions {
            capacity,
            slots: None,
            files: None,
        };
        let storage = CacheDir::open_or_create(path, &options, &mut |_| {})?;
        let pool = Arc::new(DiskPool::for_one_disk()?);
        let network = Arc::new(Network::new(config.timeout, REMOTE_THREADS)?);
        let ground = Ground {
            host: storage.host(),
            storage: Arc::new(storage),
            executor: Arc::clone(&pool) as _,
            clock: Arc::new(SystemClock::default()),
        };
        let cache = Cache::open(ground, config)?;
        Ok(Self {
            ticker: Ticker::start(Arc::clone(&cache))?,
            cache,
            pool,
            network,
        })
    }

    /// Attaches a remote. `salt` keeps apart what must not be shared: the bytes that one principal may read are found by
    /// another only under the same salt.
    pub fn attach(&self, remote: Arc<dyn Remote>, salt: &str, chunks: ChunkPolicy) -> Arc<Source> {
        let identity = remote.identity().to_owned();
        let fetcher = self.network.fetcher(remote, REMOTE_REQUESTS);
        self.cache.source(&identity, salt, fetcher, chunks)
    }

    /// Asks a remote for the facts of an object, with the deadline, and waits for them. Not to be called on a thread of
    /// an asynchronous runtime.
    pub fn stat(&self, remote: &Arc<dyn Remote>, name: &ObjectName) -> Result<Facts, RemoteError> {
        let (remote, name) = (Arc::clone(remote), name.clone());
        self.network
            .ask_and_wait(async move { remote.stat(&name).await })
    }

    /// The cache itself, for its counters.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }
}

impl Drop for OpenedCache {
    fn drop(&mut self) {
        self.ticker.stop();
        // What is on its way to the disk comes first, so that nothing is in the making when the clean mark is written.
        self.pool.shut_down();
        if let Err(error) = self.cache.close() {
            tracing::warn!(
                "the cache could not be closed cleanly ({error}): the next opening checks it"
            );
        }
    }
}

impl Reader {
    /// Reads `range` and waits for the bytes, at most until the deadline; they are fewer than asked only at the blob's
    /// end. Not to be called on a thread of an asynchronous runtime.
    pub fn read_blocking(&self, range: ByteRange) -> Result<Bytes, ReadError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let done = move |result| {
            // Whoever asked waits for the answer below.
            let _ = answer.send(result);
        };
        self.read(range, Box::new(done));
        answered.recv().unwrap_or(Err(ReadError::Closed))
    }
}

/// Tells the engine that time passes.
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(cache: Arc<Cache>) -> std::io::Result<Self> {
        let (stop, stopped): (_, Receiver<()>) = bounded(0);
        let run = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                cache.tick();
            }
        };
        let thread = std::thread::Builder::new()
            .name("larder-tick".into())
            .spawn(run)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    fn stop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
