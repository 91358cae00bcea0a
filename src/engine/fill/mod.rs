//! Fills: bytes that came from the remote go to their slots.

pub(crate) mod fill;
pub(crate) mod fill_queue;
