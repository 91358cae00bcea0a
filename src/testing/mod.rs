//! What this project's tests, fuzz targets and benches stand on: a disk in memory that can lose, tear, reorder and lie
//! ([`CrashStore`]), seeded choices ([`Rng`]), the steps of a simulation without threads and clock ([`sim`]), and the
//! bodies of the fuzz targets ([`fuzz`]). Compiled with the feature `testing` only.

mod crash_store;
#[cfg(test)]
mod crash_store_tests;
mod fates;
pub mod fuzz;
mod mem_file;
mod rng;
pub mod sim;

pub use crash_store::{CrashStore, Faults};
pub use fates::Fate;
pub use rng::Rng;
