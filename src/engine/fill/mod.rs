//! Fills: bytes that came from the remote go to their slots.

pub(crate) mod begin_tenancy;
pub(crate) mod fill_job;
pub(crate) mod fill_queue;
pub(crate) mod fills;
