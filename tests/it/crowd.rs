//! Many at once, and too much for the cache: what must not stand still, and what must not be fetched twice.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder::engine::{
    Blob, Cache, CacheDeps, ChunkPolicy, Config, DiskPool, Executor, FetchJob, Fetcher, Job, Lane,
    Source, SourceSettings, SystemClock,
};
use larder::format::Geometry;
use larder::remote::Sink;
use larder::storage::HostIdentity;
use larder::testing::{CrashStore, Rng};
use larder::units::{ByteRange, ChunkSize, Facts, ObjectName};

use parking_lot::Mutex;

use crate::origin::Origin;
use crate::world::place;

/// Answers every fetch on a thread of its own.
struct Threads {
    facts: Facts,
    data: Bytes,
}

impl Fetcher for Threads {
    fn start(&self, mut job: FetchJob) {
        let (mut facts, data) = (self.facts.clone(), self.data.clone());
        if job.name().as_bytes() != ONE {
            facts.size = 1;
        }
        std::thread::spawn(move || {
            let range = job.range();
            let version = job.version(&facts, true);
            if version.is_ok() {
                job.data(data.slice(place(range.start)..place(range.end)));
            }
            job.finish(version);
        });
    }
}

const LEN: usize = 4 << 20;
/// The name of the object of that length; every other one has one byte.
const ONE: &[u8] = b"one";

/// A cache of this capacity over one object of [`LEN`] bytes, which comes back as well.
fn cache_over_one(capacity: u64, config: Config) -> (Arc<Cache>, Arc<Blob>, Bytes) {
    let pool = Arc::new(DiskPool::new(2, 2, 4096).unwrap());
    let geometry = Geometry::new(8, 512, 512, 0).unwrap();
    let timeout = SourceSettings::default().timeout;
    let (cache, source, facts, data) = cache_on(pool, geometry, capacity, config, timeout);
    (cache, source.blob(&ObjectName::new(ONE), &facts), data)
}

fn cache_on(
    executor: Arc<dyn Executor>,
    geometry: Geometry,
    capacity: u64,
    config: Config,
    timeout: Duration,
) -> (Arc<Cache>, Arc<Source>, Facts, Bytes) {
    let mut data = vec![0; LEN];
    Rng::new(1).fill(&mut data);
    let data = Bytes::from(data);
    let mut origin = Origin::new(&mut Rng::new(2), 1);
    let mut facts = origin.objects.remove(0).now().facts.clone();
    facts.size = LEN as u64;
    let deps = CacheDeps {
        storage: Arc::new(CrashStore::format(geometry, capacity, 3)),
        executor,
        clock: Arc::new(SystemClock::default()),
        host: HostIdentity::default(),
    };
    let cache = Cache::open(deps, config).unwrap();
    let fetcher = Arc::new(Threads {
        facts: facts.clone(),
        data: data.clone(),
    });
    let settings = SourceSettings {
        chunks: ChunkPolicy::Fixed(ChunkSize::from_log2(16).unwrap()),
        timeout,
        ..SourceSettings::default()
    };
    let source = Source::new(&cache, "test:", "", fetcher, settings);
    (cache, source, facts, data)
}

/// Reads the bytes of `range` one page after the other, and compares them.
fn read_pages(blob: &Arc<Blob>, data: &Bytes, range: Range<usize>) {
    let reader = blob.reader();
    for at in range.step_by(4096) {
        let (done, wait) = crossbeam_channel::bounded(1);
        let page = ByteRange::at(at as u64, 4096);
        reader.read(page, Box::new(move |answer| drop(done.send(answer))));
        let bytes = wait.recv().unwrap().unwrap();
        assert_eq!(bytes, data[at..at + 4096]);
    }
}

/// Whoever gives room back looks for fetches that are still wanted, and whoever reads ahead asks for room: neither may
/// wait for the other.
#[test]
fn readers_that_share_a_scarce_budget_all_come_to_an_end() {
    const READERS: usize = 16;
    const PASSES: usize = 20;
    let config = Config {
        fetch_budget: 16 << 10,
        request_max: 8 << 10,
        readahead_max: 8 << 10,
        readahead_far: 8 << 10,
        ..Config::default()
    };
    let (_cache, blob, data) = cache_over_one(1 << 20, config);
    let (tell, told) = crossbeam_channel::unbounded();
    for number in 0..READERS {
        let (blob, data, tell) = (Arc::clone(&blob), data.clone(), tell.clone());
        std::thread::spawn(move || {
            let start = number * LEN / READERS;
            for _ in 0..PASSES {
                read_pages(&blob, &data, start..start + LEN / READERS);
            }
            tell.send(()).unwrap();
        });
    }
    for _ in 0..READERS {
        told.recv_timeout(Duration::from_secs(300))
            .expect("the readers stand still, or one of them failed");
    }
}

/// A cache that is full evicts what was read, not what was read ahead and is still to be: that would be fetched in vain.
#[test]
fn a_full_cache_fetches_nothing_in_vain() {
    let config = Config {
        readahead_max: 512 << 10,
        readahead_far: 512 << 10,
        ..Config::default()
    };
    let (cache, blob, data) = cache_over_one(1 << 20, config);
    read_pages(&blob, &data, 0..LEN);
    let stats = cache.stats();
    assert!(stats.used_bytes <= 1 << 20, "{stats:?}");
    assert!(stats.slots_culled > 0, "{stats:?}");
    let in_vain = stats.remote_bytes - LEN as u64;
    assert!(in_vain <= 1 << 20, "{in_vain} of {stats:?}");
}

/// A disk that takes writes and never ends one.
struct Hung {
    pool: DiskPool,
    writes: Mutex<Vec<Job>>,
}

impl Executor for Hung {
    fn submit(&self, lane: Lane, job: Job) -> Result<(), Job> {
        match lane {
            Lane::Read => self.pool.submit(lane, job),
            Lane::Write => {
                self.writes.lock().push(job);
                Ok(())
            }
        }
    }
}

fn read(blob: &Arc<Blob>, range: ByteRange) -> Bytes {
    let (done, wait) = crossbeam_channel::bounded(1);
    blob.reader()
        .read(range, Box::new(move |answer| drop(done.send(answer))));
    wait.recv().unwrap().unwrap()
}

/// A small fetch is charged for more than its bytes: all of that is what a hung disk holds.
#[test]
fn many_small_fills_on_a_hung_disk_stop_no_large_read() {
    const SMALL: u32 = 5000;
    let disk = Arc::new(Hung {
        pool: DiskPool::new(2, 0, 0).unwrap(),
        writes: Mutex::default(),
    });
    let config = Config {
        fetch_budget: 4 << 20,
        disk_patience: Duration::from_secs(2),
        ..Config::default()
    };
    let geometry = Geometry::new(8, 8192, 512, 0).unwrap();
    // Much longer than the disk's patience, whatever else the machine has to do.
    let timeout = Duration::from_secs(120);
    let executor = Arc::clone(&disk) as _;
    let (cache, source, facts, data) = cache_on(executor, geometry, 64 << 20, config, timeout);
    let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
    let ticks = Arc::clone(&cache);
    let ticker = std::thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(10)).is_err() {
            ticks.tick();
        }
    });
    let one_byte = Facts {
        size: 1,
        ..facts.clone()
    };
    for number in 0..SMALL {
        let name = ObjectName::new(number.to_string().into_bytes());
        assert_eq!(
            read(&source.blob(&name, &one_byte), ByteRange::at(0, 1)),
            data[..1]
        );
    }
    let large = source.blob(&ObjectName::new(ONE), &facts);
    assert_eq!(read(&large, ByteRange::at(0, 1 << 20)), data[..1 << 20]);
    stop.send(()).unwrap();
    ticker.join().unwrap();
    assert!(!disk.writes.lock().is_empty());
}
