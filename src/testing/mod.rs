//! What this project's tests, fuzz targets and benches stand on: a disk in memory that can lose, tear, reorder and lie
//! ([`CrashStore`]), a web server that can lie (`origin`, with the feature `http`), seeded choices ([`Rng`]), the steps of
//! a simulation without threads and clock ([`sim`]), and the bodies of the fuzz targets ([`fuzz`]). Compiled with the
//! feature `testing` only.

mod crash_store;
#[cfg(test)]
mod crash_store_tests;
mod fates;
mod faults;
pub mod fuzz;
mod mem_file;
#[cfg(feature = "http")]
pub mod origin;
mod rng;
pub mod sim;
pub mod traces;

pub use crash_store::CrashStore;
pub use fates::Fate;
pub use faults::Faults;
pub use rng::Rng;

use crate::format::unsafe_variant::TRUST_ALL;

/// Makes every checksum of a block count as right on this thread until the guard is dropped: the unsafe variant that
/// proves that a rig can see.
#[must_use]
pub fn trust_every_checksum() -> impl Drop {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            TRUST_ALL.set(false);
        }
    }
    TRUST_ALL.set(true);
    Guard
}
