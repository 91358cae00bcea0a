//! The disk with a watcher before it: every operation of the engine passes here.
//!
//! What goes wrong is counted and judged (`health.rs`); a disk that is not well is not touched any more, and the caller
//! is told so at once ([`Bypassed`]): no thread waits for it a second time. Invariants:
//!
//! * No lock is held over an operation.
//! * Reads from memory go on while the disk is not well, but only through descriptors that are at hand, and not once
//!   such a read was seen to wait.
//! * Verdicts are told here and nowhere else, once when they are passed and once when they are lifted.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::engine::health::disk_stats::DiskStats;
use crate::engine::health::verdict::{
    Access, Bypassed, Change, DiskState, Failure, Fullness, Judge, Spell,
};
use crate::engine::stats::counters::Counters;
use crate::runtime::clock::Clock;
use crate::runtime::counter::Counter;
use crate::runtime::locks::Mutex;
use crate::runtime::log_limiter::LogLimiter;
use crate::runtime::pending_ops::PendingOps;
use crate::storage::{ChunkFile, ChunkStat, DiskOp, NowRead, Space, Storage};
use crate::units::SlotId;

/// A write is given so many times the patience of a read: no reader waits for it, and a disk that has much to write
/// back lets writers wait.
const WRITE_PATIENCE: u32 = 3;

/// One side of the disk.
#[derive(Default)]
struct Side {
    /// What the judge says, for callers that only want to know.
    sick: AtomicBool,
    /// The last operation failed.
    failing: AtomicBool,
    judge: Mutex<Judge>,
    pending: PendingOps,
    bypassed: Counter,
}

/// The disk, watched.
pub(crate) struct MonitoredStorage {
    disk: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    reading: Side,
    writing: Side,
    /// Reads that must not wait.
    now_reads: PendingOps,
    /// One of them did.
    now_reads_wait: AtomicBool,
    full: Mutex<Fullness>,
    descriptors: Mutex<Spell>,
    counters: Arc<Counters>,
    log: LogLimiter,
    queue: Mutex<Spell>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    outages: Counter,
    io_errors: Counter,
    hung: Counter,
    no_space: Counter,
    read_only: Counter,
    vanished: Counter,
    out_of_descriptors: Counter,
    write_queue_full: Counter,
}

impl MonitoredStorage {
    pub(crate) fn new(
        disk: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            disk,
            clock,
            counters,
            log: LogLimiter::default(),
            reading: Side::default(),
            writing: Side::default(),
            now_reads: PendingOps::default(),
            now_reads_wait: AtomicBool::new(false),
            full: Mutex::default(),
            descriptors: Mutex::default(),
            queue: Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// Notes that an operation failed whose failure is a miss: it is counted and logged, and no reader hears of it.
    pub(crate) fn report(&self, op: DiskOp, error: &io::Error) {
        // What has a verdict or a spell of its own was told with that.
        let access = if op.is_write() {
            Access::Write
        } else {
            Access::Read
        };
        let failure = Failure::of(error, access);
        if failure == Failure::Bypassed {
            return;
        }
        self.counters.disk_errors.add(1);
        if failure.spares_blocks() {
            return;
        }
        match self.log.tell(self.clock.monotonic()) {
            None => {}
            Some(0) => tracing::warn!("the cache disk failed while {op}: {error}"),
            Some(untold) => tracing::warn!(
                "the cache disk failed while {op}: {error} ({untold} failures before it were not logged)"
            ),
        }
    }

    /// Whether nothing is to be read from the disk at the moment.
    pub(crate) fn bypasses_reads(&self) -> bool {
        self.reading.sick.load(Ordering::Acquire)
    }

    /// Whether that is so because it does not answer: one that errs is still asked by callers that can wait.
    pub(crate) fn reads_hang(&self) -> bool {
        self.bypasses_reads() && self.reading.judge.lock().state() == DiskState::Hung
    }

    /// Whether nothing is to be written to it at the moment.
    pub(crate) fn bypasses_writes(&self) -> bool {
        self.writing.sick.load(Ordering::Acquire)
    }

    /// Whether a read may begin; counted where it may not.
    pub(crate) fn may_read(&self) -> io::Result<()> {
        self.may(Access::Read)
    }

    /// Whether something may be tried that takes new space.
    pub(crate) fn may_grow(&self) -> bool {
        let full = self.full.lock();
        !full.is_full() || full.may_grow(self.clock.monotonic())
    }

    /// Something was written that took new space.
    pub(crate) fn grew(&self) {
        if self.full.lock().took(self.clock.monotonic()) {
            tracing::info!("the cache disk has space again");
        }
    }

    /// A fill was dropped because the disk is not well, or has no space.
    pub(crate) fn fill_bypassed(&self) {
        self.writing.bypassed.add(1);
    }

    /// A fill was dropped because too many wait.
    pub(crate) fn queue_is_full(&self) {
        self.counts.write_queue_full.add(1);
        if self.queue.lock().came(self.clock.monotonic()) {
            tracing::warn!(
                "too much data waits to be written to the cache disk: some of what is read is not cached"
            );
        }
    }

    /// Nothing of what waits to be written gets written, for too long: `bytes` wait.
    pub(crate) fn takes_nothing(&self, bytes: u64, now: Duration) {
        tracing::debug!("{bytes} bytes are waiting to be written to the cache disk");
        self.counts.hung.add(1);
        let change = self.writing.judge.lock().stuck(now);
        self.change(Access::Write, change);
    }

    /// Looks for operations that do not come back.
    pub(crate) fn look(&self, now: Duration, patience: Duration) {
        let now_reads = self.now_reads.look(now, patience);
        if now_reads.stuck > 0 {
            self.now_reads_wait.store(true, Ordering::Release);
        }
        for (access, patience, mut look) in [
            (Access::Read, patience, now_reads),
            (Access::Write, patience * WRITE_PATIENCE, Default::default()),
        ] {
            let side = self.side(access);
            let found = side.pending.look(now, patience);
            look.stuck += found.stuck;
            look.back += found.back;
            self.counts.hung.add(look.stuck);
            if look.stuck > 0 {
                let change = side.judge.lock().stuck(now);
                self.change(access, change);
            }
            if look.back > 0 {
                side.judge.lock().stirred(now);
            }
        }
    }

    /// Whether a probe of this side is due; it counts as under way then, until [`MonitoredStorage::probed`].
    pub(super) fn takes_probe(&self, access: Access, now: Duration) -> bool {
        let side = self.side(access);
        side.sick.load(Ordering::Acquire) && side.judge.lock().takes_probe(now)
    }

    /// The disk itself, past the watcher: for probes.
    pub(crate) fn disk(&self) -> &dyn Storage {
        &*self.disk
    }

    /// A probe has ended.
    pub(super) fn probed(&self, access: Access, outcome: io::Result<()>) {
        let outcome = outcome.map_err(|error| {
            tracing::debug!("a probe of the cache disk failed: {error}");
            Failure::of(&error, access)
        });
        let now = self.clock.monotonic();
        let change = self.side(access).judge.lock().probed(outcome, now);
        self.change(access, change);
    }

    pub(crate) fn stats(&self) -> DiskStats {
        let Self {
            reading,
            writing,
            counts,
            ..
        } = self;
        DiskStats {
            reading: reading.judge.lock().state(),
            writing: writing.judge.lock().state(),
            full: self.full.lock().is_full(),
            outages: counts.outages.get(),
            io_errors: counts.io_errors.get(),
            hung: counts.hung.get(),
            no_space: counts.no_space.get(),
            read_only: counts.read_only.get(),
            vanished: counts.vanished.get(),
            out_of_descriptors: counts.out_of_descriptors.get(),
            write_queue_full: counts.write_queue_full.get(),
            reads_bypassed: reading.bypassed.get(),
            writes_bypassed: writing.bypassed.get(),
        }
    }

    fn side(&self, access: Access) -> &Side {
        match access {
            Access::Read => &self.reading,
            Access::Write => &self.writing,
        }
    }

    fn may(&self, access: Access) -> io::Result<()> {
        let side = self.side(access);
        if !side.sick.load(Ordering::Acquire) {
            return Ok(());
        }
        side.bypassed.add(1);
        let state = side.judge.lock().state();
        Err(io::Error::other(Bypassed(state)))
    }

    /// Runs one operation, unless the disk is not well.
    fn run<T>(&self, access: Access, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.may(access)?;
        let side = self.side(access);
        let under_way = side.pending.begin();
        let result = operation();
        drop(under_way);
        match &result {
            Ok(_) if side.failing.swap(false, Ordering::Relaxed) => side.judge.lock().succeeded(),
            Ok(_) => {}
            Err(error) => self.failed(access, error),
        }
        result
    }

    /// Runs a read that must not wait.
    fn run_now(&self, operation: impl FnOnce() -> io::Result<NowRead>) -> io::Result<NowRead> {
        if self.now_reads_wait.load(Ordering::Acquire) {
            return Ok(NowRead::Refused);
        }
        let under_way = self.now_reads.begin();
        let result = operation();
        drop(under_way);
        if let Err(error) = &result {
            self.failed(Access::Read, error);
        }
        result
    }

    fn failed(&self, access: Access, error: &io::Error) {
        let (counts, now) = (&self.counts, self.clock.monotonic());
        let failure = Failure::of(error, access);
        match failure {
            Failure::Disk => counts.io_errors.add(1),
            Failure::ReadOnly => counts.read_only.add(1),
            Failure::Vanished => counts.vanished.add(1),
            Failure::NoSpace => {
                counts.no_space.add(1);
                if self.full.lock().refused(now) {
                    tracing::warn!(
                        "the cache disk is full: nothing new is cached for now, and reads still use what is cached"
                    );
                }
            }
            Failure::Descriptors => {
                counts.out_of_descriptors.add(1);
                if self.descriptors.lock().came(now) {
                    tracing::warn!(
                        "cannot open cache files ({error}): some reads bypass the cache; raise the limit on open files (ulimit -n)"
                    );
                }
            }
            Failure::Bypassed => {}
        }
        let side = self.side(access);
        side.failing.store(true, Ordering::Relaxed);
        let change = side.judge.lock().failed(failure, now);
        self.change(access, change);
    }

    fn change(&self, access: Access, change: Option<Change>) {
        let side = self.side(access);
        match change {
            None => {}
            Some(Change::Sick(state)) => {
                side.sick.store(true, Ordering::Release);
                self.counts.outages.add(1);
                let so = match access {
                    Access::Read => "reads that memory cannot answer go to the remote",
                    Access::Write => "nothing is cached",
                };
                tracing::warn!("the cache disk {state}: {so} until the disk works again");
            }
            Some(Change::Well { was, lasted }) => {
                side.sick.store(false, Ordering::Release);
                if access == Access::Read {
                    self.now_reads_wait.store(false, Ordering::Release);
                }
                let (what, lost) = match access {
                    Access::Read => ("reads from", side.bypassed.get()),
                    Access::Write => ("writes to", side.bypassed.get()),
                };
                tracing::info!(
                    "larder {what} the cache disk again after {:.1} s (cause: the disk {was}); {lost} operations have bypassed it so far",
                    lasted.as_secs_f64()
                );
            }
        }
    }
}

impl Storage for MonitoredStorage {
    fn index_len(&self) -> io::Result<u64> {
        self.run(Access::Read, || self.disk.index_len())
    }

    fn read_index(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.run(Access::Read, || self.disk.read_index(offset, buf))
    }

    fn read_index_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        if self.bypasses_reads() {
            Ok(NowRead::Refused)
        } else {
            self.run_now(|| self.disk.read_index_now(offset, buf))
        }
    }

    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.run(Access::Write, || self.disk.write_index(offset, data))
    }

    fn sync_index(&self) -> io::Result<()> {
        self.may(Access::Write)?;
        self.disk.sync_index()
    }

    fn read_chunk(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.run(Access::Read, || self.disk.read_chunk(file, offset, buf))
    }

    fn read_chunk_now(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        if self.bypasses_reads() {
            self.read_chunk_held(file, offset, buf)
        } else {
            self.run_now(|| self.disk.read_chunk_now(file, offset, buf))
        }
    }

    fn read_chunk_held(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        self.run_now(|| self.disk.read_chunk_held(file, offset, buf))
    }

    fn read_chunk_cold(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.run(Access::Read, || {
            self.disk.read_chunk_cold(file, offset, buf)
        })
    }

    fn lend(&self, file: ChunkFile) -> io::Result<OwnedFd> {
        self.run(Access::Read, || self.disk.lend(file))
    }

    fn write_chunk(&self, file: ChunkFile, offset: u64, data: &[u8]) -> io::Result<u64> {
        self.run(Access::Write, || self.disk.write_chunk(file, offset, data))
    }

    fn cut_chunk(&self, file: ChunkFile, len: u64) -> io::Result<u64> {
        self.run(Access::Write, || self.disk.cut_chunk(file, len))
    }

    fn remove_chunk(&self, slot: SlotId) -> io::Result<()> {
        self.run(Access::Write, || self.disk.remove_chunk(slot))
    }

    fn list_chunks(&self, from: SlotId) -> io::Result<(Vec<SlotId>, Option<SlotId>)> {
        self.run(Access::Read, || self.disk.list_chunks(from))
    }

    fn stat_chunk(&self, slot: SlotId) -> io::Result<Option<ChunkStat>> {
        self.run(Access::Read, || self.disk.stat_chunk(slot))
    }

    fn is_sealed(&self) -> bool {
        self.disk.is_sealed()
    }

    fn seal(&self) -> io::Result<()> {
        self.run(Access::Write, || self.disk.seal())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.may(Access::Write)?;
        self.disk.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        self.run(Access::Read, || self.disk.space())
    }

    fn probe(&self) -> io::Result<()> {
        self.disk.probe()
    }
}
