//! What every room of the engine is handed: the disk pool, the clock, the options, the counters, and whether the cache
//! is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::engine::config::cache::Config;
use crate::engine::stats::counters::Counters;
use crate::runtime::clock::Clock;
use crate::runtime::executor::{Executor, Job, Lane};

/// The services of one cache.
pub(crate) struct Services {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) counters: Arc<Counters>,
    closed: AtomicBool,
}

impl Services {
    pub(crate) fn new(
        executor: Arc<dyn Executor>,
        clock: Arc<dyn Clock>,
        config: Config,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            executor,
            clock,
            config,
            counters,
            closed: AtomicBool::new(false),
        }
    }

    /// The time since some fixed moment.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Hands a job to the disk pool. Gives it back where the pool takes no more work.
    pub(crate) fn submit(&self, lane: Lane, job: Job) -> Result<(), Job> {
        self.executor.submit(lane, job)
    }

    /// Whether the cache was closed: then nothing new is written.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the cache; whether it had been closed before.
    pub(crate) fn close(&self) -> bool {
        self.closed.swap(true, Ordering::AcqRel)
    }
}
