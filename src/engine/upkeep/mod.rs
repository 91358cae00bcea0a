//! Upkeep: the scrub, what a user has dropped, how the last use ended.

pub(crate) mod admin_task;
pub(crate) mod evict;
pub(crate) mod scrub;
pub(crate) mod scrub_slot;
pub(crate) mod scrub_stats;
