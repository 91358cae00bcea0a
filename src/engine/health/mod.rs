//! The cache disk, watched: every operation of the engine passes here, and a disk that is not well is left alone.

pub(crate) mod disk_stats;
pub(crate) mod monitored_storage;
pub(crate) mod probe;
pub(crate) mod verdict;
