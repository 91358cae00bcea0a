//! Real mounts, in temporary directories. They need /dev/fuse and fail where it is missing: a skipped test shows nothing.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has found its failure"
)]

mod chunks;
mod cli;
mod forgetting;
mod full;
mod kernel;
mod limits;
mod mounted;
mod names;
mod on_disk;
mod opening;
mod paged;
mod place;
mod power;
mod random;
mod reads;
mod room;
mod semantics;
mod shown;
mod sick;
mod tree;
mod unreachable;
mod versions;
mod walk;
mod web;
mod xattrs;
