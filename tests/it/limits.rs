//! The limits change while a cache is open, others fill its disk, writes fail halfway: the cache gives back, takes no more
//! than it may, and no reader notices.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use larder::check::{self, CheckOptions, Disk, Mode};
use larder::engine::{Cache, CacheDeps, ChunkPolicy, Config, FreeSpace, Pressure, Reader, Source};
use larder::format::Geometry;
use larder::storage::{ChunkFile, HostIdentity, Space, Storage};
use larder::testing::sim::{SimClock, SimExecutor, SimFetcher};
use larder::testing::{CrashStore, Faults, Rng};
use larder::units::{ByteRange, ChunkSize, SlotId};
use parking_lot::Mutex;

use crate::origin::Origin;
use crate::world::{check_twice, place};

const MIB: u64 = 1 << 20;
const LEN: usize = 24 << 20;
const SLOTS: u32 = 64;

struct Rig {
    store: Arc<CrashStore>,
    executor: Arc<SimExecutor>,
    fetcher: Arc<SimFetcher>,
    clock: Arc<SimClock>,
    origin: Origin,
    rng: Rng,
    cache: Arc<Cache>,
    source: Arc<Source>,
}

fn geometry() -> Geometry {
    Geometry::new(u64::from(SLOTS), 16, 16, 1).unwrap()
}

fn open(store: &Arc<CrashStore>, executor: &Arc<SimExecutor>, clock: &Arc<SimClock>) -> Arc<Cache> {
    let deps = CacheDeps {
        storage: Arc::clone(store) as _,
        executor: Arc::new(Arc::clone(executor)),
        clock: Arc::new(Arc::clone(clock)),
        host: HostIdentity::default(),
    };
    let config = Config {
        readahead_max: 0,
        readahead_far: 0,
        ..Config::default()
    };
    Cache::open(deps, config).unwrap()
}

impl Rig {
    /// A cache of 48 MiB in chunks of 1 MiB over one object of 24 MiB.
    fn new() -> Self {
        let mut rng = Rng::new(7);
        let mut origin = Origin::new(&mut rng, 1);
        origin.replace_with_len(0, LEN, &mut rng);
        let store = Arc::new(CrashStore::format(geometry(), 48 * MIB, 1));
        let (executor, fetcher) = (Arc::<SimExecutor>::default(), Arc::<SimFetcher>::default());
        let clock = Arc::<SimClock>::default();
        let cache = open(&store, &executor, &clock);
        let chunks = ChunkPolicy::Fixed(ChunkSize::from_bytes(MIB).unwrap());
        let source = Source::new(
            &cache,
            "limits:",
            "",
            Arc::new(Arc::clone(&fetcher)),
            chunks,
        );
        Self {
            store,
            executor,
            fetcher,
            clock,
            origin,
            rng,
            cache,
            source,
        }
    }

    fn reader(&self) -> Reader {
        let object = &self.origin.objects[0];
        let blob = self.source.blob(&object.name, &object.now().facts);
        blob.reader()
    }

    /// Lets everything that waits be done.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            while self.executor.step(&mut self.rng) {
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

    /// Lets time pass.
    fn wait(&mut self, millis: u64) {
        for _ in 0..millis / 50 {
            self.clock.advance(Duration::from_millis(50));
            self.cache.tick();
            self.settle();
        }
    }

    fn read(&mut self, range: ByteRange) {
        let answer = Arc::new(Mutex::new(None));
        let (reader, told) = (self.reader(), Arc::clone(&answer));
        reader.read(range, Box::new(move |result| *told.lock() = Some(result)));
        self.settle();
        let bytes = answer.lock().take().expect("answered").unwrap();
        let data = &self.origin.objects[0].now().data;
        assert_eq!(bytes, data.slice(place(range.start)..place(range.end)));
    }

    /// Reads all of the object. Returns the bytes that came from the remote for it.
    fn read_all(&mut self) -> u64 {
        let before = self.cache.stats().remote_bytes;
        for at in (0..LEN as u64).step_by(256 << 10) {
            self.read(ByteRange::at(at, 256 << 10));
        }
        self.cache.stats().remote_bytes - before
    }

    fn used(&self) -> u64 {
        self.cache.stats().used_bytes
    }

    /// The disk as it is when others take so much of it. It has 200 MiB; its marks are at 20, 14 and 6 MiB.
    fn others_take(&self, bytes: u64, files: Option<u64>) {
        let stats = self.cache.stats();
        let total_files = if files.is_some() { 1000 } else { 0 };
        self.store.set_space(Space {
            total_bytes: 200 * MIB,
            free_bytes: (200 * MIB).saturating_sub(bytes + stats.used_bytes),
            total_files,
            free_files: files.map_or(0, |n| 1000u64.saturating_sub(n + files_of(&stats))),
        });
    }

    /// Lets half a second pass on such a disk.
    fn beside(&mut self, bytes: u64, files: Option<u64>) {
        for _ in 0..10 {
            self.others_take(bytes, files);
            self.wait(50);
        }
        self.others_take(bytes, files);
    }

    /// What index and chunk files really take.
    fn allocated(&self) -> u64 {
        let of_slot = |slot| {
            let (slot, generation) = (SlotId(slot), 0);
            let file = ChunkFile { slot, generation };
            self.store.cut_chunk(file, 1 << 40).unwrap()
        };
        geometry().index_len() + (0..SLOTS).map(of_slot).sum::<u64>()
    }
}

fn files_of(stats: &larder::engine::Stats) -> u64 {
    stats.files_created - stats.files_unlinked
}

#[test]
fn a_smaller_limit_is_given_back_and_kept_over_a_restart() {
    let mut rig = Rig::new();
    assert_eq!(rig.read_all(), LEN as u64);
    rig.wait(500);
    assert_eq!(rig.read_all(), 0);
    assert!(rig.used() > 24 * MIB);
    let refused = rig.cache.set_limits(Some(MIB), None).unwrap_err();
    assert!(
        refused.to_string().contains("16777216 or more"),
        "{refused}"
    );
    let view = rig.cache.set_limits(Some(16 * MIB), None).unwrap();
    assert_eq!((view.capacity, view.note), (16 * MIB, None));
    // Nothing grows while it gives back.
    let before = rig.used();
    rig.read_all();
    assert!(rig.used() <= before);
    rig.wait(1000);
    assert!(
        rig.used() <= 16 * MIB && rig.used() > 14 * MIB,
        "{}",
        rig.used()
    );
    assert_eq!(rig.allocated(), rig.used());
    rig.read_all();
    rig.wait(500);
    assert!(rig.used() <= 16 * MIB);
    rig.cache.close().unwrap();
    // The sums of the index say what is there: nothing more goes.
    rig.cache = open(&rig.store, &rig.executor, &rig.clock);
    assert_eq!(rig.cache.limits().capacity, 16 * MIB);
    rig.wait(1000);
    assert!(rig.used() > 14 * MIB, "{}", rig.used());
}

#[test]
fn a_larger_limit_holds_at_once_and_names_the_way_to_a_larger_index() {
    let mut rig = Rig::new();
    rig.cache.set_limits(Some(17 * MIB), None).unwrap();
    rig.read_all();
    rig.wait(500);
    assert!(rig.used() <= 17 * MIB);
    assert!(rig.read_all() > 0);
    let view = rig.cache.set_limits(Some(1 << 40), None).unwrap();
    assert!(view.note.unwrap().contains("larder resize"));
    rig.read_all();
    rig.read_all();
    rig.wait(500);
    assert_eq!(rig.read_all(), 0);
}

/// Whatever part of the change reached the disk, the cache opens with one of the two sizes, and the checker mends the rest.
#[test]
fn a_cut_while_the_limit_changes_leaves_one_of_the_two() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..300 {
        let rig = Rig::new_empty(seed);
        // The cache was opened; so many operations more, and the disk is dead.
        let left = seed % 8;
        rig.store
            .faults(|faults| faults.operations_left = Some(left));
        let outcome = rig.cache.set_limits(Some(17 * MIB), None);
        assert_eq!(outcome.is_ok(), left >= 8, "{outcome:?} after {left}");
        let disk = Arc::new(rig.store.crash(seed));
        disk.faults(|faults| *faults = Faults::default());
        let cache = open(&disk, &rig.executor, &rig.clock);
        match cache.limits().capacity {
            size if size == 48 * MIB => old += 1,
            size => {
                assert_eq!(size, 17 * MIB);
                new += 1;
            }
        }
        drop(cache);
        check_twice(&disk, CheckOptions::PLAIN);
    }
    assert!(old > 50 && new > 50, "{old} old, {new} new");
    let rig = Rig::new_empty(0);
    rig.cache.set_limits(Some(17 * MIB), None).unwrap();
    let disk = rig.store.crash(5);
    let go_on = &mut |_: check::Step| ControlFlow::Continue(());
    let report = check::run(Disk::of(&disk), Mode::Check, CheckOptions::PLAIN, go_on).unwrap();
    assert_eq!(report.exit_code(), 0, "all three copies are synced");
}

impl Rig {
    /// As [`Rig::new`], with a small object.
    fn new_empty(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let store = Arc::new(CrashStore::format(geometry(), 48 * MIB, seed));
        let (executor, fetcher) = (Arc::<SimExecutor>::default(), Arc::<SimFetcher>::default());
        let clock = Arc::<SimClock>::default();
        let cache = open(&store, &executor, &clock);
        let source = Source::new(
            &cache,
            "",
            "",
            Arc::new(Arc::clone(&fetcher)),
            ChunkPolicy::Auto,
        );
        Self {
            store,
            executor,
            fetcher,
            clock,
            origin: Origin::new(&mut rng, 1),
            rng,
            cache,
            source,
        }
    }
}

#[test]
fn what_others_take_of_the_disk_is_given_back_up_to_the_run_mark() {
    let mut rig = Rig::new();
    rig.beside(100 * MIB, None);
    rig.read_all();
    rig.beside(100 * MIB, None);
    assert_eq!(rig.read_all(), 0);
    let full = rig.used();
    // 14 MiB are left free: that is the cull mark.
    rig.beside(186 * MIB - full, None);
    assert_eq!(
        (rig.used(), rig.cache.stats().pressure),
        (full, Pressure::None)
    );
    // 13 MiB are not enough, and 20 are.
    rig.beside(187 * MIB - full, None);
    let (given, stats) = (full - rig.used(), rig.cache.stats());
    assert!((7 * MIB..8 * MIB).contains(&given), "{given}");
    assert_eq!(stats.pressure, Pressure::None);
    // What is free above the cull mark may be taken again, and no more: others go on to have 14 MiB.
    rig.read_all();
    rig.read_all();
    rig.beside(187 * MIB - full, None);
    let free = 13 * MIB + (full - rig.used());
    assert!((14 * MIB..15 * MIB).contains(&free), "{free}");
    assert!(rig.read_all() > 0);
    // The disk is full: all goes, nothing is taken, and every read is answered.
    rig.beside(200 * MIB - full, None);
    rig.beside(210 * MIB, None);
    assert_eq!(rig.used(), geometry().index_len());
    assert_eq!(rig.cache.stats().pressure, Pressure::Stopped);
    assert_eq!(rig.read_all(), LEN as u64);
    assert_eq!(rig.used(), geometry().index_len());
    // They give it back.
    rig.beside(100 * MIB, None);
    rig.read_all();
    rig.wait(200);
    assert_eq!(rig.read_all(), 0, "hits return");
}

#[test]
fn inodes_are_left_free_as_bytes_are_where_the_disk_counts_them() {
    let mut rig = Rig::new();
    rig.beside(0, Some(0));
    rig.read_all();
    rig.beside(0, Some(0));
    let files = files_of(&rig.cache.stats());
    assert_eq!(files, 24);
    // 69 inodes are free; 70 is the cull mark, 100 the run mark: all 24 files do not suffice.
    rig.beside(0, Some(931 - files));
    assert_eq!(files_of(&rig.cache.stats()), 0);
    assert_eq!(rig.cache.stats().pressure, Pressure::Culling);
    // 80 are free: ten files may be made.
    rig.beside(0, Some(0));
    rig.beside(0, Some(920));
    rig.read_all();
    rig.read_all();
    rig.beside(0, Some(920));
    let stats = rig.cache.stats();
    assert_eq!((files_of(&stats), stats.pressure), (10, Pressure::None));
    // None are free because none are counted: that is no shortage.
    rig.beside(0, None);
    rig.read_all();
    rig.read_all();
    rig.beside(0, None);
    assert_eq!(files_of(&rig.cache.stats()), 24);
    assert_eq!(rig.read_all(), 0);
}

#[test]
fn marks_can_be_changed_while_the_cache_is_open() {
    let mut rig = Rig::new();
    rig.beside(100 * MIB, None);
    rig.read_all();
    rig.beside(100 * MIB, None);
    let full = rig.used();
    let marks = FreeSpace::from_run(600).unwrap();
    let view = rig.cache.set_limits(None, Some(marks)).unwrap();
    assert_eq!((view.free, view.pressure), (marks, Pressure::Culling));
    rig.beside(100 * MIB, None);
    assert_eq!(rig.used(), geometry().index_len());
    rig.cache.set_limits(None, Some(FreeSpace::NONE)).unwrap();
    rig.read_all();
    rig.wait(500);
    assert_eq!((rig.read_all(), rig.used()), (0, full));
}

/// A write that fails may have made its file larger all the same.
#[test]
fn a_write_that_fails_halfway_is_accounted_for() {
    let mut rig = Rig::new();
    rig.store.faults(|faults| faults.write_errors = 100);
    rig.read_all();
    rig.wait(500);
    rig.read_all();
    rig.wait(500);
    let stats = rig.cache.stats();
    assert!(stats.disk_errors > 10, "{stats:?}");
    rig.store.faults(|faults| *faults = Faults::default());
    let allocated = rig.allocated();
    assert!(
        stats.used_bytes >= allocated,
        "{} of {allocated}",
        stats.used_bytes
    );
    assert!(allocated > 4 * MIB, "{allocated}");
}
