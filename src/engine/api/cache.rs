//! The cache as a whole: its rooms put together, opened, closed, and told what time brings.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::api::memory::bytes_per_slot;
use crate::engine::api::stats::Stats;
use crate::engine::config::cache::Config;
use crate::engine::config::free_space::FreeSpace;
use crate::engine::deps::CacheDeps;
use crate::engine::error::OpenError;
use crate::engine::fill::fills::Fills;
use crate::engine::flight::deadlines::Deadlines;
use crate::engine::flight::fetch_budget::FetchBudget;
use crate::engine::health::monitored_storage::MonitoredStorage;
use crate::engine::health::probe::Prober;
use crate::engine::index::cache_index::Index;
use crate::engine::index::index_file::IndexFile;
use crate::engine::index::last_shutdown::LastShutdown;
use crate::engine::index::session::{self, OpenSession};
use crate::engine::proof::cache_proof::Proof;
use crate::engine::services::Services;
use crate::engine::space::cache_space::Space;
use crate::engine::space::set_limits::{LimitsError, LimitsView};
use crate::engine::stats::counters::Counters;
use crate::engine::upkeep::admin_task::AdminTasks;
use crate::engine::upkeep::evict::{Evicted, UserEviction};
use crate::engine::upkeep::scrub::Scrub;
use crate::engine::version::object::Object;
use crate::format::{FeatureVerdict, Geometry, Superblock};
use crate::runtime::executor::Lane;
use crate::runtime::single_job::SingleJob;
use crate::storage::{DiskOp, IndexPart, Storage};
use crate::units::Uuid;

/// The cache: one index, one set of chunk files, one size limit.
pub struct Cache {
    pub(super) services: Arc<Services>,
    storage: Arc<MonitoredStorage>,
    pub(super) index: Arc<Index>,
    pub(super) proof: Arc<Proof>,
    pub(super) space: Arc<Space>,
    pub(super) budget: Arc<FetchBudget>,
    pub(super) fills: Arc<Fills>,
    pub(super) deadlines: Arc<Deadlines<Object>>,
    prober: Arc<Prober>,
    scrub: Arc<Scrub>,
    pub(super) evictions: UserEviction,
    admin: AdminTasks,
    session: Arc<OpenSession>,
    last_stop: LastShutdown,
    flushing: SingleJob,
}

impl Cache {
    /// Opens the cache, in O(1) whatever its size: two superblocks, two sessions and the segment headers are read, the
    /// session of this mount is written and synced.
    pub fn open(deps: CacheDeps, config: Config) -> Result<Arc<Self>, OpenError> {
        let disk = &*deps.storage;
        let (superblock, read_only) = read_superblock(disk)?;
        let (uuid, geometry) = (superblock.uuid, superblock.geometry);
        let headers = session::read_headers(disk, uuid, &geometry)?;
        let (first, last_stop) =
            session::next_session(disk, uuid, &headers, deps.host, &*deps.clock)?;
        let counted = last_stop == LastShutdown::Clean && disk.is_sealed();
        let twin = session::twin(&first);
        if !read_only {
            session::begin(disk, uuid, &first, &twin)?;
        }
        let counters = Arc::<Counters>::default();
        let storage = Arc::new(MonitoredStorage::new(
            deps.storage,
            Arc::clone(&deps.clock),
            Arc::clone(&counters),
        ));
        let services = Arc::new(Services::new(deps.executor, deps.clock, config, counters));
        let file = IndexFile::new(Arc::clone(&storage), uuid, geometry, read_only, twin.epoch);
        let index = Arc::new(Index::new(
            Arc::clone(&services),
            Arc::clone(&storage),
            file,
            twin.trusted_epoch,
            &headers,
        ));
        let session = OpenSession::new(Arc::clone(&index.file), twin);
        let (capacity, counted) = (superblock.capacity, read_only || counted);
        let cache = Self::compose(services, storage, index, session, (capacity, counted));
        let cache = Arc::new(Self { last_stop, ..cache });
        cache.space.ask_space();
        if let (Some(rate), true) = (cache.services.config.scrub_rate, last_stop.was_cut()) {
            cache.scrub.begin_after_cut(rate);
        }
        Ok(cache)
    }

    /// Puts the rooms together. `space` is the size limit in bytes, and whether the chunk files are counted.
    fn compose(
        services: Arc<Services>,
        storage: Arc<MonitoredStorage>,
        index: Arc<Index>,
        session: OpenSession,
        (capacity, counted): (u64, bool),
    ) -> Self {
        let hand = || (Arc::clone(&services), Arc::clone(&index));
        let budget = Arc::new(FetchBudget::new(services.config.fetch_budget));
        let (s, i) = hand();
        let proof = Arc::new(Proof::new(s, i));
        let (s, i) = hand();
        let space = Arc::new(Space::new(s, i, capacity, counted));
        let (s, i) = hand();
        let fills = Fills::new(
            s,
            Arc::clone(&space),
            i,
            Arc::clone(&proof),
            Arc::clone(&budget),
        );
        let (s, i) = hand();
        let scrub = Arc::new(Scrub::new(s, i, Arc::clone(&proof)));
        let (s, i) = hand();
        let evictions = UserEviction::new(s, i, Arc::clone(&space));
        let session = Arc::new(session);
        let of_probe = Arc::clone(&session);
        let prober = Prober::new(
            Arc::clone(&services),
            Arc::clone(&storage),
            Box::new(move |disk| of_probe.rewrite(disk)),
        );
        Self {
            admin: AdminTasks::new(Arc::clone(&services)),
            deadlines: Arc::default(),
            fills: Arc::new(fills),
            prober: Arc::new(prober),
            last_stop: LastShutdown::New,
            flushing: SingleJob::default(),
            services,
            storage,
            index,
            proof,
            space,
            budget,
            scrub,
            evictions,
            session,
        }
    }

    /// Does what time brings: answers reads that are past their deadline, and has dirty sectors written. To be called
    /// at least every 100 ms. Does not wait for the disk.
    pub fn tick(&self) {
        let now = self.services.now();
        self.prober.look(now);
        self.fills.look(now, self.services.config.disk_patience);
        self.look_at_deadlines(now);
        self.admin.look(now);
        self.scrub.go_on();
        self.space.reclaim_on();
        self.index.save_priorities_on();
        self.space.look_at_space();
        self.space.shrink_on();
        self.space.recount_on();
        if !self.services.is_closed() {
            let index = Arc::clone(&self.index);
            let executor = &*self.services.executor;
            self.flushing.submit(executor, Lane::Read, move || {
                if let Err(error) = index.flush() {
                    index
                        .storage
                        .report(DiskOp::WriteIndex(IndexPart::Whole), &error);
                }
            });
        }
    }

    /// Answers reads that are past the deadline, and asks the remote for those that have waited too long for the disk.
    fn look_at_deadlines(&self, now: Duration) {
        let config = &self.services.config;
        // No read waits for a disk that is known not to answer.
        let patience = if self.storage.bypasses_reads() {
            Duration::ZERO
        } else {
            config.disk_patience
        };
        let late = self.deadlines.look(now, patience);
        let counters = &self.services.counters;
        counters.reads_timed_out.add(late.timed_out);
        counters.reads_hedged.add(late.hedges.len() as u64);
        for (object, op) in late.hedges {
            let dispatch = Arc::clone(&object.dispatch);
            dispatch.hedge(object, op);
        }
    }

    /// Writes what is dirty, makes it durable and marks the cache as closed cleanly. Fills that still wait in the
    /// executor are dropped: let it come to rest first. Later reads still answer, past the cache where it has no answer
    /// in memory. Errors where the disk fails: the cache then counts as not closed.
    pub fn close(&self) -> io::Result<()> {
        if self.services.close() || self.index.file.read_only {
            return Ok(());
        }
        while self.space.reclaim() {}
        const ROUNDS: u32 = 100;
        for round in 0.. {
            self.index.flush()?;
            if self.index.dirty.is_clean() {
                break;
            }
            if round == ROUNDS {
                return Err(io::Error::other("slots were still being filled"));
            }
            std::thread::yield_now();
        }
        self.index.save_priorities_at_close();
        self.storage.sync_all()?;
        self.session.end()?;
        // Without the seal the next opening counts the chunk files, and that is all.
        if self.space.is_counted()
            && let Err(error) = self.storage.seal()
        {
            tracing::debug!("the index could not be sealed: {error}");
        }
        Ok(())
    }

    /// The counters, as they stand.
    pub fn stats(&self) -> Stats {
        let (services, index) = (&self.services, &self.index);
        let (segments_loaded, slots_used) = index.slots.loaded();
        Stats {
            capacity_bytes: self.space.limits.capacity(),
            reserved_bytes: self.space.reserved.bytes(),
            used_bytes: index.used_bytes(),
            index_bytes: index.file.geometry.index_len(),
            slots: u64::from(index.file.geometry.n_slots()),
            slots_used,
            segments_loaded,
            memory_budget_bytes: services.config.memory,
            memory_fetch_bytes: self.budget.in_flight(),
            memory_listing_bytes: services.config.listings.used(),
            memory_table_bytes: slots_used * bytes_per_slot() as u64,
            last_stop: self.last_stop,
            pressure: self.space.limits.pressure(),
            disk: self.storage.stats(),
            scrub: self.scrub.stats(),
            ..Stats::of(&services.counters)
        }
    }

    /// How the last use of the cache ended.
    pub fn last_stop(&self) -> LastShutdown {
        self.last_stop
    }

    /// The cache's own number.
    pub fn uuid(&self) -> Uuid {
        self.index.file.uuid
    }

    /// Whether nothing is written because of a feature that this version does not know.
    pub fn is_read_only(&self) -> bool {
        self.index.file.read_only
    }

    /// Whether it is known what all chunk files take. Nothing new is kept before.
    pub fn is_counted(&self) -> bool {
        self.space.is_counted()
    }

    /// The limits, as they stand.
    pub fn limits(&self) -> LimitsView {
        self.space.limits_view()
    }

    /// Changes what is given, at once: a cache that takes more than it may from now on gives back in the background.
    /// The capacity is kept on disk; what has to stay free is kept until the cache is closed. Waits for the disk.
    ///
    /// Errors with a sentence; nothing was changed then, but where the disk failed in the midst the next opening may
    /// find the new capacity.
    pub fn set_limits(
        &self,
        capacity: Option<u64>,
        free: Option<FreeSpace>,
    ) -> Result<LimitsView, LimitsError> {
        self.space.set_limits(capacity, free)
    }

    /// Begins a scrub of every slot, at `rate` bytes a second (0 is no limit), in place of one of suspect slots; one
    /// of every slot that is under way goes on at this rate.
    pub fn scrub(&self, rate: u64) {
        self.scrub.begin_all(rate);
    }

    /// Ends the scrub that is under way, if any.
    pub fn stop_scrub(&self) {
        self.scrub.stop();
    }

    /// Drops everything that is cached, from slot `from` on. Waits for the disk.
    pub fn evict_all(&self, from: u64) -> Evicted {
        self.evictions.evict_all(from)
    }

    /// Runs `work` in the disk pool, behind the writes that wait there, and hands what comes of it to `done`; `None`
    /// where that takes too long. Where the pool takes no more work, `done` is dropped.
    pub fn run_admin_task<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
        done: impl FnOnce(Option<T>) + Send + 'static,
    ) {
        let cache = Arc::clone(self);
        self.admin.run(move || work(&cache), done);
    }

    /// What hands a value to `done`, which gets `None` where that has not happened in time.
    pub fn in_time<T: Send + 'static>(
        &self,
        done: impl FnOnce(Option<T>) + Send + 'static,
    ) -> impl FnOnce(T) + Send + 'static {
        self.admin.in_time(done)
    }
}

/// The superblock, and whether nothing may be written because of a feature that this version does not know.
fn read_superblock(disk: &dyn Storage) -> Result<(Superblock, bool), OpenError> {
    let superblock = Superblock::choose(&[
        session::sector(disk, Geometry::superblock_offset(0))?,
        session::sector(disk, Geometry::superblock_offset(1))?,
    ])
    .map_err(OpenError::Superblock)?;
    let read_only = match superblock.features.verdict() {
        FeatureVerdict::Full => false,
        FeatureVerdict::ReadOnly(_) => true,
        FeatureVerdict::Refused(bits) => return Err(OpenError::Features(bits)),
    };
    let (actual, expected) = (disk.index_len()?, superblock.geometry.index_len());
    if actual != expected {
        return Err(OpenError::Length { actual, expected });
    }
    Ok((superblock, read_only))
}
