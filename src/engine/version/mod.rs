//! Versions of an object: which one a blob serves, and whether a recorded one still counts.

pub(crate) mod binding;
pub(crate) mod head;
pub(crate) mod object;
pub(crate) mod record;
pub(crate) mod revalidation;
