//! The cache as a whole: opening, closing, and what time brings.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::api::memory::bytes_per_slot;
use crate::engine::api::source::Source;
use crate::engine::config::{Config, SourceSettings};
use crate::engine::error::OpenError;
use crate::engine::fill::fill_queue::Backlog;
use crate::engine::flight::deadlines::Deadlines;
use crate::engine::health::monitored_storage::Watched;
use crate::engine::health::verdict::{Access, Failure};
use crate::engine::index::flush::Flusher;
use crate::engine::index::index_file::Disk;
use crate::engine::index::records::Blobs;
use crate::engine::index::saved_priority::Standing;
use crate::engine::index::slots::{Lookup, Slots};
use crate::engine::space::allocation::Reserved;
use crate::engine::space::limits::Limits;
use crate::engine::space::recount::Recount;
use crate::engine::space::stale_versions::Versions;
use crate::engine::stats::counters::{Counters, Stats};
use crate::engine::transfer::fetch::Fetcher;
use crate::engine::transfer::fetch_budget::Gate;
use crate::engine::upkeep::admin_task::Errands;
use crate::engine::upkeep::last_shutdown::{LastStop, same_run};
use crate::engine::upkeep::scrub::Scrub;
use crate::format::{
    FeatureVerdict, Geometry, SECTOR_LEN, Sector, SegmentHeader, Session, SessionState, Superblock,
};
use crate::runtime::clock::Clock;
use crate::runtime::executor::{Executor, Job, Lane};
use crate::runtime::log_limiter::Trouble;
use crate::storage::{HostIdentity, Storage};
use crate::units::{ChunkSize, Tag, Uuid};

/// What a cache stands on.
pub struct Ground {
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// The disk pool.
    pub executor: Arc<dyn Executor>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The machine.
    pub host: HostIdentity,
}

/// The cache: one index, one set of chunk files, one size limit.
pub struct Cache {
    pub(crate) ground: Ground,
    pub(crate) config: Config,
    pub(crate) disk: Arc<Disk>,
    /// The cache disk, which everything goes through once the cache is open.
    pub(crate) watched: Arc<Watched>,
    pub(crate) slots: Slots,
    pub(crate) blobs: Blobs,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) gate: Gate,
    pub(crate) deadlines: Deadlines,
    pub(crate) errands: Errands,
    pub(crate) flusher: Flusher,
    pub(crate) reserved: Reserved,
    pub(crate) versions: Versions,
    pub(crate) burying: AtomicBool,
    pub(crate) standing: Standing,
    pub(crate) shrinking: AtomicBool,
    /// Nothing could be given back when it was last tried.
    pub(crate) stuck: AtomicBool,
    pub(crate) scrub: Scrub,
    pub(crate) recount: Recount,
    trouble: Trouble,
    pub(crate) backlog: Backlog,
    pub(crate) session: Session,
    last_stop: LastStop,
    flush_under_way: AtomicBool,
    closed: AtomicBool,
}

impl Cache {
    /// Opens the cache, in O(1) whatever its size: two superblocks, two sessions and the segment headers are read, the
    /// session of this mount is written and synced.
    pub fn open(ground: Ground, config: Config) -> Result<Arc<Self>, OpenError> {
        let storage = Arc::clone(&ground.storage);
        let superblock = Superblock::choose(&[
            sector(&*storage, Geometry::superblock_offset(0))?,
            sector(&*storage, Geometry::superblock_offset(1))?,
        ])
        .map_err(OpenError::Superblock)?;
        let read_only = match superblock.features.verdict() {
            FeatureVerdict::Full => false,
            FeatureVerdict::ReadOnly(_) => true,
            FeatureVerdict::Refused(bits) => return Err(OpenError::Features(bits)),
        };
        let (uuid, geometry) = (superblock.uuid, superblock.geometry);
        let (actual, expected) = (storage.index_len()?, geometry.index_len());
        if actual != expected {
            return Err(OpenError::Length { actual, expected });
        }
        let headers = read_headers(&*storage, uuid, &geometry)?;
        let (session, last_stop) = next_session(&*storage, uuid, &headers, &ground)?;
        let accounted = last_stop == LastStop::Clean && storage.is_sealed();
        let twin = Session {
            sequence: session.sequence + 1,
            ..session
        };
        if !read_only {
            begin(&*storage, uuid, &session, &twin)?;
        }
        let session = twin;
        let watched = Arc::new(Watched::new(storage, Arc::clone(&ground.clock)));
        let ground = Ground {
            storage: Arc::clone(&watched) as _,
            ..ground
        };
        let disk = Arc::new(Disk::new(
            Arc::clone(&watched),
            uuid,
            geometry,
            read_only,
            session.epoch,
        ));
        let cache = Arc::new(Self {
            slots: Slots::new(Arc::clone(&disk), session.trusted_epoch, &headers),
            blobs: Blobs::new(Arc::clone(&disk)),
            limits: Limits::new(superblock.capacity, config.free_space),
            counters: Counters::default(),
            gate: Gate::new(config.fetch_budget),
            deadlines: Deadlines::default(),
            errands: Errands::default(),
            flusher: Flusher::default(),
            reserved: Reserved::default(),
            versions: Versions::default(),
            burying: AtomicBool::new(false),
            standing: Standing::default(),
            shrinking: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            scrub: Scrub::default(),
            recount: Recount::new(!(read_only || accounted)),
            trouble: Trouble::default(),
            backlog: Backlog::default(),
            flush_under_way: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            ground,
            config,
            disk,
            watched,
            session,
            last_stop,
        });
        cache.ask_space();
        cache.scrub_after_stop();
        Ok(cache)
    }

    /// Attaches a remote. `identity` and `salt` go into every key.
    pub fn source(
        self: &Arc<Self>,
        identity: &str,
        salt: &str,
        fetcher: Arc<dyn Fetcher>,
        settings: impl Into<SourceSettings>,
    ) -> Arc<Source> {
        Arc::new(Source::new(
            Arc::clone(self),
            identity,
            salt,
            fetcher,
            settings.into(),
        ))
    }

    /// Does what time brings: answers reads that are past their deadline, and has dirty sectors written. To be called
    /// at least every 100 ms. Does not wait for the disk.
    pub fn tick(self: &Arc<Self>) {
        let now = self.ground.clock.monotonic();
        self.look_at_disk(now);
        self.look_at_deadlines(now);
        self.look_at_errands(now);
        self.scrub_on();
        self.bury_on();
        self.keep_standing_on();
        self.look_at_space();
        self.shrink_on();
        self.recount_on();
        if self.is_closed() || self.flush_under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let cache = Arc::clone(self);
        let job: Job = Box::new(move || {
            if let Err(error) = cache.flush() {
                cache.disk_failed("writing the index", &error);
            }
            cache.flush_under_way.store(false, Ordering::Release);
        });
        if self.ground.executor.submit(Lane::Read, job).is_err() {
            self.flush_under_way.store(false, Ordering::Release);
        }
    }

    /// Writes what is dirty, makes it durable and marks the cache as closed cleanly. Fills that still wait in the executor
    /// are dropped: let it come to rest first. Later reads still answer, past the
    /// cache where it has no answer in memory. Errors where the disk fails: the cache then counts as not closed.
    pub fn close(&self) -> io::Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) || self.disk.read_only {
            return Ok(());
        }
        while self.bury() {}
        const ROUNDS: u32 = 100;
        for round in 0.. {
            self.flush()?;
            if self.flusher.is_clean() {
                break;
            }
            if round == ROUNDS {
                return Err(io::Error::other("slots were still being filled"));
            }
            std::thread::yield_now();
        }
        self.keep_standing_at_close();
        self.disk.storage.sync_all()?;
        let clean = Session {
            state: SessionState::Clean,
            sequence: self.session.sequence + 1,
            ..self.session
        };
        write_session(&*self.disk.storage, self.disk.uuid, &clean)?;
        self.disk.storage.sync_index()?;
        // Without the seal the next opening counts the chunk files, and that is all.
        if self.is_counted()
            && let Err(error) = self.disk.storage.seal()
        {
            tracing::debug!("the index could not be sealed: {error}");
        }
        Ok(())
    }

    /// The counters, as they stand.
    pub fn stats(&self) -> Stats {
        let (segments_loaded, slots_used) = self.slots.loaded();
        Stats {
            capacity_bytes: self.limits.capacity(),
            reserved_bytes: self.reserved.bytes(),
            used_bytes: self.used_bytes(),
            index_bytes: self.disk.geometry.index_len(),
            slots: u64::from(self.disk.geometry.n_slots()),
            slots_used,
            segments_loaded,
            memory_budget_bytes: self.config.memory,
            memory_fetch_bytes: self.gate.in_flight(),
            memory_listing_bytes: self.config.listings.used(),
            memory_table_bytes: slots_used * bytes_per_slot() as u64,
            last_stop: self.last_stop,
            pressure: self.limits.pressure(),
            disk: self.watched.stats(),
            scrub: self.scrub_stats(),
            ..self.counters.snapshot()
        }
    }

    /// How the last use of the cache ended.
    pub fn last_stop(&self) -> LastStop {
        self.last_stop
    }

    /// The cache's own number.
    pub fn uuid(&self) -> Uuid {
        self.disk.uuid
    }

    /// Whether nothing is written because of a feature that this version does not know.
    pub fn is_read_only(&self) -> bool {
        self.disk.read_only
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The bytes on disk, index included.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.disk.geometry.index_len() + self.slots.allocated()
    }

    /// The bytes of a version that its slots hold. Loads the segments that it needs.
    pub(crate) fn cached_bytes(&self, tag: Tag, chunk: ChunkSize, size: u64) -> u64 {
        let held = |chunk_no: u64| {
            self.slots.load_for(tag, chunk_no).ok()?;
            let Lookup::Found(slot) = self.slots.find_now(tag, chunk_no) else {
                return None;
            };
            let present = slot.state.lock().present;
            Some(
                present
                    .iter()
                    .map(|n| slot.block_len(n) as u64)
                    .sum::<u64>(),
            )
        };
        (0..size.div_ceil(chunk.bytes())).filter_map(held).sum()
    }

    /// A disk that fails is a miss: counted, logged, and no reader hears of it.
    pub(crate) fn disk_failed(&self, doing: &str, error: &io::Error) {
        // What has a verdict or a spell of its own was told with that.
        let failure = Failure::of(error, Access::Write);
        if failure == Failure::Bypassed {
            return;
        }
        self.counters.disk_errors.add(1);
        if failure.spares_blocks() {
            return;
        }
        match self.trouble.tell(self.ground.clock.monotonic()) {
            None => {}
            Some(0) => tracing::warn!("the cache disk failed while {doing}: {error}"),
            Some(untold) => tracing::warn!(
                "the cache disk failed while {doing}: {error} ({untold} failures before it were not logged)"
            ),
        }
    }
}

pub(crate) fn sector(storage: &dyn Storage, offset: u64) -> io::Result<Sector> {
    let mut sector = [0; SECTOR_LEN];
    storage.read_index(offset, &mut sector)?;
    Ok(sector)
}

/// The headers of all segments, `None` for one that is blank or damaged: it proves nothing anyway.
fn read_headers(
    storage: &dyn Storage,
    uuid: Uuid,
    geometry: &Geometry,
) -> io::Result<Vec<Option<SegmentHeader>>> {
    let mut bytes = vec![0; geometry.segments() as usize * SECTOR_LEN];
    storage.read_index(Geometry::segment_header_offset(0), &mut bytes)?;
    let sectors = bytes.as_chunks::<SECTOR_LEN>().0.iter().zip(0u32..);
    Ok(sectors
        .map(|(sector, number)| SegmentHeader::decode(sector, uuid, number).ok())
        .collect())
}

/// The session of this mount: an epoch above every one that is known, and the first epoch of this boot and this mount of
/// the disk. And how the one before it ended.
fn next_session(
    storage: &dyn Storage,
    uuid: Uuid,
    headers: &[Option<SegmentHeader>],
    ground: &Ground,
) -> Result<(Session, LastStop), OpenError> {
    let copies = [
        sector(storage, Geometry::session_offset(0))?,
        sector(storage, Geometry::session_offset(1))?,
    ];
    let last = Session::choose(&copies, uuid);
    // A cache that was used and has lost both copies might issue an epoch a second time.
    if last.is_none() && copies.iter().any(|copy| *copy != [0; SECTOR_LEN]) {
        return Err(OpenError::Session);
    }
    let issued = headers
        .iter()
        .flatten()
        .map(|header| header.stamp.epoch())
        .max()
        .unwrap_or(0);
    let epoch = 1 + last.map_or(0, |session| session.epoch).max(issued);
    if epoch >= 1 << 24 {
        return Err(OpenError::Epochs(epoch));
    }
    let host = ground.host;
    let same_run = last.filter(|session| same_run(session, &host));
    let next = Session {
        state: SessionState::Open,
        sequence: last.map_or(0, |session| session.sequence) + 1,
        epoch,
        trusted_epoch: same_run.map_or(epoch, |session| session.trusted_epoch),
        boot_id: host.boot_id,
        host_id: host.host_id,
        disk_mount_id: host.disk_mount_id,
        started_at: ground.clock.wall().as_secs(),
        pid: host.pid,
    };
    Ok((next, LastStop::of(last.as_ref(), &host)))
}

/// Writes both copies of the session of this mount. The first is synced before a stamp of the new epoch is used; the
/// second follows, so that no single damaged sector can bring an old epoch back.
fn begin(storage: &dyn Storage, uuid: Uuid, first: &Session, twin: &Session) -> io::Result<()> {
    write_session(storage, uuid, first)?;
    storage.sync_index()?;
    write_session(storage, uuid, twin)
}

pub(crate) fn write_session(
    storage: &dyn Storage,
    uuid: Uuid,
    session: &Session,
) -> io::Result<()> {
    storage.write_index(session.offset(), &session.encode(uuid))
}
