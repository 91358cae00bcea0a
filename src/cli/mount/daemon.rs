//! The daemon: all floors put together over one remote and one cache directory, from the mount to the clean mark.
//!
//! The order is the point. A web server is looked at before a cache is made for it; the cache is opened before a remote
//! directory, so that its own can be hidden from the tree; the remote is opened before the mount, so that its root is
//! what lies beneath; and at the end the mount goes first and the lock of the cache last, so that whoever finds the cache
//! unlocked finds it closed.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::memory::{self, Budget};
use super::metrics;
use super::origin::{Looked, Opened};
use super::plan::Plan;
use super::report::{Report, Reporter};
use super::signals::Held;
use super::told::Told;
use super::{background, cache, origin};
use crate::cli::args::MountArgs;
use crate::cli::error::{Exit, Failure};
use crate::engine::{Cache, Config, DiskPool, Ground, Network, Shares, SystemClock};
use crate::fuse::{FuseMount, MountError, MountSettings, Unmounter};
use crate::remote::{HttpMemory, Remote, Room};
use crate::storage::{CacheDir, HostIdentity};
use crate::units::shown;
use crate::vfs::{Vfs, VfsOptions};

/// How often the engine is told that time passes; it asks for 100 ms at most.
const TICK: Duration = Duration::from_millis(50);
/// Threads for questions to a directory that blocks.
const REMOTE_THREADS: usize = 64;
/// How long open files may hold up a daemon that was told to end.
const LINGER: Duration = Duration::from_secs(5);
/// How long a cache disk that does not answer may hold up the end.
const HUNG_PATIENCE: Duration = Duration::from_secs(5);
/// How long the cache disk may take to close the cache.
const CLOSE_PATIENCE: Duration = Duration::from_secs(120);

/// A text that is made when somebody asks for it.
type Text = Arc<dyn Fn() -> String + Send + Sync>;

/// Mounts, tells the reporter, and serves until the mount ends. A failure after the mount has answered is logged: by then
/// nobody waits for it.
pub(super) fn run(
    args: &MountArgs,
    plan: &Plan,
    signals: &Held,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    let metrics = args
        .metrics
        .as_deref()
        .map(metrics::Bound::take)
        .transpose()?;
    memory::tune_allocator();
    let budget = Budget::new(args.memory);
    // Too little for any cache is refused before one is made.
    let most = budget.share(0)?;
    let listings = Room::new(most.listings);
    let web = HttpMemory {
        listings: Arc::clone(&listings),
        in_flight: most.in_flight(),
    };
    let network = Arc::new(Network::new(args.timeout, REMOTE_THREADS)?);
    let mut notes = plan.notes.clone();
    let looked = origin::look(args, plan, &network, web, &mut notes)?;
    cache::with_one(args, &plan.cache_dir, reporter, |disk, reporter| {
        let slots = disk.superblock().geometry.n_slots();
        let shares = budget.share(u64::from(slots))?;
        listings.narrow(shares.listings);
        for note in &notes {
            reporter.tell(Report::Note(note.clone()))?;
        }
        let memory = Memory { shares, listings };
        let daemon = Daemon::open(args, plan, (disk, network, memory), looked)?;
        if let Some(sentence) = daemon.cache.last_stop().sentence() {
            reporter.tell(Report::Note(format!("cache: {sentence}")))?;
        }
        if let Some(bound) = &metrics {
            let address = bound.address()?;
            reporter.tell(Report::Note(format!("metrics: http://{address}/metrics")))?;
        }
        let served = mount_and_serve(&daemon, args, plan, (signals, reporter), (&notes, metrics));
        // A mount that failed leaves a closed cache as well.
        daemon.close();
        if served.is_ok() {
            tracing::info!("unmounted {}", shown(&plan.dir));
        }
        served
    })
}

fn mount_and_serve(
    daemon: &Daemon,
    args: &MountArgs,
    plan: &Plan,
    (signals, reporter): (&Held, &mut Reporter),
    (notes, metrics): (&[String], Option<metrics::Bound>),
) -> Result<(), Failure> {
    if let Some(sentence) = cache::apply_size(args, &daemon.cache)? {
        reporter.tell(Report::Note(sentence))?;
    }
    let _ticker = Ticker::start(Arc::clone(&daemon.cache))?;
    let (cache, remote) = (&daemon.cache, &daemon.origin.remote);
    let told = Arc::new(Told::new(Arc::clone(cache), Arc::clone(remote), plan));
    let (for_stats, for_metrics) = (Arc::clone(&told), Arc::clone(&told));
    let stats: Text = Arc::new(move || for_stats.json());
    let vfs = daemon.view(args, plan, &stats)?;
    told.of(&vfs);
    let log = match reporter {
        Reporter::Starter => Some(background::open_log(&plan.cache_dir)?),
        Reporter::Terminal(_) => None,
    };
    signals.hold_all();
    let mount = FuseMount::mount(&vfs, &settings(args, plan)).map_err(|e| mount_failure(&e))?;
    // It only informs: a cache disk that fails does not end a mount.
    if let Err(error) = daemon.disk.set_mounts(std::slice::from_ref(&plan.dir)) {
        tracing::warn!("cannot write into the lock file what is mounted: {error}");
    }
    announce(plan, log.as_ref(), reporter)?;
    if log.is_some() {
        // The terminal has heard all that.
        tracing::info!("mounted {} at {}", plan.origin, shown(&plan.dir));
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        let stop = daemon.cache.last_stop().sentence();
        stop.iter()
            .for_each(|sentence| tracing::info!("cache: {sentence}"));
    }
    let text: Text = Arc::new(move || for_metrics.exposition());
    let _metrics = metrics.map(|bound| bound.serve(text)).transpose()?;
    serve(mount, signals, &vfs, &stats)
}

/// Tells that the mount answers; in the background, where there is a log, lets go of terminal and starter.
fn announce(plan: &Plan, log: Option<&File>, reporter: &mut Reporter) -> Result<(), Failure> {
    match log {
        Some(log) => background::let_go(log)?,
        None => reporter.tell(Report::Note(format!(
            "mounted {} at {}: Ctrl-C unmounts",
            plan.origin,
            shown(&plan.dir)
        )))?,
    }
    reporter.tell(Report::Ready)?;
    if log.is_some() {
        background::close_pipes()?;
    }
    Ok(())
}

fn settings(args: &MountArgs, plan: &Plan) -> MountSettings {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    MountSettings {
        mountpoint: plan.dir.clone(),
        fsname: plan.origin.source(),
        threads: args.threads.map_or(processors.clamp(2, 16), usize::from),
        allow_other: args.allow_other,
        options: args.options.clone(),
    }
}

fn mount_failure(error: &MountError) -> Failure {
    let exit = match error {
        MountError::Option { .. } => Exit::Usage,
        _ => Exit::Mount,
    };
    Failure::new(exit, error)
}

/// Serves until somebody unmounts, or a signal asks for the end.
fn serve(mount: FuseMount, signals: &Held, vfs: &Arc<Vfs>, stats: &Text) -> Result<(), Failure> {
    let unmounter = mount.unmounter();
    let (ended, end) = bounded(1);
    Builder::new()
        .name("larder-session".into())
        .spawn(move || drop(ended.send(mount.join())))?;
    let result = loop {
        crossbeam_channel::select! {
            recv(end) -> result => break result.unwrap_or(Ok(())),
            recv(signals.came) -> signal => match signal {
                Ok(signal) if !signals.is_end(signal, vfs, || stats()) => {}
                _ => break end_mount(&unmounter, &end),
            },
        }
    };
    if let Err(error) = result {
        tracing::warn!("the session with the kernel ended with an error: {error}");
    }
    Ok(())
}

/// Unmounts, and waits for the session to end; files that stay open hold it up for a moment only.
fn end_mount(unmounter: &Unmounter, end: &Receiver<io::Result<()>>) -> io::Result<()> {
    if unmounter.unmount(false).is_err() {
        unmounter.unmount(true)?;
        tracing::info!("files are still open: they have {LINGER:?} to be closed");
    }
    end.recv_timeout(LINGER).unwrap_or_else(|_| {
        tracing::warn!("files are still open: their readers get ENOTCONN");
        Ok(())
    })
}

/// What serves one mount.
struct Daemon {
    disk: Arc<CacheDir>,
    pool: Arc<DiskPool>,
    cache: Arc<Cache>,
    network: Arc<Network>,
    origin: Opened,
    clock: Arc<SystemClock>,
    shares: Shares,
}

/// What the mount may take of memory.
struct Memory {
    shares: Shares,
    listings: Arc<Room>,
}

impl Daemon {
    fn open(
        args: &MountArgs,
        plan: &Plan,
        (disk, network, memory): (Arc<CacheDir>, Arc<Network>, Memory),
        looked: Option<Looked>,
    ) -> Result<Self, Failure> {
        let Memory { shares, listings } = memory;
        let clock = Arc::new(SystemClock::default());
        let origin = origin::open(args, plan, &clock, &listings, looked)?;
        let pool = Arc::new(DiskPool::for_one_disk()?);
        let ground = Ground {
            host: HostIdentity::read(&*disk),
            storage: Arc::clone(&disk) as _,
            executor: Arc::clone(&pool) as _,
            clock: Arc::clone(&clock) as _,
        };
        let config = Config {
            timeout: args.timeout,
            unvalidated_ttl: args.unvalidated_ttl,
            verify: args.verify.into(),
            scrub_rate: args.scrub_rate.limit(),
            free_space: args.free_space_ratio,
            listings,
            ..Config::default()
        };
        let config = shares.bound(config);
        let cache =
            Cache::open(ground, config).map_err(|e| cache::engine_failure(&plan.cache_dir, &e))?;
        Ok(Self {
            disk,
            pool,
            cache,
            network,
            origin,
            clock,
            shares,
        })
    }

    /// The file system over the cache. Asks the remote for its root.
    fn view(&self, args: &MountArgs, plan: &Plan, stats: &Text) -> Result<Arc<Vfs>, Failure> {
        let Opened {
            remote,
            salt,
            requests,
        } = &self.origin;
        let requests = self.shares.requests(*requests);
        let fetcher = self.network.fetcher(Arc::clone(remote) as _, requests);
        let chunks = args.chunk_size.clone();
        let source = self.cache.source(remote.identity(), salt, fetcher, chunks);
        let options = VfsOptions {
            metadata_ttl: args.metadata_ttl,
            clock: Arc::clone(&self.clock) as _,
            stats: Arc::clone(stats),
            cache_dir: plan.cache_dir.as_os_str().as_encoded_bytes().to_vec(),
            owner: plan.owner,
            listed_max: self.shares.listed(),
        };
        Vfs::new(
            source,
            Arc::clone(remote) as _,
            Arc::clone(&self.network),
            options,
        )
        .map_err(|e| origin::failure(plan, &e))
    }

    /// Flushes, syncs and marks the cache as closed. A disk that hangs must not keep the daemon alive for ever.
    fn close(self) {
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
                tracing::error!("the cache could not be closed ({e}): the next mount checks it")
            }
            None => {
                tracing::error!("the cache disk does not answer: the next mount checks the cache")
            }
        }
    }

    /// Waits for the cache to be closed, for as long as its disk does something.
    fn wait_for(&self, closed: &Receiver<io::Result<()>>) -> Option<io::Result<()>> {
        let (mut waited, mut hung) = (Duration::ZERO, Duration::ZERO);
        while waited < CLOSE_PATIENCE && hung < HUNG_PATIENCE {
            match closed.recv_timeout(TICK) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.cache.tick(),
            }
            waited += TICK;
            hung = match self.cache.stats().disk.is_hung() {
                true => hung + TICK,
                false => Duration::ZERO,
            };
        }
        None
    }
}

/// Tells the engine that time passes, until dropped.
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(cache: Arc<Cache>) -> std::io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let run = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                cache.tick();
            }
        };
        let thread = Builder::new().name("larder-tick".into()).spawn(run)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
