//! Space: limits, places for chunks, eviction, stale versions.

pub(crate) mod allocation;
pub(crate) mod cache_space;
pub(crate) mod count_files;
pub(crate) mod eviction;
pub(crate) mod limits;
pub(crate) mod reclaim;
pub(crate) mod recount;
pub(crate) mod room;
pub(crate) mod set_limits;
pub(crate) mod shrink;
pub(crate) mod stale_versions;
