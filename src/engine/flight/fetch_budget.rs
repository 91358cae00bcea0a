//! The bound on the memory of fetches: what does not fit waits, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::runtime::locks::Mutex;

/// The least that a fetch is charged, where the budget is not smaller still: what it takes beside its bytes.
const LEAST: u64 = 64 << 10;

/// A transfer from the remote that the budget lets start.
pub(crate) trait Transfer: Send {
    /// The memory that it takes.
    fn charge(&self) -> &Charge;

    /// Whether a read waits for it; if not, it may as well not be started.
    fn is_wanted(&self) -> bool;

    /// Starts it.
    fn start(self: Box<Self>);

    /// Ends it without having started it, because no read waits for it. A read that has begun to wait since that was
    /// found gets another one.
    fn decline(self: Box<Self>);
}

/// The bytes of one fetch, counted from its start until the last of them is on disk or dropped.
pub(crate) struct Charge {
    budget: Arc<FetchBudget>,
    bytes: u64,
    counted: AtomicBool,
    streamed: bool,
}

impl Charge {
    /// What a fetch of so many bytes will be charged. The least charge bounds the number of fetches, and of what comes
    /// of them, as well as their bytes.
    pub(crate) fn new(budget: &Arc<FetchBudget>, bytes: u64) -> Self {
        let limit = budget.limit;
        let least = (limit / 4096).max((limit / 64).min(LEAST));
        Self {
            budget: Arc::clone(budget),
            bytes: bytes.max(least),
            counted: AtomicBool::new(false),
            streamed: false,
        }
    }

    /// Bytes that are here already, of a fetch whose length was not known: counted, whether they fit or not.
    pub(crate) fn of_stream(budget: &Arc<FetchBudget>, bytes: u64) -> Self {
        let mut state = budget.state.lock();
        state.in_flight += bytes;
        state.streamed += bytes;
        drop(state);
        Self {
            budget: Arc::clone(budget),
            bytes,
            counted: AtomicBool::new(true),
            streamed: true,
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.streamed {
            self.budget.state.lock().streamed -= self.bytes;
        }
        if *self.counted.get_mut() {
            self.budget.release(self.bytes);
        }
    }
}

/// Bounds the memory of fetches in flight: what does not fit waits, in order.
pub(crate) struct FetchBudget {
    limit: u64,
    /// Bytes that open files hold for their first reads.
    held: AtomicU64,
    state: Mutex<BudgetState>,
}

#[derive(Default)]
struct BudgetState {
    in_flight: u64,
    /// What of that may be held by a stuck disk: it does not count.
    forgiven: u64,
    /// What of that came by streams.
    streamed: u64,
    waiting: VecDeque<Box<dyn Transfer>>,
}

impl FetchBudget {
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

    /// Counts bytes that an open file holds until its first read. Whether they may be: all of them take an eighth of
    /// the memory at most. In any case [`FetchBudget::let_go`] takes them back.
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

    /// Whether a stream may deliver so many bytes more. It does not queue behind fetches that wait, which may wait for
    /// it; and where nothing of any stream is held, it may always.
    pub(crate) fn has_room_for_stream(&self, bytes: u64) -> bool {
        let state = self.state.lock();
        state.streamed == 0 || state.in_flight - state.forgiven + bytes <= self.limit
    }

    /// Starts the fetch, or lets it wait for room. One fetch always has room.
    pub(crate) fn admit(&self, job: Box<dyn Transfer>) {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() || !state.count(&*job, self.limit) {
            return state.waiting.push_back(job);
        }
        drop(state);
        job.start();
    }

    /// Lets what is in flight not count any more, because it may not come back for long, and starts what waits for
    /// room. Counts all of it again where `forgive` is false.
    pub(crate) fn forgive(&self, forgive: bool) {
        {
            let mut state = self.state.lock();
            state.forgiven = if forgive { state.in_flight } else { 0 };
        }
        self.release(0);
    }

    /// Whether so much is forgiven and still held that the disk must be given nothing more: one that takes a fill now
    /// and then must not pile up memory.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.state.lock().in_flight > self.limit.saturating_mul(2)
    }

    /// Gives room back and starts what waits for it. A fetch that no read wants any more is dropped instead.
    fn release(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(bytes);
        state.forgiven = state.forgiven.min(state.in_flight);
        let (mut ready, mut unwanted) = (Vec::new(), Vec::new());
        while let Some(job) = state.waiting.pop_front() {
            if !job.is_wanted() {
                unwanted.push(job);
            } else if state.count(&*job, self.limit) {
                ready.push(job);
            } else {
                state.waiting.push_front(job);
                break;
            }
        }
        drop(state);
        unwanted.into_iter().for_each(|job| job.decline());
        ready.into_iter().for_each(|job| job.start());
    }
}

impl BudgetState {
    /// Counts the fetch in if it fits.
    fn count(&mut self, job: &dyn Transfer, limit: u64) -> bool {
        let charge = job.charge();
        let bytes = charge.bytes;
        let counted = self.in_flight - self.forgiven;
        let fits = counted == 0 || counted + bytes <= limit;
        if fits {
            self.in_flight += bytes;
            charge.counted.store(true, Ordering::Relaxed);
        }
        fits
    }
}
