//! A cache disk that hangs or errs: readers go on from the remote, within bounded memory, and the cache comes back.

mod moody;
mod real;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use larder::engine::{
    Cache, CacheDeps, ChunkPolicy, Config, DiskState, DiskStats, Executor, Job, Lane, Reader,
    Source,
};
use larder::storage::HostIdentity;
use larder::testing::Rng;
use larder::testing::sim::{SimClock, SimFetcher};
use larder::units::{ByteRange, ChunkSize};
use parking_lot::Mutex;
use rustix::io::Errno;

use self::moody::Moody;
use crate::origin::Origin;

/// Jobs that wait, by lane: the test decides which of them the disk lets through.
#[derive(Default)]
struct Lanes {
    /// Further writes are refused.
    full: Mutex<bool>,
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
            Lane::Write if *self.0.full.lock() => return Err(job),
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
    disk: Arc<Moody>,
    cache: Arc<Cache>,
    source: Arc<larder::engine::Source>,
}

const LEN: usize = 150_000;

fn rig() -> Rig {
    let mut rng = Rng::new(1);
    let mut origin = Origin::new(&mut rng, 1);
    origin.replace_with_len(0, LEN, &mut rng);
    let (lanes, fetcher, clock) = (Arc::default(), Arc::<SimFetcher>::default(), Arc::default());
    let disk = Arc::new(Moody::new());
    let deps = CacheDeps {
        storage: Arc::clone(&disk) as _,
        executor: Arc::new(ByLane(Arc::clone(&lanes))),
        clock: Arc::new(Arc::clone(&clock)),
        host: HostIdentity::default(),
    };
    let config = Config {
        fetch_budget: 40_000,
        request_max: 8192,
        ..Config::default()
    };
    let cache = Cache::open(deps, config).unwrap();
    let chunks = ChunkPolicy::Fixed(ChunkSize::MIN);
    let source = Source::new(&cache, "sick:", "", Arc::new(Arc::clone(&fetcher)), chunks);
    Rig {
        lanes,
        fetcher,
        clock,
        origin,
        rng,
        disk,
        cache,
        source,
    }
}

impl Rig {
    fn reader(&self) -> Reader {
        let object = &self.origin.objects[0];
        let blob = self.source.blob(&object.name, &object.now().facts);
        blob.reader()
    }

    /// Lets some seconds pass in which the disk gets its work done.
    fn rest(&mut self) {
        for _ in 0..150 {
            while self.lanes.run(Lane::Read) || self.lanes.run(Lane::Write) {}
            self.clock.advance(Duration::from_millis(100));
            self.cache.tick();
        }
        while self.lanes.run(Lane::Read) || self.lanes.run(Lane::Write) {}
    }

    /// Reads everything, and once more without asking the remote for anything.
    fn comes_back(&mut self, reader: &Reader) {
        for _ in 0..2 {
            for at in (0..LEN).step_by(4096) {
                assert!(self.read(reader, at, true));
            }
            self.rest();
        }
        let requests = self.cache.stats().remote_requests;
        for at in (0..LEN).step_by(4096) {
            assert!(self.read(reader, at, true));
        }
        let more = self.cache.stats().remote_requests - requests;
        assert_eq!(more, 0, "the cache did not come back");
    }

    /// Reads 4 KiB while the disk answers reads, and writes as `writes` says. Time passes until the answer is there.
    fn read(&mut self, reader: &Reader, at: usize, writes: bool) -> bool {
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
    let reader = rig.reader();
    for at in (0..LEN).step_by(4096) {
        assert!(
            rig.read(&reader, at, false),
            "the read at {at} was not answered within six seconds"
        );
    }
    let stats = rig.cache.stats();
    assert_eq!(stats.blocks_filled, 0);
    assert_eq!(stats.reads_timed_out, 0);
    assert_eq!(stats.disk.writing, DiskState::Hung);
    rig.rest();
    assert_eq!(rig.cache.stats().disk.writing, DiskState::Well);
    rig.comes_back(&reader);
}

/// A lane that takes no more costs the cache, not the reader.
#[test]
fn a_full_write_queue_is_a_miss() {
    let mut rig = rig();
    let reader = rig.reader();
    *rig.lanes.full.lock() = true;
    for at in (0..LEN).step_by(4096) {
        assert!(rig.read(&reader, at, true));
    }
    let stats = rig.cache.stats();
    assert!(stats.disk.write_queue_full > 0 && stats.blocks_filled == 0);
    assert_eq!(stats.disk.writing, DiskState::Well);
    *rig.lanes.full.lock() = false;
    rig.comes_back(&reader);
}

/// Each error of the disk for a while, in both directions: no reader hears of it, it is counted for what it is, and
/// the cache comes back.
#[test]
fn every_error_is_a_miss_and_the_cache_comes_back() {
    use DiskState::{Failing, ReadOnly, Vanished, Well};
    type Count = fn(&DiskStats) -> u64;
    type Case = (Option<Errno>, Option<Errno>, DiskState, DiskState, Count);
    let cases: [Case; 7] = [
        (Some(Errno::IO), None, Failing, Well, |disk| disk.io_errors),
        (None, Some(Errno::IO), Well, Failing, |disk| disk.io_errors),
        (None, Some(Errno::NOSPC), Well, Well, |disk| disk.no_space),
        (None, Some(Errno::ROFS), Well, ReadOnly, |disk| {
            disk.read_only
        }),
        (None, Some(Errno::NOENT), Well, Vanished, |disk| {
            disk.vanished
        }),
        (Some(Errno::MFILE), None, Well, Well, |disk| {
            disk.out_of_descriptors
        }),
        (None, Some(Errno::NFILE), Well, Well, |disk| {
            disk.out_of_descriptors
        }),
    ];
    for (reads, writes, reading, writing, count) in cases {
        let mut rig = rig();
        let reader = rig.reader();
        for at in (0..LEN / 2).step_by(4096) {
            assert!(rig.read(&reader, at, true));
        }
        rig.rest();
        let before = rig.cache.stats();
        *rig.disk.moods.lock() = (reads, writes);
        for at in (0..LEN).step_by(4096) {
            assert!(rig.read(&reader, at, true), "{reads:?} {writes:?} at {at}");
        }
        let during = rig.cache.stats();
        let case = format!("{reads:?} {writes:?}: {:?}", during.disk);
        assert!(count(&during.disk) > 0, "{case}");
        assert_eq!(
            (during.disk.reading, during.disk.writing),
            (reading, writing),
            "{case}"
        );
        assert_eq!(during.disk.full, writes == Some(Errno::NOSPC), "{case}");
        assert_eq!(during.reads_timed_out, 0, "{case}");
        if reads == Some(Errno::MFILE) {
            assert_eq!(during.blocks_bad, 0, "what was not read is not bad");
        }
        // What fails for long is left alone: a hundred reads more cost a few tries.
        let failed = during.disk_errors;
        for at in (0..LEN).step_by(2048) {
            assert!(rig.read(&reader, at, true), "{case}");
        }
        if (reading, writing) != (Well, Well) {
            let more = rig.cache.stats().disk_errors - failed;
            assert!(more <= 4, "{case}: {more} tries more");
        }
        *rig.disk.moods.lock() = (None, None);
        rig.rest();
        let after = rig.cache.stats();
        assert_eq!(
            (after.disk.reading, after.disk.writing),
            (Well, Well),
            "{case}"
        );
        rig.comes_back(&reader);
        assert!(
            rig.cache.stats().blocks_filled > before.blocks_filled,
            "{case}"
        );
        assert!(!rig.cache.stats().disk.full, "{case}");
    }
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
