//! A cache disk that hangs: readers go on from the remote, within bounded memory, and the cache comes back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use larder::engine::{Cache, ChunkPolicy, Config, Executor, Ground, Job, Lane};
use larder::storage::HostIdentity;
use larder::testing::sim::{SimClock, SimFetcher};
use larder::testing::{CrashStore, Rng};
use larder::units::{ByteRange, ChunkSize};
use parking_lot::Mutex;

use crate::origin::Origin;
use crate::world::{TINY_CAPACITY, tiny_geometry};

/// Jobs that wait, by lane: the test decides which of them the disk lets through.
#[derive(Default)]
struct Lanes {
    reads: Mutex<VecDeque<Job>>,
    writes: Mutex<VecDeque<Job>>,
}

impl Lanes {
    fn run(&self, lane: Lane) -> bool {
        let queue = match lane {
            Lane::Read => &self.reads,
            Lane::Write => &self.writes,
        };
        let job = queue.lock().pop_front();
        job.map(|job| job()).is_some()
    }
}

struct ByLane(Arc<Lanes>);

impl Executor for ByLane {
    fn submit(&self, lane: Lane, job: Job) -> Result<(), Job> {
        let queue = match lane {
            Lane::Read => &self.0.reads,
            Lane::Write => &self.0.writes,
        };
        queue.lock().push_back(job);
        Ok(())
    }
}

struct Rig {
    lanes: Arc<Lanes>,
    fetcher: Arc<SimFetcher>,
    clock: Arc<SimClock>,
    origin: Origin,
    rng: Rng,
    cache: Arc<Cache>,
    source: Arc<larder::engine::Source>,
}

const LEN: usize = 150_000;

fn rig() -> Rig {
    let mut rng = Rng::new(1);
    let mut origin = Origin::new(&mut rng, 1);
    origin.replace_with_len(0, LEN, &mut rng);
    let (lanes, fetcher, clock) = (Arc::default(), Arc::<SimFetcher>::default(), Arc::default());
    let ground = Ground {
        storage: Arc::new(CrashStore::format(tiny_geometry(), TINY_CAPACITY, 1)),
        executor: Arc::new(ByLane(Arc::clone(&lanes))),
        clock: Arc::new(Arc::clone(&clock)),
        host: HostIdentity::default(),
    };
    let config = Config {
        fetch_budget: 40_000,
        request_max: 8192,
        ..Config::default()
    };
    let cache = Cache::open(ground, config).unwrap();
    let chunks = ChunkPolicy::Fixed(ChunkSize::MIN);
    let source = cache.source("sick:", "", Arc::new(Arc::clone(&fetcher)), chunks);
    Rig {
        lanes,
        fetcher,
        clock,
        origin,
        rng,
        cache,
        source,
    }
}

impl Rig {
    /// Reads 4 KiB while the disk answers reads, and writes as `writes` says. Time passes until the answer is there.
    fn read(&mut self, reader: &larder::engine::Reader, at: usize, writes: bool) -> bool {
        let answer = Arc::new(Mutex::new(None));
        let place = Arc::clone(&answer);
        let range = ByteRange::at(at as u64, 4096);
        reader.read(range, Box::new(move |result| *place.lock() = Some(result)));
        for _ in 0..60 {
            while self.lanes.run(Lane::Read) || (writes && self.lanes.run(Lane::Write)) {}
            while let Some(job) = self.fetcher.take(&mut self.rng) {
                self.origin.serve_all(job, &mut self.rng);
            }
            if let Some(result) = answer.lock().take() {
                let data = &self.origin.objects[0].now().data;
                assert_eq!(result.unwrap(), data.slice(at..data.len().min(at + 4096)));
                return true;
            }
            self.clock.advance(Duration::from_millis(100));
            self.cache.tick();
        }
        false
    }
}

/// Writes hang for ever. The fetches in flight fill their memory once; then the fills are left alone, and every read is
/// answered from the remote. When the disk lets them through, what is read is kept again.
#[test]
fn a_disk_that_takes_no_writes_stops_no_reader() {
    let mut rig = rig();
    let blob = {
        let object = &rig.origin.objects[0];
        rig.source.blob(&object.name, &object.now().facts)
    };
    let reader = blob.reader();
    for at in (0..LEN).step_by(4096) {
        assert!(
            rig.read(&reader, at, false),
            "the read at {at} was not answered within six seconds"
        );
    }
    let stats = rig.cache.stats();
    assert_eq!(stats.blocks_filled, 0);
    assert_eq!(stats.reads_timed_out, 0);
    while rig.lanes.run(Lane::Write) {}
    for at in (0..LEN).step_by(4096) {
        assert!(rig.read(&reader, at, true));
    }
    let requests = rig.cache.stats().remote_requests;
    for at in (0..LEN).step_by(4096) {
        assert!(rig.read(&reader, at, true));
    }
    assert_eq!(
        rig.cache.stats().remote_requests,
        requests,
        "the cache did not come back"
    );
}

/// The index cannot be read. After the patience that the disk is given, each read is asked of the remote.
#[test]
fn a_disk_that_answers_no_read_stops_no_reader() {
    let mut rig = rig();
    let (name, facts) = {
        let object = &rig.origin.objects[0];
        (object.name.clone(), object.now().facts.clone())
    };
    let reader = rig.source.blob(&name, &facts).reader();
    let answer = Arc::new(Mutex::new(None));
    let place = Arc::clone(&answer);
    reader.read(
        ByteRange::at(5, 10),
        Box::new(move |result| *place.lock() = Some(result)),
    );
    for _ in 0..30 {
        rig.clock.advance(Duration::from_millis(100));
        rig.cache.tick();
        while let Some(job) = rig.fetcher.take(&mut rig.rng) {
            rig.origin.serve_all(job, &mut rig.rng);
        }
    }
    let bytes = answer
        .lock()
        .take()
        .expect("answered within three seconds")
        .unwrap();
    assert_eq!(bytes, rig.origin.objects[0].now().data.slice(5..15));
    assert_eq!(rig.cache.stats().reads_hedged, 1);
}
