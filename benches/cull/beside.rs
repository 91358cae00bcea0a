//! How long a cached read takes while a full cache is filled.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use larder::engine::{
    Cache, CacheDeps, ChunkPolicy, Clock, Config, DiskPool, FetchJob, Fetcher, Source, SystemClock,
};
use larder::storage::{CreateOptions, open_or_create};
use larder::testing::Rng;
use larder::units::{ByteRange, ChunkSize};

use crate::rig::{answer, facts, name};

const HOT: u64 = 16 << 20;
const COLD: u64 = 1 << 20;
const FOR: Duration = Duration::from_secs(8);

/// What was seen.
pub(crate) struct Seen {
    pub(crate) reads: usize,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) culls_a_second: f64,
}

/// A remote that answers at once, on the thread that asks.
struct AtOnce(Bytes);

impl Fetcher for AtOnce {
    fn start(&self, job: FetchJob) {
        let size = if *job.name() == name(0) { HOT } else { COLD };
        answer(job, size, &self.0);
    }
}

fn open(dir: &Path, capacity: u64) -> (Arc<Cache>, Arc<Source>) {
    let options = CreateOptions {
        capacity,
        slots: None,
        files: None,
    };
    let storage = open_or_create(dir, &options, &mut |_| {}).expect("a new directory");
    let deps = CacheDeps {
        host: storage.host(),
        storage: Arc::new(storage),
        executor: Arc::new(DiskPool::for_one_disk().expect("threads")),
        clock: Arc::new(SystemClock::default()),
    };
    let config = Config {
        readahead_max: 0,
        ..Config::default()
    };
    let cache = Cache::open(deps, config).expect("a valid index");
    let content = Bytes::from(vec![0x5a; 1 << 20]);
    let chunks = ChunkPolicy::Fixed(ChunkSize::from_bytes(COLD).expect("a power of two"));
    let source = Source::new(&cache, "bench:", "", Arc::new(AtOnce(content)), chunks);
    (cache, source)
}

/// Reads a blob that is wholly cached; beside that, fills new ones if `filling`, in a cache that has no room if `full`.
pub(crate) fn reads(filling: bool, full: bool) -> Seen {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let capacity = if full { 128 << 20 } else { 64 << 30 };
    let (cache, source) = open(&dir.path().join("cache"), capacity);
    let (clock, over) = (SystemClock::default(), AtomicBool::new(false));
    let hot = source.blob(&name(0), &facts(HOT)).reader();
    let all = ByteRange::at(0, HOT);
    for _ in 0..4 {
        hot.read_blocking(all).expect("the remote answers");
        cache.tick();
        std::thread::sleep(Duration::from_millis(100));
    }
    let before = cache.stats();
    let mut times = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                if filling {
                    let cold = source.blob(&name(n), &facts(COLD)).reader();
                    cold.read_blocking(ByteRange::at(0, COLD))
                        .expect("the remote answers");
                } else {
                    std::thread::sleep(Duration::from_millis(10));
                }
                if n % 16 == 0 {
                    cache.tick();
                }
            }
        });
        let (mut times, mut rng, begun) = (Vec::new(), Rng::new(3), clock.monotonic());
        let mut buf = [0; 4096];
        let mut last = begun;
        while last - begun < FOR {
            let offset = rng.below(HOT / 4096) * 4096;
            let begun = clock.monotonic();
            let hit = hot.read_now(offset, &mut buf).is_some();
            if !hit {
                hot.read_blocking(ByteRange::at(offset, 4096))
                    .expect("it is cached, or fetched");
            }
            last = clock.monotonic();
            times.push((last - begun).as_nanos() as f64 / 1000.0);
        }
        over.store(true, Ordering::Relaxed);
        times
    });
    let after = cache.stats();
    times.sort_by(f64::total_cmp);
    Seen {
        reads: times.len(),
        p50_us: times[times.len() / 2],
        p99_us: times[times.len() * 99 / 100],
        culls_a_second: (after.slots_culled - before.slots_culled) as f64 / FOR.as_secs_f64(),
    }
}
