//! The way of a read: from memory at once, or block by block from wherever it is to be had.

pub(crate) mod fast_read;
pub(crate) mod head;
pub(crate) mod open;
pub(crate) mod planner;
pub(crate) mod readahead;
