//! The first bytes of an object, held for the reader whose open has fetched them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::engine::flight::fetch_budget::FetchBudget;
use crate::engine::version::object::Object;
use crate::runtime::locks::Mutex;
use crate::units::ByteRange;
use crate::units::offset_in;

/// The first bytes of an object for the reader whose open has fetched them. Those of a settled version are on their way
/// to the cache, too, and are held for the first read alone; those of any other are kept nowhere else.
#[derive(Default)]
pub(crate) struct First {
    /// How many there are; 0 once they were let go.
    len: AtomicU64,
    held: Mutex<Option<Held>>,
}

struct Held {
    bytes: Bytes,
    settled: bool,
    /// What [`Heads::dropped`] was.
    dropped: u64,
    budget: Arc<FetchBudget>,
}

impl First {
    /// Holds `bytes`, unless all that is held takes an eighth of the memory for fetches already.
    pub(crate) fn hold(object: &Object, budget: &Arc<FetchBudget>, bytes: Bytes) -> Self {
        let len = bytes.len() as u64;
        let held = Held {
            bytes,
            // Where provisional bytes were handed out, these may be among them.
            settled: object.is_settled() && !object.is_provisional(),
            dropped: object.heads.dropped.load(Ordering::Acquire),
            budget: Arc::clone(budget),
        };
        match budget.hold(len) {
            true => Self {
                len: AtomicU64::new(len),
                held: Mutex::new(Some(held)),
            },
            false => Self::default(),
        }
    }

    /// The bytes of `range`, where they are held. Those that were not settled are given out only until the version is:
    /// from then on the cache has it, and pages that later opens keep must not come from here.
    pub(crate) fn take(&self, range: ByteRange, object: &Object) -> Option<Bytes> {
        if range.is_empty() || range.start >= self.len.load(Ordering::Relaxed) {
            return None;
        }
        let mut held = self.held.lock();
        let first = held.as_ref()?;
        let outdated = first.dropped != object.heads.dropped.load(Ordering::Acquire)
            || !first.settled && object.is_settled();
        let whole = ByteRange::at(0, first.bytes.len() as u64);
        let part = offset_in(whole, range.start)..offset_in(whole, range.end);
        let inside = !outdated && range.end <= whole.end;
        let bytes = inside.then(|| first.bytes.slice(part));
        if inside && !first.settled {
            object.note_provisional();
        }
        if outdated || first.settled {
            self.len.store(0, Ordering::Relaxed);
            drop(held.take());
        }
        bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let len = self.bytes.len() as u64;
        self.budget.let_go(len);
    }
}
