//! The engine over a real directory. Its disk jobs and fetches are run one by one on the bench's own thread, so that what
//! is measured is work, not waiting.

use std::fs;
use std::hint::black_box;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use larder::engine::{Cache, CacheDeps, ChunkPolicy, Config, Reader, Source, Verify};
use larder::format::{FORMAT_MINOR, Features, Geometry, Superblock};
use larder::remote::Sink;
use larder::storage::CacheDir;
use larder::testing::Rng;
use larder::testing::sim::{SimClock, SimExecutor, SimFetcher};
use larder::units::{
    ByteRange, ChunkSize, Facts, FileKind, ObjectName, Timestamp, Uuid, Validator,
};
use tempfile::TempDir;

const BLOB_SIZE: u64 = 64 << 20;

/// A cache directory of the geometry for `capacity`, with a sparse index: opening does not look at most of it.
fn cache_dir(capacity: u64) -> TempDir {
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("its owner may");
    let geometry = Geometry::for_capacity(capacity, None, None).expect("a possible size");
    let index = fs::File::create(path.join("index.larder")).expect("a new file");
    index.set_len(geometry.index_len()).expect("a sparse file");
    for sequence in [0, 1] {
        let superblock = Superblock {
            minor: FORMAT_MINOR,
            uuid: Uuid([7; 16]),
            sequence,
            features: Features::default(),
            geometry,
            owner_uid: rustix::process::geteuid().as_raw(),
            capacity,
            created_at: 0,
        };
        let written = index.write_all_at(&superblock.encode(), superblock.offset());
        written.expect("two sectors fit");
    }
    dir
}

/// An opened cache and whoever does its work.
struct Rig {
    cache: Arc<Cache>,
    executor: Arc<SimExecutor>,
    fetcher: Arc<SimFetcher>,
    rng: Mutex<Rng>,
    content: Bytes,
}

impl Rig {
    fn open(dir: &TempDir) -> Self {
        Self::open_with(dir, Verify::First)
    }

    fn open_with(dir: &TempDir, verify: Verify) -> Self {
        // Readahead would have a fill measure more than what it asks for.
        let config = Config {
            readahead_max: 0,
            verify,
            ..Config::default()
        };
        let storage = CacheDir::open(dir.path()).expect("the directory was just made");
        let executor = Arc::new(SimExecutor::default());
        let deps = CacheDeps {
            host: storage.host(),
            storage: Arc::new(storage),
            executor: Arc::new(Arc::clone(&executor)),
            clock: Arc::new(Arc::new(SimClock::default())),
        };
        Self {
            cache: Cache::open(deps, config).expect("a valid index"),
            executor,
            fetcher: Arc::new(SimFetcher::default()),
            rng: Mutex::new(Rng::new(1)),
            content: Bytes::from(vec![0x5a; 4 << 20]),
        }
    }

    fn source(&self) -> Arc<Source> {
        let chunks = ChunkPolicy::Fixed(ChunkSize::DEFAULT);
        Source::new(
            &self.cache,
            "bench:",
            "",
            Arc::new(Arc::clone(&self.fetcher)),
            chunks,
        )
    }

    /// Runs every disk job and answers every fetch, until nothing is left to do.
    fn settle(&self) {
        let mut rng = self.rng.lock().expect("one thread");
        loop {
            while self.executor.step(&mut rng) {}
            let Some(mut job) = self.fetcher.take(&mut rng) else {
                return;
            };
            let mut left = usize::try_from(job.range().len()).expect("a range in memory");
            let delivered = job.version(&facts(), true).map(|()| {
                while left > 0 {
                    let len = left.min(self.content.len());
                    job.data(self.content.slice(..len));
                    left -= len;
                }
            });
            job.finish(delivered);
        }
    }

    fn read(&self, reader: &Reader, range: ByteRange) {
        let len = Arc::new(AtomicU64::new(0));
        let answered = Arc::clone(&len);
        let done = move |result: Result<Bytes, _>| {
            let bytes = result.expect("the remote answers");
            answered.store(bytes.len() as u64, Ordering::Relaxed);
        };
        reader.read(range, Box::new(done));
        self.settle();
        assert_eq!(len.load(Ordering::Relaxed), range.len());
    }

    /// A reader of a blob that is wholly cached.
    fn filled(&self) -> Reader {
        let reader = self.source().blob(&name(), &facts()).reader();
        for start in (0..BLOB_SIZE).step_by(1 << 20) {
            self.read(&reader, ByteRange::at(start, 1 << 20));
        }
        self.cache.tick();
        self.settle();
        reader
    }
}

fn name() -> ObjectName {
    ObjectName::new(*b"some/file.bin")
}

fn facts() -> Facts {
    let time = Timestamp {
        secs: 1_700_000_000,
        nanos: 0,
    };
    Facts {
        kind: FileKind::File,
        size: BLOB_SIZE,
        mtime: time,
        ctime: time,
        perm: 0o644,
        uid: 0,
        gid: 0,
        rdev: 0,
        validator: Some(Validator::Strong(b"\"1\"".as_slice().into())),
    }
}

pub(crate) fn hits(c: &mut Criterion) {
    hits_with(c, "cached hit", Verify::First);
    hits_with(c, "cached hit, always checked", Verify::Always);
}

fn hits_with(c: &mut Criterion, group: &str, verify: Verify) {
    let dir = cache_dir(1 << 30);
    let rig = Rig::open_with(&dir, verify);
    let reader = rig.filled();
    let mut group = c.benchmark_group(group);
    for (name, len) in [("4K", 4 << 10), ("128K", 128 << 10)] {
        let mut buf = vec![0; len];
        let mut rng = Rng::new(2);
        let steps = BLOB_SIZE / len as u64;
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let offset = rng.below(steps) * len as u64;
                let read = reader.read_now(black_box(offset), &mut buf);
                assert_eq!(read, Some(len));
            });
        });
    }
    group.finish();
}

pub(crate) fn lookups(c: &mut Criterion) {
    let dir = cache_dir(1 << 30);
    let rig = Rig::open(&dir);
    rig.filled();
    let source = rig.source();
    c.bench_function("lookup: name to first 4K", |b| {
        b.iter(|| {
            let reader = source.blob(&name(), &facts()).reader();
            rig.read(&reader, ByteRange::at(0, 4096));
        });
    });
}

pub(crate) fn fills(c: &mut Criterion) {
    let dir = cache_dir(64 << 30);
    let rig = Rig::open(&dir);
    let source = rig.source();
    let mut group = c.benchmark_group("fill");
    group.sample_size(20);
    for (what, len) in [("block of 64K", 64u64 << 10), ("16 blocks", 1 << 20)] {
        let mut fresh = (0u64..).map(|n| ObjectName::new(format!("{what}/{n}").into_bytes()));
        group.throughput(Throughput::Bytes(len));
        group.bench_function(what, |b| {
            b.iter_batched(
                || {
                    source
                        .blob(&fresh.next().expect("endless"), &facts())
                        .reader()
                },
                |reader| rig.read(&reader, ByteRange::at(0, len)),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

pub(crate) fn opens(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    group.sample_size(10);
    for (name, capacity) in [("1 GiB", 1 << 30), ("1 TiB", 1 << 40)] {
        let dir = cache_dir(capacity);
        group.bench_function(name, |b| b.iter(|| Rig::open(&dir).cache.stats()));
    }
    group.finish();
}
