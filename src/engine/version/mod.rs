//! Versions of an object: which one a blob serves, and whether a recorded one still counts.

pub(crate) mod revalidation;
