//! The way of a read: from memory at once, or block by block from wherever it is to be had.

pub(crate) mod check;
pub(crate) mod fast_read;
pub(crate) mod first;
pub(crate) mod index_wait;
pub(crate) mod look_up;
pub(crate) mod open;
pub(crate) mod planner;
pub(crate) mod readahead;
pub(crate) mod reader;
pub(crate) mod reads;
