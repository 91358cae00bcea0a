//! One run of the daemon in the simulated world, and how the worlds' daemons differ.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder::engine::{
    Cache, CacheDeps, ChunkPolicy, ChunkRule, Config, Source, SourceSettings, Verify,
};
use larder::storage::{ChunkFile, ChunkStat, HostIdentity, NowRead, Space, Storage};
use larder::testing::sim::{SimClock, SimExecutor, SimFetcher};
use larder::testing::{CrashStore, Faults, Rng};
use larder::units::{ChunkSize, SlotId};

use super::{TIMEOUT, tiny_geometry};

/// The disk as one daemon sees it: a killed daemon reaches it no more.
struct Reach {
    store: Arc<CrashStore>,
    alive: AtomicBool,
}

impl Reach {
    fn store(&self) -> io::Result<&CrashStore> {
        match self.alive.load(Ordering::Relaxed) {
            true => Ok(&self.store),
            false => Err(io::Error::other("this daemon was killed")),
        }
    }
}

impl Storage for Reach {
    fn index_len(&self) -> io::Result<u64> {
        self.store()?.index_len()
    }
    fn read_index(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.store()?.read_index(offset, buf)
    }
    fn read_index_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        self.store()?.read_index_now(offset, buf)
    }
    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.store()?.write_index(offset, data)
    }
    fn sync_index(&self) -> io::Result<()> {
        self.store()?.sync_index()
    }
    fn read_chunk(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.store()?.read_chunk(file, offset, buf)
    }
    fn read_chunk_now(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        self.store()?.read_chunk_now(file, offset, buf)
    }
    fn read_chunk_cold(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.store()?.read_chunk_cold(file, offset, buf)
    }
    fn write_chunk(&self, file: ChunkFile, offset: u64, data: &[u8]) -> io::Result<u64> {
        self.store()?.write_chunk(file, offset, data)
    }
    fn cut_chunk(&self, file: ChunkFile, len: u64) -> io::Result<u64> {
        self.store()?.cut_chunk(file, len)
    }
    fn remove_chunk(&self, slot: SlotId) -> io::Result<()> {
        self.store()?.remove_chunk(slot)
    }
    fn list_chunks(&self, from: SlotId) -> io::Result<(Vec<SlotId>, Option<SlotId>)> {
        self.store()?.list_chunks(from)
    }
    fn stat_chunk(&self, slot: SlotId) -> io::Result<Option<ChunkStat>> {
        self.store()?.stat_chunk(slot)
    }
    fn is_sealed(&self) -> bool {
        self.store.is_sealed()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.store()?.sync_all()
    }
    fn space(&self) -> io::Result<Space> {
        self.store()?.space()
    }
}

/// How a world's daemons are set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) chunk: ChunkSize,
    /// The objects' chunks are of different sizes, `chunk` and larger.
    pub(crate) mixed: bool,
    /// How many full chunks of 64 KiB find room.
    pub(crate) room: u64,
    pub(crate) verify: Verify,
    /// Bytes a second of the scrub after a cut.
    pub(crate) scrub_rate: Option<u64>,
}

impl Setup {
    /// The smallest chunks, each block checked once.
    pub(crate) const PLAIN: Self = Self {
        chunk: ChunkSize::MIN,
        mixed: false,
        room: 6,
        verify: Verify::First,
        scrub_rate: None,
    };

    /// Chunks of 64 KiB to 512 KiB (blocks of 4 and 8 KiB); in a quarter of the worlds every read is checked, and in most a
    /// scrub follows a cut.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let chunk = ChunkSize::from_log2(16 + u8::try_from(rng.below(4)).unwrap()).unwrap();
        let verify = match rng.chance(64) {
            true => Verify::Always,
            false => Verify::First,
        };
        let scrub_rate = [None, Some(0), Some(1 << 20)][rng.index(3)];
        Self {
            chunk,
            mixed: rng.chance(128),
            room: 2 + rng.below(4),
            verify,
            scrub_rate,
        }
    }
}

impl Setup {
    /// The size limit.
    pub(crate) fn capacity(self) -> u64 {
        tiny_geometry().index_len() + self.room * ChunkSize::MIN.bytes()
    }

    fn policy(self) -> ChunkPolicy {
        let fixed = |more: u8| {
            let chunk = ChunkSize::from_log2(self.chunk.log2() + more);
            ChunkPolicy::Fixed(chunk.expect("the largest of these is far below the most"))
        };
        if !self.mixed {
            return fixed(0);
        }
        let rule = |(name, more)| ChunkRule::new(name, fixed(more)).unwrap();
        let rules = [("object-[12]", 1), ("object-3", 2), ("object-4", 3)].map(rule);
        ChunkPolicy::Rules {
            rules: rules.into(),
            otherwise: Box::new(fixed(0)),
        }
    }
}

/// One run of the daemon.
pub(crate) struct Daemon {
    reach: Arc<Reach>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) source: Arc<Source>,
    pub(crate) executor: Arc<SimExecutor>,
    pub(crate) fetcher: Arc<SimFetcher>,
    pub(crate) clock: Arc<SimClock>,
}

impl Daemon {
    /// Opens the cache in the boot of this number, on a disk without faults.
    pub(crate) fn start(store: &Arc<CrashStore>, boot: u8, setup: Setup) -> Self {
        store.faults(|faults| *faults = Faults::default());
        let reach = Arc::new(Reach {
            store: Arc::clone(store),
            alive: AtomicBool::new(true),
        });
        let (executor, fetcher) = (Arc::<SimExecutor>::default(), Arc::<SimFetcher>::default());
        let clock = Arc::<SimClock>::default();
        let host = HostIdentity {
            boot_id: [boot; 16],
            disk_mount_id: 1,
            ..HostIdentity::default()
        };
        let deps = CacheDeps {
            storage: Arc::clone(&reach) as Arc<dyn Storage>,
            executor: Arc::new(Arc::clone(&executor)),
            clock: Arc::new(Arc::clone(&clock)),
            host,
        };
        let config = Config {
            fetch_budget: 300_000,
            request_max: 100_000,
            readahead_max: 64 << 10,
            readahead_far: 64 << 10,
            verify: setup.verify,
            scrub_rate: setup.scrub_rate,
            ..Config::default()
        };
        let cache = Cache::open(deps, config).expect("a cache that survived is opened");
        let fetch = Arc::new(Arc::clone(&fetcher));
        let settings = SourceSettings {
            chunks: setup.policy(),
            timeout: TIMEOUT,
            ..SourceSettings::default()
        };
        let source = Source::new(&cache, "sim:", "", fetch, settings);
        Self {
            reach,
            cache,
            source,
            executor,
            fetcher,
            clock,
        }
    }

    /// Ends the daemon at once: whatever it had not done is never done.
    pub(crate) fn kill(self) {
        self.reach.alive.store(false, Ordering::Relaxed);
        drop(self.executor.kill());
    }
}
