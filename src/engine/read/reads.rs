//! The reads of one source, put together.

use std::sync::Arc;

use crate::engine::flight::deadlines::Deadlines;
use crate::engine::index::cache_index::Index;
use crate::engine::proof::cache_proof::Proof;
use crate::engine::read::readahead::reach;
use crate::engine::services::Services;
use crate::engine::space::cache_space::Space;
use crate::engine::transfer::fetch::Fetcher;
use crate::engine::transfer::link::Link;
use crate::engine::version::object::Object;

/// What the reads of one source work with.
pub(crate) struct Reads {
    pub(crate) services: Arc<Services>,
    pub(crate) index: Arc<Index>,
    pub(crate) proof: Arc<Proof>,
    pub(crate) space: Arc<Space>,
    pub(crate) deadlines: Arc<Deadlines<Object>>,
    pub(crate) link: Arc<Link>,
    pub(crate) fetcher: Arc<dyn Fetcher>,
}

impl Reads {
    /// How far readahead may reach now, in bytes.
    pub(super) fn reach(&self) -> u64 {
        let index = self.index.file.geometry.index_len();
        let room = self.space.limits.capacity().saturating_sub(index);
        reach(&self.services.config, self.link.latency(), room)
    }
}
