//! Where the bytes of a version lie: `(version, block)` to an extent of a file.

pub(crate) mod extent;
pub(crate) mod layout;
pub(crate) mod stale_version;
