//! The checker beside a daemon at work: what moves is no finding.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::check::{CheckOptions, Disk, check};
use larder::engine::{ChunkPolicy, Config};
use larder::host::OpenedCache;
use larder::remote::{BoxFuture, Remote, RemoteError, Sink};
use larder::storage::{CacheDir, CreateOptions, open_or_create};
use larder::testing::Rng;
use larder::units::{ByteRange, ChunkSize, Facts, ObjectName, Validator};

use crate::model::{for_each_seed, tick};
use crate::world::World;

const SIZE: u64 = 3_000_000;
const CAPACITY: u64 = 16 << 20;
const TIME: Duration = Duration::from_secs(6);
/// When it gives up.
const NEVER: Duration = Duration::from_secs(300);

/// Objects that all change together, to a version with this number.
struct Versions(AtomicU64);

fn facts(version: u64) -> Facts {
    Facts::file(
        SIZE,
        Validator::Strong(version.to_string().into_bytes().into()),
    )
}

impl Remote for Versions {
    fn identity(&self) -> &str {
        "versions:"
    }

    fn stat<'a>(&'a self, _name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        Box::pin(async { Ok(facts(self.0.load(Ordering::Relaxed))) })
    }

    fn fetch<'a>(
        &'a self,
        _name: &'a ObjectName,
        range: ByteRange,
        _bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async move {
            let version = self.0.load(Ordering::Relaxed);
            sink.version(&facts(version), true)?;
            let byte = u8::try_from(version % 251).unwrap_or_default();
            let len = usize::try_from(range.len()).unwrap_or_default();
            sink.data(Bytes::from(vec![byte; len]));
            Ok(())
        })
    }
}

/// Reads here and there until it is told to stop.
fn read(opened: &OpenedCache, remote: &Arc<Versions>, over: &AtomicBool, seed: u64) {
    let mut rng = Rng::new(seed);
    let chunks = [16, 18, 20].map(|log2| ChunkSize::from_log2(log2).unwrap());
    let sources = chunks.map(|chunk| {
        let remote = Arc::clone(remote) as Arc<dyn Remote>;
        opened.attach(remote, &chunk.log2().to_string(), ChunkPolicy::Fixed(chunk))
    });
    while !over.load(Ordering::Relaxed) {
        if rng.chance(2) {
            remote.0.fetch_add(1, Ordering::Relaxed);
        }
        let name = ObjectName::new(rng.below(12).to_string().into_bytes());
        let facts = facts(remote.0.load(Ordering::Relaxed));
        let source = &sources[rng.index(sources.len())];
        let reader = source.blob(&name, &facts).reader();
        for _ in 0..4 {
            let range = ByteRange::at(rng.below(SIZE), 1 + rng.below(100_000));
            // A version that was replaced meanwhile is stale, and that is all.
            drop(reader.read_blocking(range));
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test is bounded by the time of day"
)]
fn check_until(path: &Path, enough: impl Fn(u64) -> bool) -> u64 {
    let (begun, mut checks) = (Instant::now(), 0);
    while begun.elapsed() < TIME || !enough(checks) {
        assert!(begun.elapsed() < NEVER, "{checks} checks beside too little");
        let cache = CacheDir::open_for_check(path).unwrap();
        let disk = Disk::of(&cache).on(cache.host());
        assert!(disk.live, "the lock is somebody else's");
        let plan = if checks % 2 == 0 {
            CheckOptions::PLAIN
        } else {
            CheckOptions::DEEP
        };
        let report = check(disk, plan, &mut |_| ControlFlow::Continue(())).unwrap();
        assert!(
            report.is_clean(),
            "check {checks}: {report}{:?}",
            report.findings
        );
        checks += 1;
    }
    checks
}

#[test]
fn nothing_is_found_in_a_healthy_cache_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let options = CreateOptions {
        capacity: CAPACITY,
        slots: Some(2048),
        files: None,
    };
    drop(open_or_create(dir.path(), &options, &mut |_| {}).unwrap());
    let opened = OpenedCache::open(dir.path(), CAPACITY, Config::default()).unwrap();
    let remote = Arc::new(Versions(AtomicU64::new(1)));
    let over = AtomicBool::new(false);
    let checks = std::thread::scope(|scope| {
        for seed in 0..3 {
            let (opened, remote, over) = (&opened, &remote, &over);
            scope.spawn(move || read(opened, remote, over, seed));
        }
        // On a busy machine it takes longer until there was something to see.
        let enough = |checks| {
            let stats = opened.cache().stats();
            checks > 3 && stats.slots_reused > 0 && stats.blocks_filled > 1000
        };
        let checks = catch_unwind(AssertUnwindSafe(|| check_until(dir.path(), enough)));
        over.store(true, Ordering::Relaxed);
        checks
    });
    let checks = checks.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let stats = opened.cache().stats();
    eprintln!(
        "{checks} checks beside {} blocks filled, {} slots reused",
        stats.blocks_filled, stats.slots_reused
    );
    drop(opened);
    let cache = CacheDir::open_for_repair(dir.path()).unwrap();
    let disk = Disk::of(&cache).on(cache.host());
    let report = check(disk, CheckOptions::DEEP, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_clean(), "closed: {report}{:?}", report.findings);
}

/// One thing that a reader, the origin or time does; nothing fails.
fn operate(world: &mut World) {
    let object = world.rng.index(world.origin.objects.len());
    match world.rng.below(10) {
        0..4 => {
            let handle = world.open(object);
            let start = world.rng.below(100_000);
            let len = 1 + world.rng.below(100_000);
            world.read(handle, ByteRange::at(start, len));
        }
        4..8 => {
            for _ in 0..world.rng.below(12) {
                world.step(true);
            }
        }
        8 => world.origin.replace(object, &mut world.rng),
        _ => {
            let ms = world.rng.below(150);
            tick(world, Duration::from_millis(ms));
            let handles = world.handles.len();
            world.handles[..handles / 2].fill_with(|| None);
        }
    }
}

/// Between any two jobs of the daemon its index claims nothing that is not so: the same without chance.
#[test]
fn nothing_is_found_between_two_jobs_of_a_healthy_daemon() {
    for_each_seed(150, |seed| {
        let mut world = World::new(seed);
        for at in 0..60 {
            operate(&mut world);
            let disk = Disk::of(&*world.store);
            let report =
                check(disk, CheckOptions::DEEP, &mut |_| ControlFlow::Continue(())).unwrap();
            let found = &report.findings;
            assert!(report.is_clean(), "seed {seed}, step {at}: {found:?}");
        }
    });
}
