//! The steps of a simulation: disk jobs, fetches and time as queues that the test empties in an order of its own.
//!
//! The engine under a simulation is the engine of the daemon: only what runs its jobs, answers its fetches and tells
//! the time differs. Nothing runs by itself, so a seed decides every interleaving.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Rng;
use crate::engine::{Clock, Executor, FetchJob, Fetcher, Job, Lane};

/// Disk jobs that wait until the test runs them.
#[derive(Default)]
pub struct SimExecutor {
    queue: Mutex<SimLanes>,
}

#[derive(Default)]
struct SimLanes {
    jobs: VecDeque<Job>,
    /// Writes beyond so many are refused, as by a full lane.
    writes_max: Option<usize>,
    writes: usize,
}

impl SimExecutor {
    /// Refuses further writes while this many wait; `None` takes all.
    pub fn limit_writes(&self, most: Option<usize>) {
        self.queue.lock().writes_max = most;
    }

    /// Runs one waiting job, chosen by `rng`; false where none waits.
    pub fn step(&self, rng: &mut Rng) -> bool {
        let job = {
            let mut queue = self.queue.lock();
            let at = rng.index(queue.jobs.len());
            queue.jobs.swap_remove_back(at)
        };
        match job {
            Some(job) => {
                job();
                true
            }
            None => false,
        }
    }

    /// Forgets every job, as a killed daemon does.
    pub fn kill(&self) -> Vec<Job> {
        self.queue.lock().jobs.drain(..).collect()
    }
}

impl Executor for Arc<SimExecutor> {
    fn submit(&self, lane: Lane, job: Job) -> Result<(), Job> {
        let mut queue = self.queue.lock();
        if lane == Lane::Write {
            queue.writes += 1;
            if queue.writes_max.is_some_and(|most| queue.writes > most) {
                queue.writes -= 1;
                return Err(job);
            }
            let this = Arc::clone(self);
            queue.jobs.push_back(Box::new(move || {
                this.queue.lock().writes -= 1;
                job();
            }));
            return Ok(());
        }
        queue.jobs.push_back(job);
        Ok(())
    }
}

/// Fetches that wait until the test answers them.
#[derive(Default)]
pub struct SimFetcher(Mutex<VecDeque<FetchJob>>);

impl SimFetcher {
    /// Takes one waiting fetch, chosen by `rng`.
    pub fn take(&self, rng: &mut Rng) -> Option<FetchJob> {
        let mut queue = self.0.lock();
        let at = rng.index(queue.len());
        queue.swap_remove_back(at)
    }

    /// Puts a fetch back, for instance one that is not complete.
    pub fn put(&self, job: FetchJob) {
        self.0.lock().push_back(job);
    }
}

impl Fetcher for Arc<SimFetcher> {
    fn start(&self, job: FetchJob) {
        self.0.lock().push_back(job);
    }
}

/// A clock that the test moves.
#[derive(Default)]
pub struct SimClock(Mutex<Duration>);

impl SimClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        *self.0.lock() += by;
    }
}

impl Clock for Arc<SimClock> {
    fn monotonic(&self) -> Duration {
        *self.0.lock()
    }

    fn wall(&self) -> Duration {
        *self.0.lock() + Duration::from_secs(1_700_000_000)
    }
}
