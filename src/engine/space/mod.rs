//! Space: limits, places for chunks, eviction, stale versions.

pub(crate) mod allocation;
pub(crate) mod eviction;
pub(crate) mod free_space;
pub(crate) mod limits;
pub(crate) mod recount;
pub(crate) mod set_limits;
pub(crate) mod shrink;
pub(crate) mod stale_versions;
