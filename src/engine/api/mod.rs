//! The face of the cache: what an embedder and the file system call. It composes the rooms and decides nothing.

pub(crate) mod blob;
pub(crate) mod cache;
pub(crate) mod documents;
pub(crate) mod memory;
pub(crate) mod source;
pub(crate) mod stats;
