//! The scrub: going through what is cached, to heal by forgetting before somebody asks for it.
//!
//! It has no thread. A tick, or the end of the piece before, hands at most one piece (1 MiB of one slot, or the loading of
//! one segment) to the disk pool, and only if no reader waits there and the rate allows it. What is done to a slot is in
//! `scrub_slot.rs`. Invariants:
//!
//! * The walk is either here or with the one piece that is under way; a piece that comes back to another pass than the one
//!   that it left is forgotten.
//! * Nothing depends on a pass coming to its end: what it did not reach is checked at first touch.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::api::cache::Cache;
use crate::engine::stats::described::described;
use crate::engine::upkeep::scrub_slot::Work;
use crate::format::SECTOR_LEN;
use crate::runtime::executor::{Job, Lane};
use crate::runtime::locks::Mutex;
use crate::runtime::rate::Pace;

/// So many reads that fail in a row are a disk that has gone, not blocks that are bad.
const FAILURES_MAX: u32 = 16;
/// How many places one piece looks at to find a slot that has something to be read.
const PLACES: usize = 256;

/// What a pass goes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScrubKind {
    /// Slots that a power cut may have damaged.
    Suspect,
    /// Every slot.
    All,
}

/// Whether a pass is under way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScrubState {
    /// No pass is.
    #[default]
    Idle,
    /// One is.
    Running,
    /// One is, and it lets readers go first.
    Paused,
}

/// How a pass ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScrubEnd {
    /// It went through everything.
    Finished,
    /// It was told to stop, or another began.
    Stopped,
    /// The cache disk gave nothing any more.
    DiskFailed,
}

described! {
    /// The pass that is under way, or the last one.
    pub struct ScrubStats {
        /// Whether a scrub is under way.
        word state: ScrubState,
        /// What the scrub goes through; nothing where there was none yet.
        word kind: Option<ScrubKind>,
        /// Scrubs that were begun since the cache was opened.
        counter passes: u64,
        /// Bytes on disk that the scrub has done.
        gauge done_bytes: u64,
        /// Bytes on disk that the scrub has to do, estimated when it began.
        gauge total_bytes: u64,
        /// The most that the scrub reads in a second; 0 is no limit.
        gauge rate_bytes_per_second: u64,
        /// Blocks that the scrub read and found good.
        gauge checked_blocks: u64,
        /// Blocks that the scrub found damaged and dropped.
        gauge bad_blocks: u64,
        /// Chunks that the scrub dropped whole.
        gauge dropped_slots: u64,
        /// How the last scrub ended.
        word ended: Option<ScrubEnd>,
        /// When a scrub last went through everything, in seconds since 1970.
        gauge last_finish_timestamp_seconds: Option<u64>,
    }
}

/// The scrub of one cache.
#[derive(Default)]
pub(crate) struct Scrub(Mutex<Pass>);

#[derive(Default)]
struct Pass {
    stats: ScrubStats,
    pace: Pace,
    /// Where the pass is; `None` while a piece is under way and when there is no pass.
    walk: Option<Walk>,
}

/// Where a pass is.
pub(crate) struct Walk {
    /// The number of the pass.
    number: u64,
    kind: ScrubKind,
    segment: u32,
    place: u32,
    work: Option<Work>,
    /// Reads that have failed in a row.
    failures: u32,
}

/// What one piece has done.
#[derive(Default)]
pub(crate) struct Done {
    /// Bytes that were read.
    pub(crate) read: u64,
    /// Bytes on disk that the pass has come on by.
    pub(crate) passed: u64,
    pub(crate) checked: u64,
    pub(crate) bad: u64,
    pub(crate) dropped: u64,
    /// A read failed.
    pub(crate) failed: bool,
    /// There is nothing more to do.
    over: bool,
}

impl Cache {
    /// Begins a pass over every slot, at `rate` bytes a second (0 is no limit), in place of a pass over suspect slots; one
    /// over every slot that is under way goes on at this rate.
    pub fn scrub(self: &Arc<Self>, rate: u64) {
        let now = self.ground.clock.monotonic();
        let mut pass = self.scrub.0.lock();
        pass.pace = Pace::new(rate, now);
        pass.stats.rate_bytes_per_second = rate;
        let running = pass.stats.state != ScrubState::Idle;
        if !(running && pass.stats.kind == Some(ScrubKind::All)) {
            self.begin(&mut pass, ScrubKind::All);
        }
        drop(pass);
        self.scrub_on();
    }

    /// Ends the pass that is under way, if any.
    pub fn stop_scrub(&self) {
        let mut pass = self.scrub.0.lock();
        if pass.stats.state != ScrubState::Idle {
            self.end(&mut pass, ScrubEnd::Stopped);
        }
    }

    /// Begins a pass over the suspect slots where the last stop may have damaged some, and a rate says that it is wanted.
    pub(crate) fn scrub_after_stop(&self) {
        if let Some(rate) = self.config.scrub_rate
            && self.last_stop().was_cut()
            && !self.disk.read_only
        {
            let mut pass = self.scrub.0.lock();
            pass.pace = Pace::new(rate, self.ground.clock.monotonic());
            pass.stats.rate_bytes_per_second = rate;
            self.begin(&mut pass, ScrubKind::Suspect);
        }
    }

    pub(crate) fn scrub_stats(&self) -> ScrubStats {
        self.scrub.0.lock().stats.clone()
    }

    fn begin(&self, pass: &mut Pass, kind: ScrubKind) {
        let (before, total) = (&pass.stats, self.slots.allocated());
        let number = before.passes + 1;
        pass.stats = ScrubStats {
            state: ScrubState::Running,
            kind: Some(kind),
            passes: number,
            total_bytes: total,
            rate_bytes_per_second: before.rate_bytes_per_second,
            last_finish_timestamp_seconds: before.last_finish_timestamp_seconds,
            ..ScrubStats::default()
        };
        pass.walk = Some(Walk {
            number,
            kind,
            segment: 0,
            place: 0,
            work: None,
            failures: 0,
        });
        let what = match kind {
            ScrubKind::Suspect => "what was cached before the last stop",
            ScrubKind::All => "the whole cache",
        };
        tracing::info!("scrub: checking {what}, up to {total} bytes");
    }

    fn end(&self, pass: &mut Pass, how: ScrubEnd) {
        pass.walk = None;
        pass.stats.state = ScrubState::Idle;
        pass.stats.ended = Some(how);
        if how == ScrubEnd::Finished {
            pass.stats.last_finish_timestamp_seconds = Some(self.ground.clock.wall().as_secs());
            pass.stats.done_bytes = pass.stats.total_bytes;
        }
        let ScrubStats {
            checked_blocks,
            bad_blocks,
            dropped_slots,
            ..
        } = pass.stats;
        let how = match how {
            ScrubEnd::Finished => "done",
            ScrubEnd::Stopped => "stopped",
            ScrubEnd::DiskFailed => "aborted, because the cache disk does not respond",
        };
        tracing::info!(
            "scrub: {how}; {checked_blocks} blocks are intact, {bad_blocks} were damaged and removed from the cache, {dropped_slots} whole chunks were removed"
        );
    }

    /// Hands the next piece to the disk pool, if one may go.
    pub(crate) fn scrub_on(self: &Arc<Self>) {
        let now = self.ground.clock.monotonic();
        let walk = {
            let mut pass = self.scrub.0.lock();
            if pass.walk.is_none() || self.is_closed() {
                return;
            }
            let hung = self.watched.reads_hang();
            let busy = hung || self.ground.executor.has_waiting_reads();
            pass.stats.state = match busy {
                true => ScrubState::Paused,
                false => ScrubState::Running,
            };
            if busy || !pass.pace.is_free(now) {
                return;
            }
            pass.walk.take()
        };
        let piece = Piece {
            cache: Arc::clone(self),
            walk,
        };
        let job: Job = Box::new(move || piece.run());
        // A refused job is dropped, and the piece gives the walk back.
        drop(self.ground.executor.submit(Lane::Read, job));
    }

    /// Takes the walk back from a piece.
    fn piece_ended(&self, walk: Walk, done: &Done) {
        let now = self.ground.clock.monotonic();
        let mut pass = self.scrub.0.lock();
        if pass.stats.passes != walk.number || pass.stats.state == ScrubState::Idle {
            return;
        }
        pass.pace.spend(done.read, now);
        let stats = &mut pass.stats;
        stats.done_bytes += done.passed;
        stats.total_bytes = stats.total_bytes.max(stats.done_bytes);
        stats.checked_blocks += done.checked;
        stats.bad_blocks += done.bad;
        stats.dropped_slots += done.dropped;
        match walk.failures {
            _ if done.over => self.end(&mut pass, ScrubEnd::Finished),
            FAILURES_MAX.. => self.end(&mut pass, ScrubEnd::DiskFailed),
            _ => pass.walk = Some(walk),
        }
    }
}

/// One piece on its way through the disk pool. However it ends, the walk is given back.
struct Piece {
    cache: Arc<Cache>,
    walk: Option<Walk>,
}

impl Piece {
    fn run(mut self) {
        if let Some(walk) = &mut self.walk {
            let done = walk.step(&self.cache);
            walk.failures = if done.failed { walk.failures + 1 } else { 0 };
            if let Some(walk) = self.walk.take() {
                self.cache.piece_ended(walk, &done);
            }
            self.cache.scrub_on();
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(mut walk) = self.walk.take() {
            if std::thread::panicking() {
                walk.failures = FAILURES_MAX;
            }
            self.cache.piece_ended(walk, &Done::default());
        }
    }
}

impl Walk {
    /// Does one piece.
    fn step(&mut self, cache: &Arc<Cache>) -> Done {
        let mut done = Done::default();
        if cache.is_closed() {
            return done;
        }
        if self.work.is_none() {
            self.seek(cache, &mut done);
        }
        if let Some(work) = &mut self.work
            && work.piece(cache, &mut done)
        {
            self.work = None;
        }
        done
    }

    /// Goes on to the next slot that has something to be read.
    fn seek(&mut self, cache: &Arc<Cache>, done: &mut Done) {
        if self.segment >= cache.disk.geometry.segments() {
            done.over = true;
            return;
        }
        match cache.slots.load(self.segment) {
            Ok(true) => {
                done.read = u64::from(cache.disk.geometry.slots_per_segment()) * SECTOR_LEN as u64;
                return;
            }
            Ok(false) => {}
            Err(error) => {
                cache.disk_failed("loading a segment of the index", &error);
                done.failed = true;
                self.segment += 1;
                return;
            }
        }
        let (next, slots) = cache.slots.slots_from(self.segment, self.place, PLACES);
        for slot in slots {
            let work = Work::new(&slot, self.kind == ScrubKind::Suspect);
            if work.is_none() {
                done.passed += u64::from(slot.state.lock().alloc_4k) << 12;
                continue;
            }
            self.place = slot.id.0 % cache.disk.geometry.slots_per_segment() + 1;
            self.work = work;
            return;
        }
        match next {
            Some(next) => self.place = next,
            None => (self.segment, self.place) = (self.segment + 1, 0),
        }
    }
}
