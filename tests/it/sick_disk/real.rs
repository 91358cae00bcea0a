//! The same with real threads, and on a real cache directory: hangs, no descriptors, a directory that goes away.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::engine::{
    Cache, CacheDeps, ChunkPolicy, Clock, Config, DiskPool, DiskState, DiskStats, FetchJob,
    Fetcher, Reader, Source, SourceSettings, SystemClock,
};
use larder::storage::{CacheDir, CreateOptions, HostIdentity, Storage, open_or_create};
use larder::testing::Rng;
use larder::units::{ByteRange, ChunkSize};
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};

use super::moody::Moody;
use crate::origin::Origin;

const LEN: usize = 60_000;
const PATIENCE: Duration = Duration::from_millis(400);
/// A disk is merely slow for so long, where none is to hang: that of a busy machine is.
const LENIENT: Duration = Duration::from_secs(60);
/// When a test gives up.
const NEVER: Duration = Duration::from_secs(300);

/// An origin that answers on the thread that asks, without a descriptor.
struct Server(Mutex<(Origin, Rng)>);

impl Fetcher for Server {
    fn start(&self, job: FetchJob) {
        let (mut origin, mut rng) = {
            let server = &mut *self.0.lock();
            (server.0.clone(), server.1.fork())
        };
        origin.serve_all(job, &mut rng);
    }
}

/// A cache at work, with threads and a clock.
struct Rig {
    origin: Origin,
    pool: Arc<DiskPool>,
    cache: Arc<Cache>,
    source: Arc<Source>,
    over: Arc<AtomicBool>,
    clock: SystemClock,
}

impl Rig {
    fn new(storage: Arc<dyn Storage>, objects: usize, patience: Duration) -> Self {
        let mut rng = Rng::new(3);
        let mut origin = Origin::new(&mut rng, objects);
        for object in 0..objects {
            origin.replace_with_len(object, LEN, &mut rng);
        }
        let pool = Arc::new(DiskPool::new(2, 2, 64).unwrap());
        let deps = CacheDeps {
            storage,
            executor: Arc::clone(&pool) as _,
            clock: Arc::new(SystemClock::default()),
            host: HostIdentity::default(),
        };
        let config = Config {
            disk_patience: patience,
            ..Config::default()
        };
        let cache = Cache::open(deps, config).unwrap();
        let server = Server(Mutex::new((origin.clone(), rng)));
        let settings = SourceSettings {
            chunks: ChunkPolicy::Fixed(ChunkSize::MIN),
            timeout: NEVER,
            ..SourceSettings::default()
        };
        let source = Source::new(&cache, "real:", "", Arc::new(server), settings);
        let over = Arc::<AtomicBool>::default();
        let (ticking, stop) = (Arc::clone(&cache), Arc::clone(&over));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                ticking.tick();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self {
            origin,
            pool,
            cache,
            source,
            over,
            clock: SystemClock::default(),
        }
    }

    fn reader(&self, object: usize) -> Reader {
        let object = &self.origin.objects[object];
        self.source.blob(&object.name, &object.now().facts).reader()
    }

    /// Reads 4 KiB and judges them; how long that took.
    fn read(&self, reader: &Reader, object: usize, at: usize) -> Duration {
        let right = &self.origin.objects[object].now().data;
        let right = right.slice(at..right.len().min(at + 4096));
        let begun = self.clock.monotonic();
        let mut now = vec![0; right.len()];
        if reader.read_now(at as u64, &mut now) == Some(right.len()) {
            assert_eq!(now, right);
            return self.clock.monotonic() - begun;
        }
        let (send, receive) = std::sync::mpsc::channel();
        let range = ByteRange::at(at as u64, 4096);
        reader.read(range, Box::new(move |result| drop(send.send(result))));
        let answer = receive.recv_timeout(NEVER);
        let bytes = answer.expect("every read is answered");
        assert_eq!(bytes.expect("a sick disk is no error"), right);
        self.clock.monotonic() - begun
    }

    /// Reads the first bytes of every object; the longest that one took.
    fn read_all(&self) -> Duration {
        let objects = 0..self.origin.objects.len();
        let took = objects.map(|object| self.read(&self.reader(object), object, 0));
        took.max().unwrap()
    }

    fn disk(&self) -> DiskStats {
        self.cache.stats().disk
    }

    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = self.clock.monotonic();
        while !done(self) {
            let waited = self.clock.monotonic() - begun;
            assert!(waited < NEVER, "never: {what}: {:?}", self.disk());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Reads all there is, until it is on the disk and not on its way there: what is, readers are answered from.
    fn comes_to_rest(&self) {
        for object in 0..self.origin.objects.len() {
            let reader = self.reader(object);
            self.wait("all is cached", |rig| {
                for at in (0..LEN).step_by(4096) {
                    rig.read(&reader, object, at);
                }
                rig.cached_bytes(&reader) == LEN as u64
            });
        }
        let filled = || self.cache.stats().blocks_filled;
        let mut before = 0;
        while filled() != before {
            before = filled();
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    fn cached_bytes(&self, reader: &Reader) -> u64 {
        let (send, receive) = std::sync::mpsc::channel();
        let blob = reader.blob();
        blob.describe(Box::new(move |info| drop(send.send(info))));
        let answer = receive.recv_timeout(NEVER);
        answer.expect("a question is answered").cached_bytes
    }

    /// How many requests it takes to read everything once more.
    fn requests(&self) -> u64 {
        let before = self.cache.stats().remote_requests;
        self.read_all();
        self.cache.stats().remote_requests - before
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.pool.shut_down();
    }
}

/// A disk that hangs, until this is dropped: a test that fails must not wait for it.
struct Hang<'a>(&'a Moody);

impl<'a> Hang<'a> {
    fn begin(disk: &'a Moody) -> Self {
        disk.hang(true);
        Self(disk)
    }
}

impl Drop for Hang<'_> {
    fn drop(&mut self) {
        self.0.hang(false);
    }
}

fn directory(path: &Path) -> Arc<CacheDir> {
    let options = CreateOptions {
        capacity: 64 << 20,
        slots: None,
        files: None,
    };
    Arc::new(open_or_create(path, &options, &mut |_| {}).unwrap())
}

/// The disk hangs, with every thread of the pool in it. The first read waits for as long as the disk is given, and no
/// other; what is asked besides is answered; and when the disk answers again, so does the cache.
#[test]
fn only_the_first_reader_waits_for_a_disk_that_hangs() {
    let disk = Arc::new(Moody::new());
    let rig = Rig::new(Arc::clone(&disk) as _, 4, PATIENCE);
    rig.read_all();
    rig.wait("what was read is kept", |rig| rig.requests() == 0);
    rig.comes_to_rest();
    let hedged = |rig: &Rig| rig.cache.stats().reads_hedged;
    let before = hedged(&rig);
    let _hang = Hang::begin(&disk);
    let readers: Vec<_> = (0..4).map(|object| rig.reader(object)).collect();
    let rig = &rig;
    let first = std::thread::scope(|scope| {
        let reads = readers.iter().enumerate();
        let reads: Vec<_> = reads
            .map(|(n, reader)| scope.spawn(move || rig.read(reader, n, 0)))
            .collect();
        reads.into_iter().map(|read| read.join().unwrap()).max()
    });
    let first = first.unwrap();
    // They waited as long as the disk is given, and were answered though it hangs still.
    assert!(first >= PATIENCE, "{first:?}");
    // That it hangs is known at the next tick.
    rig.wait("it is known to hang", |rig| {
        rig.disk().reading == DiskState::Hung
    });
    let waited = hedged(rig);
    assert!((1..=4).contains(&(waited - before)), "{waited}, {before}");
    // The same blocks, others of the same objects, and objects that nobody has looked at since.
    let slowest = (0..40).map(|n| rig.read(&readers[n % 4], n % 4, (n / 4) * 4096));
    let slowest = slowest.max().unwrap().max(rig.read_all());
    assert_eq!(hedged(rig), waited, "one waited again: {slowest:?}");
    // Threads that hang are replaced: a question that needs the pool is answered.
    rig.cached_bytes(&readers[0]);
    eprintln!(
        "first {first:?}, then at most {slowest:?}; {:?}",
        rig.disk()
    );
    disk.hang(false);
    rig.wait("the disk is well", |rig| {
        let disk = rig.disk();
        (disk.reading, disk.writing) == (DiskState::Well, DiskState::Well)
    });
    rig.wait("hits return", |rig| rig.requests() == 0);
    assert_eq!(rig.cache.stats().reads_timed_out, 0);
}

/// A process that has no descriptor left reads on, and what is cached stays cached. The test runs itself once more, in a
/// process that may open few files.
#[test]
fn a_process_without_descriptors_reads_on() {
    const FEW: u64 = 64;
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if limit > FEW {
        let own = "sick_disk::real::a_process_without_descriptors_reads_on";
        let output = Command::new("prlimit")
            .arg(format!("--nofile={FEW}:{FEW}"))
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", own, "--nocapture"])
            .output()
            .expect("prlimit (package util-linux) sets the limit");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("without descriptors: "), "{said}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new(directory(dir.path()), 120, LENIENT);
    rig.read_all();
    rig.wait("what was read is kept", |rig| rig.requests() == 0);
    let before = rig.cache.stats();
    let mut hogs = Vec::new();
    for object in 0..120 {
        // Whatever the cache gives up is taken as well.
        while let Ok(hog) = File::open("/dev/null") {
            hogs.push(hog);
        }
        rig.read(&rig.reader(object), object, 0);
    }
    let during = rig.cache.stats();
    assert!(during.disk.out_of_descriptors > 0, "{:?}", during.disk);
    assert!(during.remote_requests > before.remote_requests);
    assert_eq!(
        (during.disk.reading, during.blocks_bad),
        (DiskState::Well, 0)
    );
    drop(hogs);
    assert_eq!(rig.requests(), 0, "what was cached is cached");
    eprintln!("without descriptors: {:?}", during.disk);
}

/// A directory that is renamed is the same one, and goes on. One that is removed takes nothing new; readers do not notice,
/// and another one in its place is not touched.
#[test]
fn a_directory_that_goes_away_is_a_miss() {
    let top = tempfile::tempdir().unwrap();
    let at = |name: &str| top.path().join(name);
    let rig = Rig::new(directory(&at("cache")), 40, LENIENT);
    for object in 0..10 {
        rig.read(&rig.reader(object), object, 0);
    }
    std::fs::rename(at("cache"), at("elsewhere")).unwrap();
    let filled = rig.cache.stats().blocks_filled;
    for object in 0..10 {
        rig.read(&rig.reader(object), object, 20_000);
    }
    rig.wait("it goes on", |rig| rig.cache.stats().blocks_filled > filled);
    assert_eq!(rig.disk().writing, DiskState::Well);
    std::fs::remove_dir_all(at("elsewhere")).unwrap();
    std::fs::create_dir(at("elsewhere")).unwrap();
    // Files that are open are written still; one that must be made shows that there is no place for it.
    rig.wait("it was noticed", |rig| {
        for object in 10..40 {
            rig.read(&rig.reader(object), object, 0);
        }
        rig.disk().writing == DiskState::Vanished
    });
    for at in (0..LEN).step_by(4096) {
        rig.read(&rig.reader(20), 20, at);
    }
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(
        rig.disk().writing,
        DiskState::Vanished,
        "it does not come back"
    );
    assert_eq!(std::fs::read_dir(at("elsewhere")).unwrap().count(), 0);
}
