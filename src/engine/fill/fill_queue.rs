//! Fills that wait for the cache disk, and whether it takes them.
//!
//! A disk that is merely slow holds the fetches back, through the memory that they share. One that takes nothing for a
//! while is left alone: its fills keep their memory, the fetches get as much again, and nothing more is written until
//! a probe says that it works (`health.rs`).

use std::time::Duration;

use crate::runtime::locks::Mutex;

/// The fills that wait.
#[derive(Default)]
pub(super) struct FillQueue(Mutex<State>);

#[derive(Default)]
struct State {
    bytes: u64,
    /// When the last fill came or went.
    moved: Duration,
    stuck: bool,
    /// The last fill found no place, or the disk did not take it.
    refused: bool,
}

impl FillQueue {
    /// A fill of so many bytes comes; false where the disk is stuck, and it is to be dropped.
    pub(crate) fn enter(&self, bytes: u64, now: Duration) -> bool {
        let mut state = self.0.lock();
        if state.stuck {
            return false;
        }
        if state.bytes == 0 {
            state.moved = now;
        }
        state.bytes += bytes;
        true
    }

    /// A fill goes, written or not.
    pub(crate) fn leave(&self, bytes: u64, now: Duration, written: bool) {
        let mut state = self.0.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.moved = now;
        state.refused = !written;
    }

    /// The disk is well again. Returns whether it had been stuck until now.
    pub(super) fn unstick(&self, now: Duration) -> bool {
        let mut state = self.0.lock();
        let stuck = std::mem::replace(&mut state.stuck, false);
        if stuck {
            (state.moved, state.refused) = (now, false);
        }
        stuck
    }

    /// Whether the disk has taken nothing for longer than `patience`: then how many bytes wait. Said once until
    /// [`FillQueue::unstick`].
    pub(crate) fn look(&self, now: Duration, patience: Duration) -> Option<u64> {
        let mut state = self.0.lock();
        let late = now.saturating_sub(state.moved) >= patience;
        let stuck = state.bytes > 0 && late && !state.stuck;
        state.stuck |= stuck;
        stuck.then_some(state.bytes)
    }

    /// Whether a fill may be written: then what is read ahead may be kept, too.
    pub(super) fn takes_fills(&self) -> bool {
        let state = self.0.lock();
        !state.stuck && !state.refused
    }
}
