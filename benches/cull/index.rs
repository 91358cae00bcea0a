//! The cost of one cull against the number of slots.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use larder::engine::{Cache, CacheDeps, ChunkPolicy, Clock, Config, Source, SystemClock};
use larder::format::{FORMAT_MINOR, Features, Geometry, Superblock};
use larder::storage::{ChunkFile, HostIdentity, NowRead, Space, Storage};
use larder::testing::Rng;
use larder::testing::sim::{SimClock, SimExecutor, SimFetcher};
use larder::units::{ByteRange, ChunkSize, SlotId, Uuid};
use parking_lot::Mutex;

use crate::rig::{answer, facts, name};

/// What is read of each chunk.
const SIZE: u64 = 4096;
/// One blob has all the chunks.
const BLOB: u64 = 1 << 50;
/// Fills that are measured.
const MEASURED: u64 = 20_000;

/// What was measured.
pub(crate) struct Cost {
    pub(crate) slots: u64,
    pub(crate) segments: u64,
    pub(crate) fill_ns: f64,
    pub(crate) cull_ns: f64,
    pub(crate) probes: f64,
}

/// An index in memory; chunk files take what is written to them and keep nothing.
struct IndexOnly(Mutex<Vec<u8>>);

impl Storage for IndexOnly {
    fn index_len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }
    fn read_index(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        buf.copy_from_slice(&self.0.lock()[at..at + buf.len()]);
        Ok(())
    }
    fn read_index_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        self.read_index(offset, buf)?;
        Ok(NowRead::Bytes(buf.len()))
    }
    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.0.lock()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
    fn sync_index(&self) -> io::Result<()> {
        Ok(())
    }
    fn read_chunk(&self, _: ChunkFile, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
    fn read_chunk_now(&self, _: ChunkFile, _: u64, _: &mut [u8]) -> io::Result<NowRead> {
        Ok(NowRead::Refused)
    }
    fn write_chunk(&self, _: ChunkFile, _: u64, _: &[u8]) -> io::Result<u64> {
        Ok(SIZE)
    }
    fn cut_chunk(&self, _: ChunkFile, _: u64) -> io::Result<u64> {
        Ok(SIZE)
    }
    fn remove_chunk(&self, _: SlotId) -> io::Result<()> {
        Ok(())
    }
    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            total_bytes: 1 << 50,
            free_bytes: 1 << 50,
            total_files: 0,
            free_files: 0,
        })
    }
}

struct Rig {
    cache: Arc<Cache>,
    source: Arc<Source>,
    executor: Arc<SimExecutor>,
    fetcher: Arc<SimFetcher>,
    clock: SystemClock,
    rng: Rng,
    next: u64,
}

impl Rig {
    fn new(slots: u64) -> Self {
        // Room is never short: it is places that are.
        let capacity = 64 << 40;
        let geometry = Geometry::for_capacity(capacity, Some(slots), Some(1024));
        let geometry = geometry.expect("a possible size");
        let len = usize::try_from(geometry.index_len()).expect("it fits into memory");
        let storage = IndexOnly(Mutex::new(vec![0; len]));
        for sequence in [0, 1] {
            let superblock = Superblock {
                minor: FORMAT_MINOR,
                uuid: Uuid([7; 16]),
                sequence,
                features: Features::default(),
                geometry,
                owner_uid: 0,
                capacity,
                created_at: 0,
            };
            let written = storage.write_index(superblock.offset(), &superblock.encode());
            written.expect("it is memory");
        }
        let (executor, fetcher) = (Arc::<SimExecutor>::default(), Arc::<SimFetcher>::default());
        let deps = CacheDeps {
            storage: Arc::new(storage),
            executor: Arc::new(Arc::clone(&executor)),
            clock: Arc::new(Arc::<SimClock>::default()),
            host: HostIdentity::default(),
        };
        let config = Config {
            readahead_max: 0,
            ..Config::default()
        };
        let cache = Cache::open(deps, config).expect("a valid index");
        let chunks = ChunkPolicy::Fixed(ChunkSize::MIN);
        let fetch = Arc::new(Arc::clone(&fetcher));
        let source = Source::new(&cache, "bench:", "", fetch, chunks);
        Self {
            cache,
            source,
            executor,
            fetcher,
            clock: SystemClock::default(),
            rng: Rng::new(1),
            next: 0,
        }
    }

    /// Fills so many new chunks; the nanoseconds of each.
    fn fill(&mut self, chunks: u64) -> f64 {
        let content = Bytes::from(vec![0x5a; 4096]);
        let begun = self.clock.monotonic();
        let reader = self.source.blob(&name(0), &facts(BLOB)).reader();
        for _ in 0..chunks {
            let first = ByteRange::at(self.next * ChunkSize::MIN.bytes(), SIZE);
            self.next += 1;
            reader.read(first, Box::new(drop));
            loop {
                while self.executor.step(&mut self.rng) {}
                let Some(job) = self.fetcher.take(&mut self.rng) else {
                    break;
                };
                answer(job, BLOB, &content);
            }
            if self.next.is_multiple_of(1000) {
                self.cache.tick();
            }
        }
        (self.clock.monotonic() - begun).as_nanos() as f64 / chunks as f64
    }
}

/// Fills a cache of so many slots and goes on.
pub(crate) fn cull(slots: u64) -> Cost {
    let mut rig = Rig::new(slots);
    let all = rig.cache.stats().slots;
    // A segment is full a little before or after the others.
    rig.fill(all - MEASURED.min(all / 4));
    let fill_ns = rig.fill(MEASURED.min(all / 8));
    rig.fill(all / 2);
    let before = rig.cache.stats();
    let cull_ns = rig.fill(MEASURED);
    let after = rig.cache.stats();
    let culls = after.slots_culled - before.slots_culled;
    assert!(
        culls * 10 > MEASURED * 9,
        "the cache was not full: {after:?}"
    );
    Cost {
        slots: after.slots_used,
        segments: after.segments_loaded,
        fill_ns,
        cull_ns,
        probes: (after.cull_probes - before.cull_probes) as f64 / culls as f64,
    }
}
