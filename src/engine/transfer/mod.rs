//! Transfers from the remote: their memory, their requests, their bytes as they come.

pub(crate) mod assembler;
pub(crate) mod fetch;
pub(crate) mod link;
pub(crate) mod sink;
