//! Operations under way, and which of them do not come back.
//!
//! An operation takes a place for as long as it runs, which costs two atomic writes and no look at a clock: it goes on
//! the way of every read. A look now and then sees which places are still taken by the operation that had them at the
//! look before. So no operation counts as late because there was no look for a while.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::runtime::locks::Mutex;

/// More operations at a time than this are not watched; there are not so many threads.
const PLACES: usize = 64;

/// The operations of one kind.
pub(crate) struct PendingOps {
    /// Odd while an operation is under way; never the same again.
    places: [Place; PLACES],
    seen: Mutex<[Seen; PLACES]>,
}

/// Apart from each other, so that threads do not share a cache line.
#[derive(Default)]
#[repr(align(64))]
struct Place(AtomicU64);

#[derive(Clone, Copy, Default)]
struct Seen {
    number: u64,
    since: Duration,
    /// It was told of.
    told: bool,
}

/// One operation, until it is dropped.
pub(crate) struct UnderWay<'a>(Option<&'a AtomicU64>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.fetch_add(1, Ordering::Release);
        }
    }
}

/// What a look found.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Look {
    /// Operations that have been under way for too long, and were not told of before.
    pub(crate) stuck: u64,
    /// Such that were told of and have come back.
    pub(crate) back: u64,
}

impl Default for PendingOps {
    fn default() -> Self {
        Self {
            places: std::array::from_fn(|_| Place::default()),
            seen: Mutex::new([Seen::default(); PLACES]),
        }
    }
}

impl PendingOps {
    /// An operation begins.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        let first = own_place();
        let places = self.places.iter().cycle().skip(first).take(PLACES);
        for Place(place) in places {
            let number = place.load(Ordering::Relaxed);
            let taken = number % 2 == 1
                || place
                    .compare_exchange(number, number + 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_err();
            if !taken {
                return UnderWay(Some(place));
            }
        }
        UnderWay(None)
    }

    /// Looks for operations that have been seen for `patience`.
    pub(crate) fn look(&self, now: Duration, patience: Duration) -> Look {
        let mut look = Look::default();
        for (Place(place), seen) in self.places.iter().zip(self.seen.lock().iter_mut()) {
            let number = place.load(Ordering::Acquire);
            if number != seen.number {
                look.back += u64::from(seen.told);
                *seen = Seen {
                    number,
                    since: now,
                    told: false,
                };
            } else if number % 2 == 1 && !seen.told && now.saturating_sub(seen.since) >= patience {
                seen.told = true;
                look.stuck += 1;
            }
        }
        look
    }
}

/// Where this thread's operations look for a place first.
fn own_place() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        let place = own
            .get()
            .unwrap_or_else(|| THREADS.fetch_add(1, Ordering::Relaxed) % PLACES);
        own.set(Some(place));
        place
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(operations: &PendingOps, secs: u64) -> (u64, u64) {
        let found = operations.look(Duration::from_secs(secs), Duration::from_secs(2));
        (found.stuck, found.back)
    }

    #[test]
    fn only_the_operation_that_was_seen_long_ago_is_stuck() {
        let operations = PendingOps::default();
        let first = operations.begin();
        // There was no look for long: that is not the operation's fault.
        assert_eq!(look(&operations, 100), (0, 0));
        drop(operations.begin());
        let second = operations.begin();
        assert_eq!(look(&operations, 101), (0, 0));
        assert_eq!(look(&operations, 102), (1, 0), "the first");
        assert_eq!(look(&operations, 103), (1, 0), "the second");
        assert_eq!(look(&operations, 200), (0, 0), "each is told of once");
        drop(first);
        assert_eq!(look(&operations, 201), (0, 1));
        drop(second);
        assert_eq!(look(&operations, 202), (0, 1));
        // The same place again is another operation.
        let _third = operations.begin();
        assert_eq!(look(&operations, 203), (0, 0));
    }

    #[test]
    fn more_operations_than_places_are_let_through() {
        let operations = PendingOps::default();
        let all: Vec<_> = (0..PLACES + 5).map(|_| operations.begin()).collect();
        assert_eq!(look(&operations, 1), (0, 0));
        assert_eq!(look(&operations, 3), (PLACES as u64, 0));
        drop(all);
        assert_eq!(look(&operations, 4), (0, PLACES as u64));
    }
}
