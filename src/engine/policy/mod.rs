//! Choosing victims: which chunk of a segment goes when another one needs its place or its bytes.
//!
//! A policy orders the places of one segment. It never touches a slot: whoever wants a victim asks for places until one
//! can be taken from its tenant, and says what became of it. That a chunk was read since the policy last looked is one
//! bit in the slot's state, set under the lock that the read holds anyway; the policy asks for it and thereby clears it.
//! Invariants:
//!
//! * Every place with a tenant is in exactly one queue of its segment's policy, no other place is in any.
//! * Asking for a victim costs a bounded number of probes, whatever the number of places.
//! * A proposed place stays in its queue until the policy hears that it was evicted or removed: asking again proposes
//!   another one, as long as there is another.
//! * Nothing grows: what a policy keeps is of a fixed size for its number of places.

mod ghosts;
mod lists;
#[cfg(feature = "testing")]
mod rivals;
mod s3fifo;
#[cfg(all(test, feature = "testing"))]
mod tests;
#[cfg(feature = "testing")]
pub mod trial;

use s3fifo::S3Fifo;

/// How many places a policy looks at, at the most, before it proposes one whether it was read or not.
pub(crate) const PROBES_MAX: u32 = 64;

/// The policy of every segment, chosen by what `cargo bench --bench evict` prints (ARCHITECTURE.md, "Choosing victims").
pub(super) fn chosen(places: u32) -> Box<dyn Policy> {
    Box::new(S3Fifo::new(places))
}

/// What the policy keeps for each place, whether it has a tenant or not.
pub(super) const BYTES_PER_PLACE: usize = lists::BYTES_PER_PLACE + ghosts::BYTES_PER_PLACE;

/// Which chunk goes first.
pub(crate) trait Policy: Send + Sync {
    /// A chunk came to `place`; its file takes `pages` pages of 4 KiB. `print` is the chunk's fingerprint, by which a policy
    /// may know one again that it has evicted.
    fn insert(&mut self, place: u32, pages: u32, print: u32);

    /// A chunk is found at `place` after a restart. Called once for each place, in the order in which the chunks came.
    fn restore(&mut self, place: u32, pages: u32, main: bool);

    /// The file at `place` takes so many pages now.
    fn resize(&mut self, place: u32, pages: u32);

    /// Proposes a victim. `used` says whether the chunk at a place was read since it was last asked. Each place that is
    /// looked at is counted in `probes`. `None` where there is no tenant at all.
    fn victim(&mut self, used: &mut dyn FnMut(u32) -> bool, probes: &mut u32) -> Option<u32>;

    /// The chunk at `place` was evicted, as proposed.
    fn evicted(&mut self, place: u32, print: u32);

    /// The chunk at `place` is gone for another reason.
    fn removed(&mut self, place: u32);

    /// Whether the chunk at `place` has proven its worth: that is kept over a restart.
    fn is_main(&self, place: u32) -> bool;

    /// The chunk at `place` was read again. Nobody but a trial says so: at a hit the engine takes no lock of a policy's.
    #[cfg(feature = "testing")]
    fn hit(&mut self, _place: u32) {}

    /// Its name.
    #[cfg(feature = "testing")]
    fn name(&self) -> &'static str;
}
