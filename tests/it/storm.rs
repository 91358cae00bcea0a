//! A storm of real threads: readers, a failing page cache, a changing origin, all at once on one small cache.
//!
//! What the model judges one step at a time is judged here under real concurrency: the bytes are those of one version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use larder::engine::{
    Blob, Cache, CacheDeps, ChunkPolicy, Config, DiskPool, Executor, FetchJob, Fetcher, Job, Lane,
    Opening, ReadError, Reader, Source, SystemClock, Verify,
};
use larder::storage::HostIdentity;
use larder::testing::{CrashStore, Rng, trust_every_checksum};
use larder::units::{ByteRange, ChunkSize, Facts, ObjectName};
use parking_lot::Mutex;

use crate::origin::Origin;
use crate::world::{TINY_CAPACITY, place, tiny_geometry};

/// An origin that answers on threads of its own.
struct Server {
    origin: Arc<Mutex<Origin>>,
    rng: Mutex<Rng>,
}

impl Fetcher for Server {
    fn start(&self, job: FetchJob) {
        let (origin, mut rng) = (Arc::clone(&self.origin), self.rng.lock().fork());
        std::thread::spawn(move || {
            // The answer is made from a copy, so that a slow one does not stop the origin from changing.
            let mut copy = origin.lock().clone();
            copy.serve_all(job, &mut rng);
        });
    }
}

struct Storm {
    store: Arc<CrashStore>,
    cache: Arc<Cache>,
    source: Arc<Source>,
    origin: Arc<Mutex<Origin>>,
    over: AtomicBool,
    reads: AtomicU64,
    inline: AtomicU64,
}

/// The disk pool, on whose threads every checksum is taken for right if that is asked for.
struct Pool {
    pool: DiskPool,
    trusting: bool,
}

impl Executor for Pool {
    fn submit(&self, lane: Lane, job: Job) -> Result<(), Job> {
        if !self.trusting {
            return self.pool.submit(lane, job);
        }
        let job = Box::new(move || {
            let _unsafe = trust_every_checksum();
            job();
        });
        self.pool.submit(lane, job)
    }

    fn has_waiting_reads(&self) -> bool {
        self.pool.has_waiting_reads()
    }
}

impl Storm {
    fn new(seed: u64, verify: Verify, trusting: bool) -> Self {
        let mut rng = Rng::new(seed);
        let store = Arc::new(CrashStore::format(tiny_geometry(), TINY_CAPACITY, seed));
        let origin = Arc::new(Mutex::new(Origin::new(&mut rng, 4)));
        for object in 0..4 {
            origin.lock().replace_with_len(object, 100_000, &mut rng);
        }
        let deps = CacheDeps {
            storage: Arc::clone(&store) as Arc<dyn larder::storage::Storage>,
            executor: Arc::new(Pool {
                pool: DiskPool::new(3, 2, 64).unwrap(),
                trusting,
            }),
            clock: Arc::new(SystemClock::default()),
            host: HostIdentity {
                boot_id: [1; 16],
                disk_mount_id: 1,
                ..HostIdentity::default()
            },
        };
        let config = Config {
            verify,
            ..Config::default()
        };
        let cache = Cache::open(deps, config).unwrap();
        let server = Server {
            origin: Arc::clone(&origin),
            rng: Mutex::new(rng),
        };
        let policy = ChunkPolicy::Fixed(ChunkSize::MIN);
        let source = Source::new(&cache, "storm:", "", Arc::new(server), policy);
        let (over, reads, inline) = Default::default();
        Self {
            store,
            cache,
            source,
            origin,
            over,
            reads,
            inline,
        }
    }

    fn go_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Opens objects, reads them in random pieces, and judges every byte.
    fn reader(&self, mut rng: Rng) {
        while self.go_on() {
            let object = rng.index(4);
            let (name, now) = {
                let origin = self.origin.lock();
                let object = &origin.objects[object];
                (object.name.clone(), Arc::clone(object.now()))
            };
            let blob = self.source.blob(&name, &now.facts);
            let (reader, shown) = match rng.chance(128) {
                true => match self.open(&name, blob) {
                    Some(opened) => opened,
                    None => continue,
                },
                false => (blob.reader(), now.facts.clone()),
            };
            for _ in 0..rng.below(60) {
                let start = rng.below(shown.size.max(1));
                let range = ByteRange::at(start, 1 + rng.below(20_000));
                let bytes = match self.read(&reader, range, rng.chance(100)) {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => continue,
                    Err(ReadError::Stale) => break,
                    Err(error) => panic!("nothing explains: {error}"),
                };
                // Each version has a time of its own: what was shown is what is read, to its last byte.
                let data = {
                    let origin = self.origin.lock();
                    let version = origin.objects[object].version_of(&shown).unwrap();
                    origin.objects[object].versions[version].data.clone()
                };
                let range = range.clip(ByteRange::new(0, data.len() as u64));
                let right = match range.is_empty() {
                    true => Bytes::new(),
                    false => data.slice(place(range.start)..place(range.end)),
                };
                assert!(bytes == right, "wrong bytes of {name}, {range}");
                self.reads.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Opens a blob as the file system does: another version than the one shown is opened in its place. `None` where the
    /// object changes faster than that.
    fn open(&self, name: &ObjectName, blob: Arc<Blob>) -> Option<(Reader, Facts)> {
        let mut blob = blob;
        loop {
            let shown = Facts::clone(&blob.facts());
            let (send, receive) = std::sync::mpsc::channel();
            blob.open(move |came| drop(send.send(came)));
            let came = receive.recv_timeout(Duration::from_secs(60));
            match came.expect("every open is answered") {
                Opening::Unasked => return Some((blob.reader(), shown)),
                Opening::Fetched(first) => return Some((blob.reader_from(first), shown)),
                Opening::Changed(head) => blob = self.source.blob_from(name, head?),
                Opening::Failed(ReadError::Stale) => return None,
                Opening::Failed(error) => panic!("nothing explains: {error}"),
            }
        }
    }

    fn read(
        &self,
        reader: &Reader,
        range: ByteRange,
        now_only: bool,
    ) -> Result<Option<Bytes>, ReadError> {
        let mut buf = vec![0xEE; place(range.len())];
        if let Some(got) = reader.read_now(range.start, &mut buf) {
            buf.truncate(got);
            self.inline.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(buf.into()));
        }
        if now_only && reader.blob().is_bound() {
            return Ok(None);
        }
        let (send, receive) = std::sync::mpsc::channel();
        reader.read(range, Box::new(move |result| drop(send.send(result))));
        let answer = receive.recv_timeout(Duration::from_secs(60));
        answer.expect("every read is answered").map(Some)
    }

    /// Drops pages, some of which the disk never got.
    fn evictor(&self, mut rng: Rng) {
        while self.go_on() {
            let failing = if rng.chance(128) { 0..8 } else { 0..0 };
            self.store.faults(|faults| {
                faults.failing_writeback = failing;
                faults.reads_around = 20;
            });
            self.store.evict(rng.next_u64());
            std::thread::sleep(Duration::from_micros(rng.below(600)));
        }
    }

    /// Ticks, replaces objects, begins a scrub now and then, and has everything dropped.
    fn changer(&self, mut rng: Rng) {
        while self.go_on() {
            self.cache.tick();
            match rng.below(60) {
                0..6 => self.cache.scrub(0),
                6 => self.cache.scrub(1 << 20),
                7 => self.cache.stop_scrub(),
                8 => drop(self.cache.evict_all(0)),
                _ => {}
            }
            if rng.chance(60) {
                let object = rng.index(4);
                self.origin
                    .lock()
                    .replace_with_len(object, 100_000, &mut rng);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Lets four readers, an evictor whose disk loses pages and a changing origin at one cache, until the time is over or a
/// reader has seen a wrong byte.
fn blow(storm: &Storm, seconds: u64, trusting: bool) {
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let _over = OnDrop(&storm.over);
                let _unsafe = trusting.then(trust_every_checksum);
                storm.reader(Rng::new(seed));
            });
        }
        scope.spawn(|| storm.evictor(Rng::new(11)));
        scope.spawn(|| storm.changer(Rng::new(12)));
        for _ in 0..seconds * 10 {
            if storm.go_on() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        storm.over.store(true, Ordering::Relaxed);
    });
}

/// Four readers, an evictor whose disk loses pages, a scrub and a changing origin agree on every byte.
#[test]
fn readers_in_a_storm_get_the_right_bytes() {
    let seconds = crate::model::number_from_env("LARDER_STORM_SECONDS").unwrap_or(4);
    for (verify, seconds) in [
        (Verify::First, seconds),
        (Verify::Always, seconds.div_ceil(2)),
    ] {
        let storm = Storm::new(7, verify, false);
        blow(&storm, seconds, false);
        let (reads, inline) = (storm.reads.into_inner(), storm.inline.into_inner());
        let stats = storm.cache.stats();
        eprintln!(
            "{verify:?}: {reads} reads judged, {inline} inline, {} bad blocks, {stats:?}",
            stats.blocks_bad
        );
        assert!(
            reads > 250 && inline > 50,
            "the storm was a breeze: {reads} reads, {inline} inline"
        );
        assert!(stats.blocks_bad > 0, "no page was ever lost");
        assert!(stats.scrub.passes > 0, "nothing was scrubbed");
    }
}

/// The rig sees: with every checksum taken for right, some reader gets a wrong byte within seconds.
#[test]
fn the_unsafe_variant_is_caught() {
    let storm = Storm::new(7, Verify::First, true);
    let blown = std::panic::AssertUnwindSafe(|| blow(&storm, 30, true));
    let caught = std::panic::catch_unwind(blown).is_err();
    let reads = storm.reads.load(Ordering::Relaxed);
    eprintln!("the variant that trusts every checksum was caught after {reads} reads");
    assert!(
        caught,
        "{reads} reads without checksums, and the storm has seen nothing"
    );
}

/// Ends the storm when a reader ends, for whatever reason.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
