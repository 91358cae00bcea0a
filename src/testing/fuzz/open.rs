//! The target `open`: a small cache, filled by the engine, of which the input damages sectors and files, opened by the
//! engine and read from end to end.
//!
//! Held here: no damage makes the engine panic or hang, no read errs, and every byte that is read is the origin's: what is
//! damaged is fetched again. Half of the inputs are read after a repair by the checker.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::damage::{Damage, PATCH_LEN, PATCHES_MAX};
use crate::check::{CheckOptions, Disk, Mode, run};
use crate::engine::{Cache, CacheDeps, ChunkPolicy, Config, OpenError, ReadError, Source};
use crate::format::Geometry;
use crate::remote::Sink;
use crate::storage::{HostIdentity, Storage};
use crate::testing::sim::{SimClock, SimExecutor, SimFetcher};
use crate::testing::{CrashStore, Fate, Rng};
use crate::units::{ByteRange, ChunkSize, Facts, FileKind, ObjectName, Timestamp, Validator};

/// What the origin has: names and sizes, of one and of several chunks.
const OBJECTS: [(&str, usize); 3] = [("a", 150_000), ("b", 9_000), ("c/d", 65_536)];
const CAPACITY: u64 = 16 << 20;
/// More steps than any read of these objects can take.
const STEPS_MAX: usize = 10_000;

/// The target. The first byte chooses the boot and whether a repair goes first; then each five bytes are a patch.
pub fn open(data: &[u8]) {
    let Some((how, patches)) = data.split_first() else {
        return;
    };
    let store = filled().crash_with(|_| Fate::Keep);
    let damage = Damage::of(&store);
    for patch in patches.as_chunks::<PATCH_LEN>().0.iter().take(PATCHES_MAX) {
        damage.apply(&store, patch);
    }
    if how & 1 == 1 {
        let observe = &mut |_| ControlFlow::Continue(());
        drop(run(
            Disk::of(&store),
            Mode::Repair,
            CheckOptions::DEEP,
            observe,
        ));
    }
    store.evict_all();
    let daemon = match Daemon::start(Arc::new(store), how >> 1 & 1) {
        Ok(daemon) => daemon,
        // Such a cache is refused with a sentence, and nothing is read from it.
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // Twice: what the first round fetched is in the cache afterwards, beside what was damaged.
    for _ in 0..2 {
        daemon.read_all();
    }
}

/// The cache before any damage: every object was read, and the cache closed. The variant that trusts every checksum has
/// one of its own, with the checksums that it writes, whichever test comes first.
fn filled() -> &'static CrashStore {
    static FILLED: [OnceLock<CrashStore>; 2] = [OnceLock::new(), OnceLock::new()];
    let [right, trusting] = &FILLED;
    let filled = if crate::format::unsafe_variant::trusts_all() {
        trusting
    } else {
        right
    };
    filled.get_or_init(|| {
        let geometry = Geometry::new(8, 8, 8, 0).expect("the smallest geometry there is");
        let store = Arc::new(CrashStore::format(geometry, CAPACITY, 1));
        let daemon = Daemon::start(Arc::clone(&store), 0).expect("a new cache is opened");
        daemon.read_all();
        daemon.rest();
        daemon.cache.close().expect("the store has no faults");
        store.crash_with(|_| Fate::Keep)
    })
}

/// The engine over a store, with everything that it waits for in this thread's hands.
struct Daemon {
    cache: Arc<Cache>,
    source: Arc<Source>,
    executor: Arc<SimExecutor>,
    fetcher: Arc<SimFetcher>,
    rng: Mutex<Rng>,
}

impl Daemon {
    fn start(store: Arc<CrashStore>, boot: u8) -> Result<Self, OpenError> {
        let (executor, fetcher) = (Arc::<SimExecutor>::default(), Arc::<SimFetcher>::default());
        let deps = CacheDeps {
            storage: store as Arc<dyn Storage>,
            executor: Arc::new(Arc::clone(&executor)),
            clock: Arc::new(Arc::<SimClock>::default()),
            host: HostIdentity {
                boot_id: [boot + 1; 16],
                disk_mount_id: 1,
                ..HostIdentity::default()
            },
        };
        let cache = Cache::open(deps, Config::default())?;
        let chunks = ChunkPolicy::Fixed(ChunkSize::MIN);
        let source = Source::new(&cache, "fuzz:", "", Arc::new(Arc::clone(&fetcher)), chunks);
        let rng = Mutex::new(Rng::new(1));
        Ok(Self {
            cache,
            source,
            executor,
            fetcher,
            rng,
        })
    }

    fn read_all(&self) {
        for (n, (_, size)) in OBJECTS.into_iter().enumerate() {
            let right = content(n, size);
            let got = self.read(n, size).expect("an origin without faults");
            assert!(got == right, "wrong bytes of object {n}");
        }
    }

    /// Reads an object, and carries out whatever that takes.
    fn read(&self, number: usize, size: usize) -> Result<Bytes, ReadError> {
        let reader = self
            .source
            .blob(&name(number), &facts(number, size))
            .reader();
        let mut now = vec![0; size];
        if reader.read_now(0, &mut now) == Some(size) {
            return Ok(now.into());
        }
        let outcome = Arc::new(Mutex::new(None));
        let place = Arc::clone(&outcome);
        let range = ByteRange::at(0, size as u64);
        reader.read(range, Box::new(move |result| *place.lock() = Some(result)));
        for _ in 0..STEPS_MAX {
            if let Some(result) = outcome.lock().take() {
                return result;
            }
            self.step();
        }
        panic!("a read is not answered");
    }

    /// One step of the disk, or else of the origin; false where nothing is left to be done.
    fn step(&self) -> bool {
        let mut rng = self.rng.lock();
        if self.executor.step(&mut rng) {
            return true;
        }
        let Some(mut job) = self.fetcher.take(&mut rng) else {
            return false;
        };
        drop(rng);
        let asked = OBJECTS
            .iter()
            .position(|(n, _)| job.name().as_bytes() == n.as_bytes());
        let number = asked.expect("only what there is was asked for");
        let bytes = content(number, OBJECTS[number].1);
        let answer = job.version(&facts(number, bytes.len()), true);
        if answer.is_ok() {
            let at = |offset| usize::try_from(offset).unwrap_or_default();
            job.data(bytes.slice(at(job.range().start)..at(job.range().end)));
        }
        job.finish(answer);
        true
    }

    /// Carries out everything that waits.
    fn rest(&self) {
        self.cache.tick();
        for _ in 0..STEPS_MAX {
            if !self.step() {
                return;
            }
        }
    }
}

/// What waits holds the cache, which holds those who wait: without an end to that neither ever goes.
impl Drop for Daemon {
    fn drop(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.step() {
                return;
            }
        }
    }
}

fn name(number: usize) -> ObjectName {
    ObjectName::new(OBJECTS[number].0.as_bytes())
}

/// Bytes that differ from place to place and from object to object.
fn content(number: usize, len: usize) -> Bytes {
    static CONTENT: OnceLock<Vec<Bytes>> = OnceLock::new();
    let all = CONTENT.get_or_init(|| {
        let bytes = |number, len| {
            let mut bytes = vec![0; len];
            Rng::new(number as u64 + 77).fill(&mut bytes);
            Bytes::from(bytes)
        };
        OBJECTS
            .iter()
            .enumerate()
            .map(|(n, (_, len))| bytes(n, *len))
            .collect()
    });
    all[number].slice(..len)
}

fn facts(number: usize, size: usize) -> Facts {
    Facts {
        kind: FileKind::File,
        size: size as u64,
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        perm: 0o644,
        uid: 0,
        gid: 0,
        rdev: 0,
        validator: Some(Validator::Strong(format!("v{number}").into_bytes().into())),
    }
}
