//! The power goes: a real daemon with a real nginx on disks that lose what was not synced, and every tree compared
//! with the origin afterwards. `budget.rs` tells how many crashes are run and how one is replayed.

mod budget;
pub(crate) mod daemon;
mod images;
pub(crate) mod lossy;
mod lossy_rig;
pub(crate) mod mounts;
mod reflink_rig;
mod sectors_rig;
mod storm_rig;
mod tally;
mod tree;
pub(crate) mod volume;
mod writeback;
