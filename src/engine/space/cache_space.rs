//! The space of one cache, put together.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::engine::index::cache_index::Index;
use crate::engine::services::Services;
use crate::engine::space::limits::Limits;
use crate::engine::space::recount::Recount;
use crate::engine::space::room::Reserved;
use crate::engine::space::stale_versions::StaleVersions;
use crate::runtime::single_job::SingleJob;

/// The space: how much there may be, who gets it, and who gives it back.
pub(crate) struct Space {
    pub(super) services: Arc<Services>,
    pub(super) index: Arc<Index>,
    pub(crate) limits: Limits,
    pub(crate) reserved: Reserved,
    pub(crate) stale: StaleVersions,
    pub(super) recount: Recount,
    pub(super) reclaiming: SingleJob,
    pub(super) shrinking: SingleJob,
    /// Nothing could be given back when it was last tried.
    pub(super) stuck: AtomicBool,
}

impl Space {
    /// The space of a cache that may take `capacity` bytes. Where `counted`, the index knows what all chunk files take.
    pub(crate) fn new(
        services: Arc<Services>,
        index: Arc<Index>,
        capacity: u64,
        counted: bool,
    ) -> Self {
        Self {
            limits: Limits::new(capacity, services.config.free_space),
            reserved: Reserved::default(),
            stale: StaleVersions::default(),
            recount: Recount::new(!counted),
            reclaiming: SingleJob::default(),
            shrinking: SingleJob::default(),
            stuck: AtomicBool::new(false),
            services,
            index,
        }
    }
}
