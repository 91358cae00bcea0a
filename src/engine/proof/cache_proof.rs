//! The proof of one cache, put together.

use std::sync::Arc;

use crate::engine::index::cache_index::Index;
use crate::engine::services::Services;

/// The proof: whether the bytes of a slot are those that the remote sent.
pub(crate) struct Proof {
    pub(super) services: Arc<Services>,
    pub(crate) index: Arc<Index>,
}

impl Proof {
    pub(crate) fn new(services: Arc<Services>, index: Arc<Index>) -> Self {
        Self { services, index }
    }
}
