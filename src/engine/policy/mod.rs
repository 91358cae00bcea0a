//! Choosing victims: which chunk of a segment goes when another one needs its place or its bytes.
//!
//! A policy orders the places of one segment. It never touches a slot: a caller that wants a victim asks for places
//! until one can be taken from its tenant, and says what became of it. That a chunk was read since the policy last
//! looked is one bit in the slot's state, set under the lock that the read holds anyway; the policy asks for it and
//! thereby clears it. Invariants:
//!
//! * Every place with a tenant is in exactly one queue of its segment's policy, no other place is in any.
//! * Asking for a victim costs a bounded number of probes, whatever the number of places.
//! * A proposed place stays in its queue until the policy hears that it was evicted or removed: asking again proposes
//!   another one, as long as there is another.
//! * Nothing grows: what a policy keeps is of a fixed size for its number of places.

pub(crate) mod api;
mod ghosts;
mod lists;
#[cfg(feature = "testing")]
mod rivals;
mod s3fifo;
#[cfg(all(test, feature = "testing"))]
mod tests;
#[cfg(feature = "testing")]
pub mod trial;

use api::Policy;
use s3fifo::S3Fifo;

/// The policy of every segment, chosen by what `cargo bench --bench evict` prints (ARCHITECTURE.md, "Choosing
/// victims").
pub(super) fn chosen(places: u32) -> Box<dyn Policy> {
    Box::new(S3Fifo::new(places))
}

/// What the policy keeps for each place, whether it has a tenant or not.
pub(super) const BYTES_PER_PLACE: usize = lists::BYTES_PER_PLACE + ghosts::BYTES_PER_PLACE;
