//! What a cache can be told, and what each of its sources.

pub(crate) mod cache;
pub(crate) mod chunk_policy;
pub(crate) mod free_space;
pub(crate) mod source;
