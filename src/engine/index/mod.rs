//! The index: slots, segments and blob records, in memory and as sectors on disk.

pub(crate) mod cache_index;
pub(crate) mod checksums;
pub(crate) mod dirty_slots;
pub(crate) mod flush;
pub(crate) mod free_places;
pub(crate) mod index_file;
pub(crate) mod last_shutdown;
pub(crate) mod lease;
pub(crate) mod records;
pub(crate) mod save_priorities;
pub(crate) mod saved_priority;
pub(crate) mod segment;
pub(crate) mod session;
pub(crate) mod slot;
pub(crate) mod slots;
pub(crate) mod tenancy;
