//! Blocks on their way, and the reads that wait for them.

pub(crate) mod blocks;
pub(crate) mod deadlines;
pub(crate) mod fetch_budget;
pub(crate) mod read_op;
