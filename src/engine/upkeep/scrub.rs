//! The scrub: going through what is cached, to drop what is damaged before a read asks for it.
//!
//! It has no thread. A tick, or the end of the piece before, hands at most one piece (1 MiB of one slot, or the loading
//! of one segment) to the disk pool, and only if no reader waits there and the rate allows it. What is done to a slot
//! is in `scrub_slot.rs`. Invariants:
//!
//! * The walk is either here or with the one piece that is under way; a piece that comes back to another pass than the
//!   one that it left is forgotten.
//! * Nothing depends on a pass coming to its end: what it did not reach is checked at first touch.

use std::sync::Arc;

use crate::engine::index::cache_index::Index;
use crate::engine::proof::cache_proof::Proof;
use crate::engine::services::Services;
use crate::engine::upkeep::scrub_slot::{Done, Work};
use crate::engine::upkeep::scrub_stats::{ScrubEnd, ScrubKind, ScrubState, ScrubStats};
use crate::format::SECTOR_LEN;
use crate::runtime::executor::{Job, Lane};
use crate::runtime::locks::Mutex;
use crate::runtime::rate::Pace;
use crate::storage::{DiskOp, IndexPart};

/// So many reads that fail in a row are a disk that has gone, not blocks that are bad.
const FAILURES_MAX: u32 = 16;
/// How many places one piece looks at to find a slot that has something to be read.
const PLACES: usize = 256;

/// The scrub of one cache.
pub(crate) struct Scrub {
    services: Arc<Services>,
    index: Arc<Index>,
    proof: Arc<Proof>,
    pass: Mutex<Pass>,
}

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

impl Scrub {
    pub(crate) fn new(services: Arc<Services>, index: Arc<Index>, proof: Arc<Proof>) -> Self {
        Self {
            services,
            index,
            proof,
            pass: Mutex::default(),
        }
    }

    /// Begins a pass over every slot, at `rate` bytes a second (0 is no limit), in place of a pass over suspect slots;
    /// one over every slot that is under way goes on at this rate.
    pub(crate) fn begin_all(self: &Arc<Self>, rate: u64) {
        let now = self.services.now();
        let mut pass = self.pass.lock();
        pass.pace = Pace::new(rate, now);
        pass.stats.rate_bytes_per_second = rate;
        let running = pass.stats.state != ScrubState::Idle;
        if !(running && pass.stats.kind == Some(ScrubKind::All)) {
            self.begin(&mut pass, ScrubKind::All);
        }
        drop(pass);
        self.go_on();
    }

    /// Ends the pass that is under way, if any.
    pub(crate) fn stop(&self) {
        let mut pass = self.pass.lock();
        if pass.stats.state != ScrubState::Idle {
            self.end(&mut pass, ScrubEnd::Stopped);
        }
    }

    /// Begins a pass over the suspect slots at `rate` bytes a second (0 is no limit), because the last stop may have
    /// damaged some.
    pub(crate) fn begin_after_cut(&self, rate: u64) {
        if !self.index.file.read_only {
            let mut pass = self.pass.lock();
            pass.pace = Pace::new(rate, self.services.now());
            pass.stats.rate_bytes_per_second = rate;
            self.begin(&mut pass, ScrubKind::Suspect);
        }
    }

    pub(crate) fn stats(&self) -> ScrubStats {
        self.pass.lock().stats.clone()
    }

    fn begin(&self, pass: &mut Pass, kind: ScrubKind) {
        let (before, total) = (&pass.stats, self.index.slots.allocated());
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
            pass.stats.last_finish_timestamp_seconds = Some(self.services.clock.wall().as_secs());
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
    pub(crate) fn go_on(self: &Arc<Self>) {
        let now = self.services.now();
        let walk = {
            let mut pass = self.pass.lock();
            if pass.walk.is_none() || self.services.is_closed() {
                return;
            }
            let hung = self.index.storage.reads_hang();
            let busy = hung || self.services.executor.has_waiting_reads();
            pass.stats.state = if busy {
                ScrubState::Paused
            } else {
                ScrubState::Running
            };
            if busy || !pass.pace.is_free(now) {
                return;
            }
            pass.walk.take()
        };
        let piece = Piece {
            scrub: Arc::clone(self),
            walk,
        };
        let job: Job = Box::new(move || piece.run());
        // A refused job is dropped, and the piece gives the walk back.
        drop(self.services.submit(Lane::Read, job));
    }

    /// Takes the walk back from a piece.
    fn piece_ended(&self, walk: Walk, done: &Done) {
        let now = self.services.now();
        let mut pass = self.pass.lock();
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
    scrub: Arc<Scrub>,
    walk: Option<Walk>,
}

impl Piece {
    fn run(mut self) {
        if let Some(walk) = &mut self.walk {
            let done = walk.step(&self.scrub);
            walk.failures = if done.failed { walk.failures + 1 } else { 0 };
            if let Some(walk) = self.walk.take() {
                self.scrub.piece_ended(walk, &done);
            }
            self.scrub.go_on();
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(mut walk) = self.walk.take() {
            if std::thread::panicking() {
                walk.failures = FAILURES_MAX;
            }
            self.scrub.piece_ended(walk, &Done::default());
        }
    }
}

impl Walk {
    /// Does one piece.
    fn step(&mut self, scrub: &Scrub) -> Done {
        let mut done = Done::default();
        if scrub.services.is_closed() {
            return done;
        }
        if self.work.is_none() {
            self.seek(scrub, &mut done);
        }
        if let Some(work) = &mut self.work
            && work.piece(&scrub.proof, &mut done)
        {
            self.work = None;
        }
        done
    }

    /// Goes on to the next slot that has something to be read.
    fn seek(&mut self, scrub: &Scrub, done: &mut Done) {
        if self.segment >= scrub.index.file.geometry.segments() {
            done.over = true;
            return;
        }
        match scrub.index.slots.load(self.segment) {
            Ok(true) => {
                done.read =
                    u64::from(scrub.index.file.geometry.slots_per_segment()) * SECTOR_LEN as u64;
                return;
            }
            Ok(false) => {}
            Err(error) => {
                scrub
                    .index
                    .storage
                    .report(DiskOp::ReadIndex(IndexPart::Segment), &error);
                done.failed = true;
                self.segment += 1;
                return;
            }
        }
        let (next, slots) = scrub
            .index
            .slots
            .slots_from(self.segment, self.place, PLACES);
        for slot in slots {
            let work = Work::new(&slot, self.kind == ScrubKind::Suspect);
            if work.is_none() {
                done.passed += u64::from(slot.state.lock().alloc_4k) << 12;
                continue;
            }
            self.place = slot.id.0 % scrub.index.file.geometry.slots_per_segment() + 1;
            self.work = work;
            return;
        }
        match next {
            Some(next) => self.place = next,
            None => (self.segment, self.place) = (self.segment + 1, 0),
        }
    }
}
