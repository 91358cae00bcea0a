//! The bound on the memory of fetches: what does not fit waits, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::engine::api::cache::Cache;
use crate::engine::transfer::fetch::FetchJob;
use crate::runtime::locks::Mutex;

/// The least that a fetch is charged, where the budget is not smaller still: what it takes beside its bytes.
const LEAST: u64 = 64 << 10;

/// The bytes of one fetch, counted from its start until the last of them is on disk or dropped.
pub(crate) struct Budget {
    cache: Arc<Cache>,
    bytes: u64,
    counted: AtomicBool,
    streamed: bool,
}

impl Budget {
    /// What a fetch of so many bytes will be charged. The least charge bounds the number of fetches, and of what comes of
    /// them, as well as their bytes.
    pub(crate) fn new(cache: &Arc<Cache>, bytes: u64) -> Self {
        let budget = cache.config.fetch_budget;
        let least = (budget / 4096).max((budget / 64).min(LEAST));
        Self {
            cache: Arc::clone(cache),
            bytes: bytes.max(least),
            counted: AtomicBool::new(false),
            streamed: false,
        }
    }

    /// Bytes that are here already, of a fetch that nobody could tell the length of: counted, whether they fit or not.
    pub(crate) fn charge(cache: &Arc<Cache>, bytes: u64) -> Self {
        let mut state = cache.gate.state.lock();
        state.in_flight += bytes;
        state.streamed += bytes;
        drop(state);
        Self {
            cache: Arc::clone(cache),
            bytes,
            counted: AtomicBool::new(true),
            streamed: true,
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if self.streamed {
            self.cache.gate.state.lock().streamed -= self.bytes;
        }
        if *self.counted.get_mut() {
            self.cache.gate.release(self.bytes);
        }
    }
}

/// Bounds the memory of fetches in flight: what does not fit waits, in order.
pub(crate) struct Gate {
    limit: u64,
    /// Bytes that open files hold for their first reads.
    held: AtomicU64,
    state: Mutex<GateState>,
}

#[derive(Default)]
struct GateState {
    in_flight: u64,
    /// What of that may be held by a stuck disk: it does not count.
    forgiven: u64,
    /// What of that came by streams.
    streamed: u64,
    waiting: VecDeque<FetchJob>,
}

impl Gate {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            held: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// The bytes of all fetches in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        self.state.lock().in_flight
    }

    /// Counts bytes that an open file holds until its first read. Whether they may be: all of them take an eighth of the
    /// memory at most. In any case [`Gate::let_go`] takes them back.
    pub(crate) fn hold(&self, bytes: u64) -> bool {
        self.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit / 8
    }

    pub(crate) fn let_go(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether a fetch of so many bytes could start now; readahead does not wait for room.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let state = self.state.lock();
        state.waiting.is_empty() && state.in_flight - state.forgiven + bytes <= self.limit
    }

    /// Whether a stream may deliver so many bytes more. It does not queue behind fetches that wait, which may wait for it;
    /// and where nothing of any stream is held, it may always.
    pub(crate) fn has_room_for_stream(&self, bytes: u64) -> bool {
        let state = self.state.lock();
        state.streamed == 0 || state.in_flight - state.forgiven + bytes <= self.limit
    }

    /// Starts the fetch, or lets it wait for room. One fetch always has room.
    pub(crate) fn admit(&self, job: FetchJob) {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() || !state.count(&job, self.limit) {
            return state.waiting.push_back(job);
        }
        drop(state);
        start(job);
    }

    /// Lets what is in flight not count any more, because it may not come back for long, and starts what waits for room.
    /// Counts all of it again where `forgive` is false.
    pub(crate) fn forgive(&self, forgive: bool) {
        {
            let mut state = self.state.lock();
            state.forgiven = if forgive { state.in_flight } else { 0 };
        }
        self.release(0);
    }

    /// Whether so much is forgiven and still held that the disk must be given nothing more: one that takes a fill now and
    /// then must not pile up memory.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.state.lock().in_flight > self.limit.saturating_mul(2)
    }

    /// Gives room back and starts what waits for it. A fetch that nobody wants any more is dropped instead.
    fn release(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(bytes);
        state.forgiven = state.forgiven.min(state.in_flight);
        let (mut ready, mut unwanted) = (Vec::new(), Vec::new());
        while let Some(job) = state.waiting.pop_front() {
            if !job.is_wanted() {
                unwanted.push(job);
            } else if state.count(&job, self.limit) {
                ready.push(job);
            } else {
                state.waiting.push_front(job);
                break;
            }
        }
        drop(state);
        unwanted.into_iter().for_each(FetchJob::decline);
        ready.into_iter().for_each(start);
    }
}

impl GateState {
    /// Counts the fetch in if it fits.
    fn count(&mut self, job: &FetchJob, limit: u64) -> bool {
        let budget = job.budget();
        let bytes = budget.bytes;
        let counted = self.in_flight - self.forgiven;
        let fits = counted == 0 || counted + bytes <= limit;
        if fits {
            self.in_flight += bytes;
            budget.counted.store(true, Ordering::Relaxed);
        }
        fits
    }
}

fn start(job: FetchJob) {
    job.start();
}
