//! What the policy thinks of a slot, kept over a restart: two flag bits of the slot's record.
//!
//! They are written along whenever a slot's sector is. A slot that was written before it proved its worth is noted at
//! the read that proves it, once in its tenancy, and its sector is written again: a few dozen a second, and as many as
//! a second has room for when the cache is closed. What is not written by then is only forgotten. Invariants:
//!
//! * A sector is written for its priority only if it has neither bit and would get one: at most once in a tenancy.
//! * Tag, stamp, presence and checksums stay those of the sector: the order in which chunks came is kept, and nothing
//!   is vouched for that was not before. A suspect slot is left to the check, a dirty one to the flush.
//! * The lock of the notes is taken last of all, and nothing happens under it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::format::SlotFlags;
use crate::runtime::locks::Mutex;
use crate::runtime::rate::Pace;
use crate::runtime::single_job::SingleJob;
use crate::units::SlotId;

/// The bits of a record by which a chunk is known to have proven its worth: either of them brings it into the main
/// queue.
pub(super) const BITS: u32 = SlotFlags::VISITED | SlotFlags::QUEUE_MAIN;

/// Sectors a second.
const RATE: u64 = 64;
/// Notes that wait. A slot that finds no room is noted when it is read another time.
const NOTES_MAX: usize = 1 << 16;

/// The slots whose sectors do not say yet what they are worth.
pub(crate) struct SavedPriorities {
    notes: Mutex<Notes>,
    pub(crate) under_way: SingleJob,
}

struct Notes {
    slots: VecDeque<SlotId>,
    pace: Pace,
}

impl Default for SavedPriorities {
    fn default() -> Self {
        Self {
            notes: Mutex::new(Notes {
                slots: VecDeque::new(),
                pace: Pace::new(RATE, Duration::ZERO),
            }),
            under_way: SingleJob::default(),
        }
    }
}

impl SavedPriorities {
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
    pub(crate) fn next(&self, now: Duration) -> Option<SlotId> {
        let mut notes = self.notes.lock();
        if !notes.pace.is_free(now) {
            return None;
        }
        let id = notes.slots.pop_front()?;
        notes.pace.spend(1, now);
        Some(id)
    }

    pub(super) fn has_next(&self, now: Duration) -> bool {
        let notes = self.notes.lock();
        !notes.slots.is_empty() && notes.pace.is_free(now)
    }

    /// The next slot, whatever the rate says: the cache is being closed.
    pub(crate) fn take(&self) -> Option<SlotId> {
        self.notes.lock().slots.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded_and_leave_at_their_rate() {
        let saved = SavedPriorities::default();
        let noted = (0..100_000).filter(|n| saved.note(SlotId(*n))).count();
        assert_eq!(noted, NOTES_MAX);
        let mut left = 0;
        for ms in (0..10_000).step_by(50) {
            while saved.next(Duration::from_millis(ms)).is_some() {
                left += 1;
            }
        }
        assert!((620..=660).contains(&left), "{left} in ten seconds");
    }
}
