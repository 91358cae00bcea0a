//! Chunk files that the index does not know, or of which it knows less than they take: they are counted before anything
//! new is kept, and the limit holds on the disk at every step.

use std::sync::Arc;
use std::time::Duration;

use larder::engine::{Cache, CacheDeps, ChunkPolicy, Config, Rule, Source, break_rule};
use larder::format::Geometry;
use larder::storage::{CacheFiles, ChunkFile, HostIdentity, Storage};
use larder::testing::sim::{SimClock, SimExecutor, SimFetcher};
use larder::testing::{CrashStore, Faults, Rng};
use larder::units::{ByteRange, ChunkSize, SlotId};
use parking_lot::Mutex;

use crate::origin::Origin;
use crate::world::place;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 32 * MIB;
const LEN: usize = 24 << 20;
const SLOTS: u32 = 64;

struct Rig {
    store: Arc<CrashStore>,
    executor: Arc<SimExecutor>,
    fetcher: Arc<SimFetcher>,
    clock: Arc<SimClock>,
    origin: Origin,
    rng: Rng,
    /// The most that the cache has taken on the disk so far.
    most: u64,
}

fn geometry() -> Geometry {
    Geometry::new(u64::from(SLOTS), 16, 16, 1).unwrap()
}

impl Rig {
    /// A disk for a cache of 32 MiB, in chunks of 1 MiB, over one object of 24 MiB.
    fn new() -> Self {
        let mut rng = Rng::new(7);
        let mut origin = Origin::new(&mut rng, 1);
        origin.replace_with_len(0, LEN, &mut rng);
        Self {
            store: Arc::new(CrashStore::format(geometry(), LIMIT, 1)),
            executor: Arc::default(),
            fetcher: Arc::default(),
            clock: Arc::default(),
            origin,
            rng,
            most: 0,
        }
    }

    fn open(&self) -> Arc<Cache> {
        let deps = CacheDeps {
            storage: Arc::clone(&self.store) as _,
            executor: Arc::new(Arc::clone(&self.executor)),
            clock: Arc::new(Arc::clone(&self.clock)),
            host: HostIdentity::default(),
        };
        let config = Config {
            readahead_max: 0,
            readahead_far: 0,
            ..Config::default()
        };
        Cache::open(deps, config).unwrap()
    }

    fn source(&self, cache: &Arc<Cache>) -> Arc<Source> {
        let chunks = ChunkPolicy::Fixed(ChunkSize::from_bytes(MIB).unwrap());
        Source::new(
            cache,
            "recount:",
            "",
            Arc::new(Arc::clone(&self.fetcher)),
            chunks,
        )
    }

    /// Lets everything that waits be done, and looks at the disk after each step.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            while self.executor.step(&mut self.rng) {
                self.most = self.most.max(self.taken());
                idle = false;
            }
            while let Some(job) = self.fetcher.take(&mut self.rng) {
                self.origin.serve_all(job, &mut self.rng);
                idle = false;
            }
            if idle {
                return;
            }
        }
    }

    /// Lets so many ticks pass.
    fn tick(&mut self, cache: &Arc<Cache>, ticks: u32) {
        for _ in 0..ticks {
            self.clock.advance(Duration::from_millis(50));
            cache.tick();
            self.settle();
        }
    }

    /// Reads all of the object, and compares it. Returns the bytes that came from the remote for it.
    fn read_all(&mut self, cache: &Arc<Cache>) -> u64 {
        let (source, before) = (self.source(cache), cache.stats().remote_bytes);
        for at in (0..LEN as u64).step_by(256 << 10) {
            let range = ByteRange::at(at, 256 << 10);
            let answer = Arc::new(Mutex::new(None));
            let (object, told) = (&self.origin.objects[0], Arc::clone(&answer));
            let reader = source.blob(&object.name, &object.now().facts).reader();
            reader.read(range, Box::new(move |result| *told.lock() = Some(result)));
            self.settle();
            let bytes = answer.lock().take().expect("answered").unwrap();
            let data = &self.origin.objects[0].now().data;
            assert_eq!(bytes, data.slice(place(range.start)..place(range.end)));
        }
        cache.stats().remote_bytes - before
    }

    /// What index and chunk files take.
    fn taken(&self) -> u64 {
        geometry().index_len() + self.store.allocated()
    }

    /// Somebody makes the file of a slot as long as this; the index does not hear of it.
    fn write(&self, slot: u32, mib: u64) {
        let file = ChunkFile {
            slot: SlotId(slot),
            generation: 9,
        };
        let bytes = vec![7; place(mib * MIB)];
        self.store.write_chunk(file, 0, &bytes).unwrap();
    }

    fn files(&self) -> Vec<u32> {
        let mut files = Vec::new();
        let each = &mut |found: larder::storage::FoundFile| files.extend(found.slot.map(|s| s.0));
        self.store.list_files(each).unwrap();
        files
    }
}

/// The most that a cache takes which is read through although files lie in it that its index does not know.
fn most_with_unknown_files() -> u64 {
    let mut rig = Rig::new();
    for slot in 40..60 {
        rig.write(slot, 1);
    }
    let cache = rig.open();
    assert!(!cache.is_counted(), "an opening counts nothing");
    rig.read_all(&cache);
    if cache.is_counted() {
        rig.tick(&cache, 4);
        assert_eq!(rig.read_all(&cache), 0, "what was read is kept");
        assert_eq!(cache.stats().used_bytes, rig.taken());
    }
    rig.most
}

#[test]
fn files_that_the_index_does_not_know_go_before_anything_new_is_kept() {
    let most = most_with_unknown_files();
    assert!(most <= LIMIT, "{most}");
    let _broken = break_rule(Rule::FillAwaitsCount);
    let most = most_with_unknown_files();
    assert!(most > LIMIT, "{most}: this test would not see it");
}

#[test]
fn files_that_take_more_than_their_records_say_are_counted() {
    let mut rig = Rig::new();
    let cache = rig.open();
    rig.read_all(&cache);
    rig.tick(&cache, 10);
    cache.close().unwrap();
    drop(cache);
    let files = rig.files();
    assert_eq!(files.len(), 24);
    // Of an older index's slots some have longer files by now. There are 6 MiB left.
    for slot in files.iter().take(3) {
        rig.write(*slot, 2);
    }
    let cache = rig.open();
    rig.most = rig.taken();
    rig.tick(&cache, 10);
    assert!(cache.is_counted());
    assert_eq!(cache.stats().used_bytes, rig.taken());
    assert_eq!(cache.stats().slots_dropped, 3);
    let fetched = rig.read_all(&cache);
    assert_eq!(fetched, 3 * MIB, "the other chunks hold");
    rig.tick(&cache, 10);
    assert!(rig.most <= LIMIT, "{}", rig.most);
}

/// A count that fails, or that a kill cuts short, keeps fills out and nobody from reading; the next opening begins anew.
#[test]
fn a_count_that_fails_is_taken_up_again() {
    let mut rig = Rig::new();
    for slot in 40..60 {
        rig.write(slot, 1);
    }
    let cache = rig.open();
    rig.store.faults(|faults| faults.read_errors = 256);
    assert_eq!(rig.read_all(&cache), LEN as u64);
    rig.tick(&cache, 4);
    assert!(!cache.is_counted());
    assert_eq!(rig.files().len(), 20);
    rig.store.faults(|faults| *faults = Faults::default());
    rig.clock.advance(Duration::from_secs(1));
    cache.tick();
    // Killed in the midst of a pass, or before it began.
    rig.executor.step(&mut rig.rng);
    drop(cache);
    rig.settle();
    for _ in 0..2 {
        let cache = rig.open();
        rig.tick(&cache, 10);
        assert!(cache.is_counted());
        assert_eq!(rig.files().len(), 0);
        assert_eq!(cache.stats().used_bytes, rig.taken());
    }
}
