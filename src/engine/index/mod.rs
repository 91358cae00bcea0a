//! The index: slots, segments and blob records, in memory and as sectors on disk.

pub(crate) mod flush;
pub(crate) mod free_places;
pub(crate) mod index_file;
pub(crate) mod records;
pub(crate) mod saved_priority;
pub(crate) mod segment;
pub(crate) mod slot;
pub(crate) mod slots;
