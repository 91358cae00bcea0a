//! Floor 1: what the engine runs on: clock, locks, the disk pool. Nothing here knows the cache.
//!
//! All of it can be exchanged by a test: the clock is passed in, locks can be handed to a scheduler, rules can be
//! broken.

pub(crate) mod clock;
pub(crate) mod counter;
pub(crate) mod executor;
pub(crate) mod locks;
pub(crate) mod log_limiter;
pub(crate) mod pending_ops;
pub(crate) mod rate;
pub(crate) mod single_job;
pub(crate) mod test_faults;
