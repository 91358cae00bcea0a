//! What a cache stands on.

use std::sync::Arc;

use crate::runtime::clock::Clock;
use crate::runtime::executor::Executor;
use crate::storage::{HostIdentity, Storage};

/// What a cache stands on.
pub struct CacheDeps {
    /// The disk.
    pub storage: Arc<dyn Storage>,
    /// The disk pool.
    pub executor: Arc<dyn Executor>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The machine.
    pub host: HostIdentity,
}
