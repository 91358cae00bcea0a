//! The fills of one cache, put together.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::fill::fill_queue::FillQueue;
use crate::engine::flight::fetch_budget::FetchBudget;
use crate::engine::index::cache_index::Index;
use crate::engine::proof::cache_proof::Proof;
use crate::engine::services::Services;
use crate::engine::space::cache_space::Space;

/// What fills work with.
pub(crate) struct Fills {
    pub(super) services: Arc<Services>,
    pub(super) index: Arc<Index>,
    pub(super) space: Arc<Space>,
    pub(super) proof: Arc<Proof>,
    pub(super) budget: Arc<FetchBudget>,
    pub(super) queue: FillQueue,
}

impl Fills {
    pub(crate) fn new(
        services: Arc<Services>,
        space: Arc<Space>,
        index: Arc<Index>,
        proof: Arc<Proof>,
        budget: Arc<FetchBudget>,
    ) -> Self {
        Self {
            services,
            index,
            space,
            proof,
            budget,
            queue: FillQueue::default(),
        }
    }

    /// Whether what is fetched now would be written: then what is read ahead may be kept, too.
    pub(crate) fn are_kept(&self) -> bool {
        self.queue.takes_fills() && !self.index.storage.bypasses_writes()
    }

    /// Looks whether the disk takes what waits to be written. A disk that takes nothing for longer than `patience` is
    /// left alone, and what it may hold for long counts no more against the memory for fetches.
    pub(crate) fn look(&self, now: Duration, patience: Duration) {
        if let Some(bytes) = self.queue.look(now, patience) {
            self.index.storage.takes_nothing(bytes, now);
            self.budget.forgive(true);
        }
        if !self.index.storage.bypasses_writes() && self.queue.unstick(now) {
            self.budget.forgive(false);
        }
    }
}
