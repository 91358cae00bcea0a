//! The link to one remote: what its transfers share, and how quickly it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::fill::fills::Fills;
use crate::engine::flight::fetch_budget::FetchBudget;
use crate::engine::services::Services;

/// The link to one remote.
pub(crate) struct Link {
    pub(crate) services: Arc<Services>,
    pub(crate) budget: Arc<FetchBudget>,
    pub(crate) fills: Arc<Fills>,
    /// How long the remote takes to begin an answer, in nanoseconds: a moving mean.
    latency: AtomicU64,
}

impl Link {
    pub(crate) fn new(
        services: Arc<Services>,
        budget: Arc<FetchBudget>,
        fills: Arc<Fills>,
    ) -> Self {
        Self {
            services,
            budget,
            fills,
            latency: AtomicU64::new(0),
        }
    }

    /// Notes how long the remote took to begin an answer. Two notes at a time may lose one.
    pub(super) fn note_latency(&self, taken: Duration) {
        let taken = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        let mean = self.latency.load(Ordering::Relaxed);
        let next = if mean == 0 {
            taken
        } else {
            mean - mean / 8 + taken / 8
        };
        self.latency.store(next, Ordering::Relaxed);
    }

    /// How long the remote takes to begin an answer.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_nanos(self.latency.load(Ordering::Relaxed))
    }
}
