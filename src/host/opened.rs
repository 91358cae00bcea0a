//! An opened cache directory with the threads, the clock and the network that the engine does without.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::RemoteFetcher;
use super::memory::MemoryError;
use super::ticker::{TICK, Ticker};
use crate::engine::{
    Cache, CacheDeps, Clock, Config, DiskPool, OpenError, Shares, Source, SourceSettings,
    SystemClock,
};
use crate::remote::{Network, Remote, RemoteError};
use crate::storage::{
    CacheDir, CacheDirError, CreateOptions, open_or_create, raise_descriptor_limit,
};
use crate::units::{Facts, ObjectName};

/// Threads for questions to a remote that blocks.
pub const REMOTE_THREADS: usize = 64;
/// Ranged reads at a time from one remote.
const REMOTE_REQUESTS: usize = 32;
/// Entries of listings that a mount keeps at most, where no memory is measured out.
const LISTED_MAX: usize = 1 << 20;
/// How long a cache disk that does not answer may hold up the end.
const HUNG_PATIENCE: Duration = Duration::from_secs(5);
/// How long the cache disk may take to close the cache.
const CLOSE_PATIENCE: Duration = Duration::from_secs(120);

/// Why a cache cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The directory was refused.
    #[error(transparent)]
    Dir(#[from] CacheDirError),
    /// The cache in it was refused.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It may not take the memory that it needs.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The machine gives no more threads.
    #[error("cannot start the threads of the cache: {0}")]
    Threads(#[from] io::Error),
}

/// A cache directory, opened and at work; closed cleanly when it is dropped. The directory is unlocked last, so that a
/// cache that is found unlocked is closed.
pub struct OpenedCache {
    cache: Arc<Cache>,
    pool: Arc<DiskPool>,
    network: Network,
    /// Its parts of the memory, where a budget was set.
    shares: Option<Shares>,
    clock: Arc<SystemClock>,
    ticker: Option<Ticker>,
    dir: Arc<CacheDir>,
}

impl OpenedCache {
    /// Opens the cache in the directory `path`, making one of at most `capacity` bytes where there is none. One that
    /// exists keeps its own capacity. The directory is locked: a second opener is told who holds it.
    pub fn open(path: &Path, capacity: u64, config: Config) -> Result<Self, HostError> {
        let options = CreateOptions {
            capacity,
            slots: None,
            files: None,
        };
        let dir = open_or_create(path, &options, &mut |_| {})?;
        let network = Network::new(SourceSettings::default().timeout, REMOTE_THREADS)?;
        Self::over(Arc::new(dir), network, config, None)
    }

    /// Opens the cache in a directory that is opened already, with a network that may have been asked something already.
    /// `shares` is the memory that `config` was bound to.
    pub(super) fn over(
        dir: Arc<CacheDir>,
        network: Network,
        config: Config,
        shares: Option<Shares>,
    ) -> Result<Self, HostError> {
        let pool = Arc::new(DiskPool::for_one_disk()?);
        let clock = Arc::new(SystemClock::default());
        let deps = CacheDeps {
            host: dir.host(),
            storage: Arc::clone(&dir) as _,
            executor: Arc::clone(&pool) as _,
            clock: Arc::clone(&clock) as _,
        };
        let cache = Cache::open(deps, config)?;
        Ok(Self {
            ticker: Some(Ticker::start(Arc::clone(&cache))?),
            cache,
            pool,
            network,
            shares,
            clock,
            dir,
        })
    }

    /// Attaches a remote. `salt` keeps apart what must not be shared: the bytes that one principal may read are found by
    /// another only under the same salt.
    pub fn attach(
        &self,
        remote: Arc<dyn Remote>,
        salt: &str,
        settings: impl Into<SourceSettings>,
    ) -> Arc<Source> {
        self.attach_with(remote, salt, settings.into(), REMOTE_REQUESTS)
    }

    /// Attaches a remote as [`OpenedCache::attach`] does, with at most `concurrent` fetches from it at a time.
    pub fn attach_with(
        &self,
        remote: Arc<dyn Remote>,
        salt: &str,
        settings: SourceSettings,
        concurrent: usize,
    ) -> Arc<Source> {
        let identity = remote.identity().to_owned();
        let network = Arc::new(self.network.with_timeout(settings.timeout));
        let fetcher = RemoteFetcher::new(network, remote, concurrent);
        Source::new(&self.cache, &identity, salt, fetcher, settings)
    }

    /// Asks a remote for the facts of an object, with the deadline of the network, and waits for them. Not to be called on
    /// a thread of an asynchronous runtime.
    pub fn stat(&self, remote: &Arc<dyn Remote>, name: &ObjectName) -> Result<Facts, RemoteError> {
        let (remote, name) = (Arc::clone(remote), name.clone());
        self.network
            .ask_and_wait(async move { remote.stat(&name).await })
    }

    /// The cache itself, for its counters.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// The threads that ask the remotes.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How many of `wanted` fetches from one remote may be under way at a time: each takes memory and a descriptor.
    pub(super) fn requests(&self, wanted: usize) -> usize {
        let wanted = wanted.min(raise_descriptor_limit().fetches);
        self.shares.map_or(wanted, |shares| shares.requests(wanted))
    }

    /// How many entries of listings a mount may keep.
    pub(super) fn listed_max(&self) -> usize {
        self.shares.map_or(LISTED_MAX, Shares::listed)
    }

    /// The clock that the cache goes by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as _
    }

    /// The directory that the cache is in.
    pub fn dir(&self) -> &CacheDir {
        &self.dir
    }

    /// Waits for the cache to be closed, for as long as its disk does something. `None` where it no longer does.
    fn wait_for(&self, closed: &Receiver<io::Result<()>>) -> Option<io::Result<()>> {
        let (mut waited, mut hung) = (Duration::ZERO, Duration::ZERO);
        while waited < CLOSE_PATIENCE && hung < HUNG_PATIENCE {
            match closed.recv_timeout(TICK) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.cache.tick(),
            }
            waited += TICK;
            hung = if self.cache.stats().disk.is_hung() {
                hung + TICK
            } else {
                Duration::ZERO
            };
        }
        None
    }
}

impl Drop for OpenedCache {
    /// Flushes, syncs and marks the cache as closed. A disk that hangs must not keep the program alive for ever.
    fn drop(&mut self) {
        // From here on this thread alone tells the engine that time passes.
        self.ticker.take();
        let (done, closed) = bounded(1);
        let (pool, cache) = (Arc::clone(&self.pool), Arc::clone(&self.cache));
        std::thread::spawn(move || {
            // What is on its way to the disk comes first, so that nothing is in the making when the mark is written.
            pool.shut_down();
            let _ = done.send(cache.close());
        });
        match self.wait_for(&closed) {
            Some(Ok(())) => tracing::debug!("the cache is closed cleanly"),
            Some(Err(e)) => {
                tracing::error!("the cache could not be closed ({e}): the next mount checks it");
            }
            None => {
                tracing::error!("the cache disk does not answer: the next mount checks the cache");
            }
        }
    }
}
