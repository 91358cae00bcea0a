//! What this project's tests, fuzz targets and benches stand on: a disk in memory that can lose, tear, reorder and lie
//! ([`CrashStore`]), and seeded choices ([`Rng`]). Compiled with the feature `testing` only.

mod crash_store;
mod fates;
mod mem_file;
mod rng;

pub use crash_store::{CrashStore, Faults};
pub use fates::Fate;
pub use rng::Rng;
