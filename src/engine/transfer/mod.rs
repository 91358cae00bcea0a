//! Transfers from the remote: their memory, their requests, their bytes as they come.

pub(crate) mod fetch;
pub(crate) mod fetch_budget;
