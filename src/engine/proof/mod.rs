//! Whether the bytes of a slot are those that the remote sent: checksums, checks from disk, trust after a restart.

pub(crate) mod cache_proof;
pub(crate) mod check;
pub(crate) mod compare;
