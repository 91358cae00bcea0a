//! A simulated world: an origin that changes, a disk that fails, a daemon that is killed, readers who are judged.
//!
//! The oracle: a reader gets the bytes of the one version that its blob serves, or an error that something in this world
//! explains. A failing cache explains no error at all. Everything follows from the seed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::origin::{Origin, Stream};
use bytes::Bytes;
use larder::engine::{Blob, Cache, ChunkPolicy, Config, Ground, ReadError, Reader, Source};
use larder::format::Geometry;
use larder::storage::{ChunkFile, HostIdentity, NowRead, Space, Storage};
use larder::testing::sim::{SimClock, SimExecutor, SimFetcher};
use larder::testing::{CrashStore, Faults, Rng};
use larder::units::{ByteRange, ChunkSize, SlotId};
use parking_lot::Mutex;

/// Eight slots, so that reuse happens all the time.
pub(crate) fn tiny_geometry() -> Geometry {
    Geometry::new(8, 8, 8, 0).unwrap()
}

/// Room for about six full chunks of 64 KiB besides the index.
pub(crate) const TINY_CAPACITY: u64 = 81 * 1024 + 6 * 65536;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// A position in an object as an index.
pub(crate) fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// The disk as one daemon sees it: a killed daemon reaches it no more.
struct Reach {
    store: Arc<CrashStore>,
    alive: AtomicBool,
}

impl Reach {
    fn store(&self) -> io::Result<&CrashStore> {
        match self.alive.load(Ordering::Relaxed) {
            true => Ok(&self.store),
            false => Err(io::Error::other("this daemon was killed")),
        }
    }
}

impl Storage for Reach {
    fn index_len(&self) -> io::Result<u64> {
        self.store()?.index_len()
    }
    fn read_index(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.store()?.read_index(offset, buf)
    }
    fn read_index_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        self.store()?.read_index_now(offset, buf)
    }
    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.store()?.write_index(offset, data)
    }
    fn sync_index(&self) -> io::Result<()> {
        self.store()?.sync_index()
    }
    fn read_chunk(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.store()?.read_chunk(file, offset, buf)
    }
    fn read_chunk_now(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        self.store()?.read_chunk_now(file, offset, buf)
    }
    fn write_chunk(&self, file: ChunkFile, offset: u64, data: &[u8]) -> io::Result<u64> {
        self.store()?.write_chunk(file, offset, data)
    }
    fn remove_chunk(&self, slot: SlotId) -> io::Result<()> {
        self.store()?.remove_chunk(slot)
    }
    fn sync_all(&self) -> io::Result<()> {
        self.store()?.sync_all()
    }
    fn space(&self) -> io::Result<Space> {
        self.store()?.space()
    }
}

/// One run of the daemon.
pub(crate) struct Daemon {
    reach: Arc<Reach>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) source: Arc<Source>,
    pub(crate) executor: Arc<SimExecutor>,
    pub(crate) fetcher: Arc<SimFetcher>,
    pub(crate) clock: Arc<SimClock>,
}

impl Daemon {
    /// Opens the cache in the boot of this number, on a disk without faults.
    pub(crate) fn start(store: &Arc<CrashStore>, boot: u8, chunk: ChunkSize) -> Self {
        store.faults(|faults| *faults = Faults::default());
        let reach = Arc::new(Reach {
            store: Arc::clone(store),
            alive: AtomicBool::new(true),
        });
        let (executor, fetcher) = (Arc::<SimExecutor>::default(), Arc::<SimFetcher>::default());
        let clock = Arc::<SimClock>::default();
        let host = HostIdentity {
            boot_id: [boot; 16],
            disk_mount_id: 1,
            ..HostIdentity::default()
        };
        let ground = Ground {
            storage: Arc::clone(&reach) as Arc<dyn Storage>,
            executor: Arc::new(Arc::clone(&executor)),
            clock: Arc::new(Arc::clone(&clock)),
            host,
        };
        let config = Config {
            timeout: TIMEOUT,
            fetch_budget: 300_000,
            request_max: 100_000,
            readahead_max: 64 << 10,
            readahead_far: 64 << 10,
            ..Config::default()
        };
        let cache = Cache::open(ground, config).expect("a cache that survived is opened");
        let policy = ChunkPolicy::Fixed(chunk);
        let source = cache.source("sim:", "", Arc::new(Arc::clone(&fetcher)), policy);
        Self {
            reach,
            cache,
            source,
            executor,
            fetcher,
            clock,
        }
    }

    /// Ends the daemon at once: whatever it had not done is never done.
    pub(crate) fn kill(self) {
        self.reach.alive.store(false, Ordering::Relaxed);
        drop(self.executor.kill());
    }
}

/// A reader's open handle.
pub(crate) struct Handle {
    pub(crate) object: usize,
    pub(crate) blob: Arc<Blob>,
    pub(crate) reader: Reader,
    /// The version that its first byte was of.
    served: Option<usize>,
    /// Bytes of an object that was being written may be anything.
    noisy: bool,
}

type Outcome = Arc<Mutex<Option<Result<Bytes, ReadError>>>>;

/// A read that was not answered yet.
struct Pending {
    handle: usize,
    range: ByteRange,
    begun: Duration,
    outcome: Outcome,
}

/// The world.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) origin: Origin,
    pub(crate) store: Arc<CrashStore>,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) handles: Vec<Option<Handle>>,
    pending: Vec<Pending>,
    streams: Vec<Stream>,
    boot: u8,
    chunk: ChunkSize,
    /// Errors of the origin were injected since the last quiet moment.
    origin_failed: bool,
    pub(crate) reads_judged: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let store = CrashStore::format(tiny_geometry(), TINY_CAPACITY, rng.next_u64());
        let chunk = ChunkSize::from_log2(16 + u8::try_from(rng.below(2)).unwrap()).unwrap();
        let origin = Origin::new(&mut rng, 5);
        Self::over(Arc::new(store), origin, rng, chunk, 1)
    }

    /// A world that goes on from this disk, in the boot of this number.
    pub(crate) fn over(
        store: Arc<CrashStore>,
        origin: Origin,
        rng: Rng,
        chunk: ChunkSize,
        boot: u8,
    ) -> Self {
        let daemon = Some(Daemon::start(&store, boot, chunk));
        Self {
            rng,
            origin,
            store,
            daemon,
            handles: Vec::new(),
            pending: Vec::new(),
            streams: Vec::new(),
            boot,
            chunk,
            origin_failed: false,
            reads_judged: 0,
        }
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    pub(crate) fn chunk(&self) -> ChunkSize {
        self.chunk
    }

    /// Opens an object in its present version.
    pub(crate) fn open(&mut self, object: usize) -> usize {
        let place = &self.origin.objects[object];
        let blob = self.daemon().source.blob(&place.name, &place.now().facts);
        let reader = blob.reader();
        self.handles.push(Some(Handle {
            object,
            blob,
            reader,
            served: None,
            noisy: place.being_written,
        }));
        self.handles.len() - 1
    }

    /// Somebody begins to write to an object at the origin, or ends.
    pub(crate) fn toggle_writer(&mut self, object: usize) {
        self.origin.objects[object].being_written ^= true;
        for handle in self.handles.iter_mut().flatten() {
            handle.noisy |= handle.object == object;
        }
    }

    /// Begins a read, inline if that is possible.
    pub(crate) fn read(&mut self, handle: usize, range: ByteRange) {
        let Some(open) = &self.handles[handle] else {
            return;
        };
        let mut buf = vec![0xEE; place(range.len())];
        if let Some(got) = open.reader.read_now(range.start, &mut buf) {
            buf.truncate(got);
            return self.judge(handle, range, Ok(buf.into()), false);
        }
        let outcome = Outcome::default();
        let place = Arc::clone(&outcome);
        let begun = larder::engine::Clock::monotonic(&self.daemon().clock);
        open.reader
            .read(range, Box::new(move |result| *place.lock() = Some(result)));
        self.pending.push(Pending {
            handle,
            range,
            begun,
            outcome,
        });
        self.collect();
    }

    /// Judges what was answered.
    pub(crate) fn collect(&mut self) {
        let mut answered = Vec::new();
        self.pending
            .retain(|pending| match pending.outcome.lock().take() {
                Some(result) => {
                    answered.push((pending.handle, pending.range, pending.begun, result));
                    false
                }
                None => true,
            });
        let now = self
            .daemon
            .as_ref()
            .map(|d| larder::engine::Clock::monotonic(&d.clock));
        for (handle, range, begun, result) in answered {
            let late = now.is_none_or(|now| now - begun >= TIMEOUT);
            self.judge(handle, range, result, late);
        }
    }

    fn judge(&mut self, at: usize, range: ByteRange, result: Result<Bytes, ReadError>, late: bool) {
        self.reads_judged += 1;
        let origin_failed = self.origin_failed;
        let Some(handle) = &mut self.handles[at] else {
            return;
        };
        let object = &self.origin.objects[handle.object];
        match result {
            Ok(bytes) => {
                let facts = handle.blob.facts();
                let version = object
                    .version_of(&facts)
                    .expect("a blob serves a version that was");
                // An answer beyond the end serves nothing, and binds nobody.
                let served = match bytes.is_empty() {
                    true => handle.served.unwrap_or(version),
                    false => *handle.served.get_or_insert(version),
                };
                assert_eq!(
                    served, version,
                    "{} went from one version to another",
                    object.name
                );
                let data = &object.versions[version].data;
                let range = range.clip(ByteRange::new(0, data.len() as u64));
                let (start, end) = (place(range.start), place(range.end));
                let right = if start < end {
                    data.slice(start..end)
                } else {
                    Bytes::new()
                };
                assert!(
                    bytes == right || (handle.noisy && bytes.len() == right.len()),
                    "wrong bytes of {} version {version}, {range}",
                    object.name
                );
            }
            Err(ReadError::Stale) => {
                let facts = handle.blob.facts();
                assert!(
                    object.version_of(&facts) != Some(object.versions.len() - 1),
                    "{} is called stale in its present version",
                    object.name
                );
            }
            Err(ReadError::TimedOut) => assert!(late, "a read timed out early"),
            Err(ReadError::Remote(why)) => assert!(origin_failed, "the origin is blamed: {why}"),
            Err(other) => panic!("nothing in this world explains: {other}"),
        }
    }

    /// Runs one thing that waits; false where nothing does.
    pub(crate) fn step(&mut self, origin_faults: bool) -> bool {
        let Some(daemon) = &self.daemon else {
            return false;
        };
        let fetch_first = self.rng.chance(100);
        if !self.streams.is_empty() && self.rng.chance(100) {
            self.step_stream(origin_faults);
            return true;
        }
        let (executor, fetcher) = (Arc::clone(&daemon.executor), Arc::clone(&daemon.fetcher));
        let mut fetched = fetch_first
            .then(|| daemon.fetcher.take(&mut self.rng))
            .flatten();
        let mut ran = false;
        if fetched.is_none() {
            ran = executor.step(&mut self.rng);
            if !ran {
                fetched = fetcher.take(&mut self.rng);
            }
        }
        if let Some(job) = fetched {
            let (failed, stream) = self.origin.serve(job, &mut self.rng, origin_faults);
            self.origin_failed |= failed;
            self.streams.extend(stream);
            ran = true;
        }
        if !ran && !self.streams.is_empty() {
            self.step_stream(origin_faults);
            return true;
        }
        self.collect();
        ran
    }

    /// Lets one of the streams go on.
    fn step_stream(&mut self, origin_faults: bool) {
        let at = self.rng.index(self.streams.len());
        let stream = self.streams.swap_remove(at);
        let (failed, rest) = stream.step(&mut self.rng, origin_faults);
        self.origin_failed |= failed;
        self.streams.extend(rest);
        self.collect();
    }

    /// Lets everything that waits come to its end, without further faults of the origin.
    pub(crate) fn drain(&mut self) {
        let mut steps = 0;
        while self.step(false) {
            steps += 1;
            assert!(steps < 100_000, "the engine goes round in circles");
        }
        assert!(self.pending.is_empty(), "a read was left without an answer");
    }

    /// A quiet moment: nothing waits, and the origin has failed nobody.
    pub(crate) fn calm(&mut self) {
        self.drain();
        self.origin_failed = false;
    }

    fn forget_readers(&mut self) {
        self.handles.clear();
        self.pending.clear();
        self.streams.clear();
    }

    /// kill -9 and a new daemon: the page cache stays.
    pub(crate) fn kill(&mut self) {
        self.forget_readers();
        self.daemon.take().unwrap().kill();
        self.daemon = Some(Daemon::start(&self.store, self.boot, self.chunk));
    }

    /// A clean stop and a new daemon.
    pub(crate) fn restart(&mut self) {
        self.calm();
        self.forget_readers();
        // With a failing disk the stop is not clean, and that is all.
        let _ = self.daemon().cache.close();
        self.daemon.take().unwrap().kill();
        self.daemon = Some(Daemon::start(&self.store, self.boot, self.chunk));
    }

    /// A power cut, and a boot.
    pub(crate) fn power_cut(&mut self) {
        let cut = self.store.crash(self.rng.next_u64());
        self.boot_from(cut);
    }

    /// Another boot, on what a cut left of the disk.
    pub(crate) fn boot_from(&mut self, disk: CrashStore) {
        self.forget_readers();
        self.daemon.take().unwrap().kill();
        self.store = Arc::new(disk);
        self.boot = self.boot.wrapping_add(1);
        self.daemon = Some(Daemon::start(&self.store, self.boot, self.chunk));
    }

    /// Reads every object from end to end in pieces of random size, and judges all of it.
    pub(crate) fn read_all(&mut self) {
        for object in 0..self.origin.objects.len() {
            let handle = self.open(object);
            let size = self.origin.objects[object].now().facts.size;
            let mut at = 0;
            while at < size {
                let len = 1 + self.rng.below(70_000);
                self.read(handle, ByteRange::at(at, len));
                if self.rng.chance(180) {
                    self.drain();
                }
                at += len;
            }
            self.drain();
            self.handles[handle] = None;
        }
    }
}
