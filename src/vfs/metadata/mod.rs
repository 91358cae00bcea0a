//! Metadata of the remote: how it is asked, and what the kernel is left to believe.

mod absent;
mod capacity;
mod questions;
mod silence;
mod ttl;

pub(super) use absent::Absent;
pub use capacity::Statfs;
pub(super) use capacity::statfs;
pub(super) use questions::Questions;
pub(super) use ttl::STALE_TTL;
