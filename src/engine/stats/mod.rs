//! Counters, and the list that describes them.

pub(crate) mod counters;
pub(crate) mod described;
