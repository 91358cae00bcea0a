//! What the policy thinks of a slot, kept over a restart: two flag bits of the slot's record.
//!
//! They are written along whenever a slot's sector is. A slot that was written before it proved its worth is noted at
//! the read that proves it, once in its tenancy, and its sector is written again: a few dozen a second, and as many as a
//! second has room for when the cache is closed. What is not written by then is only forgotten. Invariants:
//!
//! * A sector is written for its standing only if it has neither bit and would get one: at most once in a tenancy.
//! * Tag, stamp, presence and checksums stay those of the sector: the order in which chunks came is kept, and nothing is
//!   vouched for that was not before. A suspect slot is left to whoever checks it, a dirty one to the flush.
//! * The lock of the notes is taken last of all, and nothing happens under it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::engine::api::cache::Cache;
use crate::engine::index::slot::Tenancy;
use crate::engine::proof::verify;
use crate::format::SlotFlags;
use crate::runtime::executor::{Job, Lane};
use crate::runtime::locks::Mutex;
use crate::runtime::rate::Pace;
use crate::units::SlotId;

/// The bits of a record by which a chunk is known to have proven its worth: either of them brings it into the main queue.
pub(crate) const BITS: u32 = SlotFlags::VISITED | SlotFlags::QUEUE_MAIN;

/// Sectors a second.
const RATE: u64 = 64;
/// Notes that wait. A slot that finds no room is noted when it is read another time.
const NOTES_MAX: usize = 1 << 16;
/// What a close writes, and how long it may take for that.
const CLOSE_MAX: usize = 8192;
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// The slots whose sectors do not say yet what they are worth.
pub(crate) struct Standing {
    notes: Mutex<Notes>,
    under_way: AtomicBool,
}

struct Notes {
    slots: VecDeque<SlotId>,
    pace: Pace,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            notes: Mutex::new(Notes {
                slots: VecDeque::new(),
                pace: Pace::new(RATE, Duration::ZERO),
            }),
            under_way: AtomicBool::new(false),
        }
    }
}

impl Standing {
    /// Notes a slot; whether there was room for it.
    pub(crate) fn note(&self, id: SlotId) -> bool {
        let mut notes = self.notes.lock();
        let room = notes.slots.len() < NOTES_MAX;
        if room {
            notes.slots.push_back(id);
        }
        room
    }

    /// The next slot, if one may be written now.
    fn next(&self, now: Duration) -> Option<SlotId> {
        let mut notes = self.notes.lock();
        if !notes.pace.is_free(now) {
            return None;
        }
        let id = notes.slots.pop_front()?;
        notes.pace.spend(1, now);
        Some(id)
    }

    fn has_next(&self, now: Duration) -> bool {
        let notes = self.notes.lock();
        !notes.slots.is_empty() && notes.pace.is_free(now)
    }
}

impl Cache {
    /// Has the next few sectors written, if there are any. Does not wait for the disk.
    pub(crate) fn keep_standing_on(self: &Arc<Self>) {
        let now = self.ground.clock.monotonic();
        if self.disk.read_only || self.is_closed() || !self.standing.has_next(now) {
            return;
        }
        if self.standing.under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let cache = Arc::clone(self);
        let job: Job = Box::new(move || {
            while !cache.is_closed()
                && let Some(id) = cache.standing.next(now)
            {
                cache.write_standing(id);
            }
            cache.standing.under_way.store(false, Ordering::Release);
        });
        if self.ground.executor.submit(Lane::Write, job).is_err() {
            self.standing.under_way.store(false, Ordering::Release);
        }
    }

    /// Writes what is noted, as far as a close has time for it.
    pub(crate) fn keep_standing_at_close(&self) {
        let began = self.ground.clock.monotonic();
        for _ in 0..CLOSE_MAX {
            let Some(id) = self.standing.notes.lock().slots.pop_front() else {
                return;
            };
            self.write_standing(id);
            if self.ground.clock.monotonic().saturating_sub(began) >= CLOSE_TIME {
                return;
            }
        }
    }

    /// Writes the sector of the slot at a place again if it does not say what the slot is worth. `None` where nothing was
    /// written.
    fn write_standing(&self, id: SlotId) -> Option<()> {
        let slot = self.slots.at(id)?;
        // Whoever holds the lock fills the slot, and has its sector written; or takes it from its tenant.
        let tenancy = slot.tenancy.try_lock()?;
        if *tenancy == Tenancy::Unfounded {
            return None;
        }
        let bits = self.slots.standing(&slot);
        {
            let state = slot.state.lock();
            let settled = !state.retired && !state.suspect && state.crcs.is_none();
            if !settled || bits == 0 || state.flags.0 & BITS != 0 {
                return None;
            }
        }
        let mut record = verify::read_record(self, &slot)?;
        record.flags.0 |= bits;
        if let Err(error) = self.disk.write_slot(id, &record) {
            self.disk_failed("writing a slot's sector", &error);
            return None;
        }
        slot.state.lock().flags.0 |= bits;
        self.counters.rank_writes.add(1);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded_and_leave_at_their_rate() {
        let standing = Standing::default();
        let noted = (0..100_000).filter(|n| standing.note(SlotId(*n))).count();
        assert_eq!(noted, NOTES_MAX);
        let mut left = 0;
        for ms in (0..10_000).step_by(50) {
            while standing.next(Duration::from_millis(ms)).is_some() {
                left += 1;
            }
        }
        assert!((620..=660).contains(&left), "{left} in ten seconds");
    }
}
