//! One small world in which everything meets at a few slots, and what is counted over all of them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use larder::engine::{
    Cache, CacheDeps, ChunkPolicy, Config, Executor, FetchJob, Fetcher, Job, Lane, Source, Stats,
};
use larder::remote::Sink;
use larder::storage::{HostIdentity, Storage};
use larder::testing::sim::SimClock;
use larder::testing::{CrashStore, Rng};
use larder::units::{ByteRange, ChunkSize, Facts, FileKind, ObjectName, Timestamp, Validator};
use shuttle::rand::RngCore;

use super::disk::Disk;
use super::point;
use crate::world::{place, tiny_geometry};

const PAGE: usize = 4096;
/// The bytes of the blobs, one chunk each. Some worlds have only the last two, of one page.
const SIZES: [usize; 5] = [3 * PAGE - 100, 2 * PAGE, 4 * PAGE - 1, PAGE, PAGE];
const READERS: usize = 2;
/// Fewer have not met much.
pub(super) const SCHEDULES_MIN: u64 = 300;

/// What happened in all schedules together.
#[derive(Default, Debug)]
pub(super) struct Totals {
    schedules: AtomicU64,
    judged: AtomicU64,
    inline: AtomicU64,
    culled: AtomicU64,
    reused: AtomicU64,
    cut: AtomicU64,
    unlinked: AtomicU64,
    dropped: AtomicU64,
    bad: AtomicU64,
    checked: AtomicU64,
}

impl Totals {
    pub(super) fn schedules(&self) -> u64 {
        self.schedules.load(Ordering::Relaxed)
    }

    fn add(&self, stats: &Stats) {
        let add = |to: &AtomicU64, n| to.fetch_add(n, Ordering::Relaxed);
        add(&self.inline, stats.reads_inline);
        add(&self.culled, stats.slots_culled);
        add(&self.reused, stats.slots_reused);
        add(&self.cut, stats.files_cut);
        add(&self.unlinked, stats.files_unlinked);
        add(&self.dropped, stats.slots_dropped);
        add(&self.bad, stats.blocks_bad);
        add(&self.checked, stats.blocks_checked);
    }

    /// All of it happened, and most of it all the time.
    pub(super) fn judge(&self) {
        let get = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let schedules = get(&self.schedules);
        assert!(schedules > SCHEDULES_MIN, "{self:?}");
        for often in [
            &self.judged,
            &self.inline,
            &self.culled,
            &self.reused,
            &self.checked,
        ] {
            assert!(get(often) > schedules / 2, "{self:?}");
        }
        for seldom in [&self.cut, &self.unlinked, &self.dropped, &self.bad] {
            assert!(get(seldom) > schedules / 500, "{self:?}");
        }
    }
}

fn name(blob: usize) -> ObjectName {
    ObjectName::new(format!("blob-{blob}").into_bytes())
}

/// Each byte says whose it is: the blob, and the page.
fn bytes_of(blob: usize, range: ByteRange) -> Bytes {
    let byte = |at: usize| u8::try_from(16 * (blob + 1) + at / PAGE).unwrap();
    (place(range.start)..place(range.end)).map(byte).collect()
}

fn facts(blob: usize) -> Facts {
    let then = Timestamp {
        secs: 1000,
        nanos: 0,
    };
    Facts {
        kind: FileKind::File,
        size: SIZES[blob] as u64,
        mtime: then,
        ctime: then,
        perm: 0o644,
        uid: 0,
        gid: 0,
        rdev: 0,
        validator: Some(Validator::Strong(b"v".as_slice().into())),
    }
}

/// Counts the tasks that were begun, and ends with the last of them.
#[derive(Default)]
struct Tasks(AtomicUsize);

impl Tasks {
    fn spawn(self: &Arc<Self>, task: impl FnOnce() + Send + 'static) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let tasks = Arc::clone(self);
        shuttle::thread::spawn(move || {
            task();
            tasks.0.fetch_sub(1, Ordering::Relaxed);
        });
    }

    fn wait(&self) {
        while self.0.load(Ordering::Relaxed) > 0 {
            shuttle::thread::yield_now();
        }
    }
}

/// Every disk job is a task.
struct Pool(Arc<Tasks>);

impl Executor for Pool {
    fn submit(&self, _: Lane, job: Job) -> Result<(), Job> {
        self.0.spawn(job);
        Ok(())
    }
}

/// Every answer of the origin is a task.
struct Server(Arc<Tasks>);

impl Fetcher for Server {
    fn start(&self, mut job: FetchJob) {
        self.0.spawn(move || {
            let blob = (0..SIZES.len()).find(|n| name(*n) == *job.name()).unwrap();
            if let Err(error) = job.version(&facts(blob), true) {
                return job.finish(Err(error));
            }
            job.data(bytes_of(blob, job.range()));
            job.finish(Ok(()));
        });
    }
}

struct World {
    disk: Arc<Disk>,
    cache: Arc<Cache>,
    source: Arc<Source>,
    clock: Arc<SimClock>,
    totals: Arc<Totals>,
    wrong: AtomicBool,
    blobs: Range<usize>,
}

/// One schedule.
pub(super) fn run(totals: &Arc<Totals>) {
    totals.schedules.fetch_add(1, Ordering::Relaxed);
    let mut rng = Rng::new(shuttle::rand::thread_rng().next_u64());
    let tasks = Arc::new(Tasks::default());
    let world = Arc::new(World::new(&tasks, totals, &mut rng));
    for _ in 0..READERS {
        let (world, rng) = (Arc::clone(&world), rng.fork());
        tasks.spawn(move || world.reader(rng));
    }
    let (evictor, ticker) = (Arc::clone(&world), Arc::clone(&world));
    let (for_evictor, for_ticker) = (rng.fork(), rng.fork());
    tasks.spawn(move || evictor.evictor(for_evictor));
    tasks.spawn(move || ticker.ticker(for_ticker));
    tasks.wait();
    totals.add(&world.cache.stats());
    assert!(
        !world.wrong.load(Ordering::Relaxed),
        "a reader had wrong bytes"
    );
}

impl World {
    fn new(tasks: &Arc<Tasks>, totals: &Arc<Totals>, rng: &mut Rng) -> Self {
        let geometry = tiny_geometry();
        // In the least world two blobs share one page: whatever can go wrong there needs the fewest steps.
        let (blobs, room) = match rng.chance(150) {
            true => (3..5, PAGE as u64),
            false => (0..3, [4, 6, 7][rng.index(3)] * PAGE as u64),
        };
        let store = CrashStore::format(geometry, geometry.index_len() + room, rng.next_u64());
        let disk = Arc::new(Disk::new(store));
        let clock = Arc::new(SimClock::default());
        let deps = CacheDeps {
            storage: Arc::clone(&disk) as Arc<dyn Storage>,
            executor: Arc::new(Pool(Arc::clone(tasks))),
            clock: Arc::new(Arc::clone(&clock)),
            host: HostIdentity {
                boot_id: [1; 16],
                disk_mount_id: 1,
                ..HostIdentity::default()
            },
        };
        let cache = Cache::open(deps, Config::default()).unwrap();
        let policy = ChunkPolicy::Fixed(ChunkSize::MIN);
        let server = Arc::new(Server(Arc::clone(tasks)));
        let source = Source::new(&cache, "shuttle:", "", server, policy);
        Self {
            disk,
            cache,
            source,
            clock,
            totals: Arc::clone(totals),
            wrong: AtomicBool::new(false),
            blobs,
        }
    }

    /// Reads blobs, now if that is possible, and judges every byte.
    fn reader(&self, mut rng: Rng) {
        let readers: Vec<_> = (0..SIZES.len())
            .map(|blob| self.source.blob(&name(blob), &facts(blob)).reader())
            .collect();
        for _ in 0..8 {
            let blob = self.blobs.start + rng.index(self.blobs.len());
            let size = SIZES[blob] as u64;
            let first = rng.below(size / PAGE as u64) * PAGE as u64;
            let len = [1, PAGE as u64, 2 * PAGE as u64 + 7, size][rng.index(4)];
            let range = ByteRange::at(first, len).clip(ByteRange::new(0, size));
            let mut buf = vec![0; place(range.len())];
            let bytes = match readers[blob].read_now(range.start, &mut buf) {
                Some(got) => Bytes::from(buf).slice(..got),
                None => {
                    let (send, receive) = shuttle::sync::mpsc::channel();
                    let done = Box::new(move |result| drop(send.send(result)));
                    readers[blob].read(range, done);
                    receive
                        .recv()
                        .expect("every read is answered")
                        .expect("nothing fails here")
                }
            };
            self.totals.judged.fetch_add(1, Ordering::Relaxed);
            if bytes != bytes_of(blob, range) {
                // The others come to their end first: a task that panics with something locked would stop them for good.
                eprintln!("blob {blob}, {range}: the first byte is {:#x}", bytes[0]);
                self.wrong.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Drops pages that the disk may never have got, and descriptors.
    fn evictor(&self, mut rng: Rng) {
        for _ in 0..12 {
            let (chunks, index) = (rng.chance(160), rng.chance(110));
            self.disk.store.faults(|faults| {
                faults.failing_writeback = if chunks { 0..u32::MAX } else { 0..0 };
                faults.failing_index_writeback = index;
                faults.reads_around = 20;
            });
            match rng.chance(192) {
                true => self.disk.store.evict_all(),
                false => self.disk.store.evict(rng.next_u64()),
            }
            if rng.chance(60) {
                self.disk.forget_descriptors();
            }
            point();
            point();
        }
    }

    /// Lets time pass.
    fn ticker(&self, mut rng: Rng) {
        for _ in 0..4 {
            self.clock.advance(Duration::from_millis(rng.below(1500)));
            self.cache.tick();
            point();
        }
    }
}
