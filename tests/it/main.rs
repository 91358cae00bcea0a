//! The integration tests, as one binary: every further binary would be one more link.
//!
//! `tidy` and `house` hold the rules of the house, `spec` holds `format-spec.md` against the code, `golden` opens a cache
//! that an earlier version wrote, `reader` has a stranger read caches by the specification alone, `fuzzed` replays the
//! inputs of the fuzzers, `check`, `repairs` and `damage` damage caches and have them put right, `beside` checks one at
//! work, `deep` reads blocks on many threads, `crowd` reads with many at once and from a cache that is full, `standing`
//! restarts it, `evict` holds the choice of victims, `touched` finds its files immutable or linked, `shuttle` tries the
//! orders in which tasks may meet at a slot that changes hands, `faults` reads from web servers that break off, stand
//! still and lie, `limits` has a cache give back what it may no longer take, `resize` gives caches other indexes,
//! `forget` has what is cached dropped.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has found its failure"
)]

mod ahead;
mod beside;
mod check;
mod crash;
mod crowd;
mod damage;
mod deep;
mod documents;
mod evict;
#[expect(dead_code, reason = "only its remote is used here")]
#[path = "../../examples/embed.rs"]
mod example;
mod faults;
mod forget;
mod fuzzed;
mod golden;
mod golden_engine;
mod golden_writer;
mod holes;
mod house;
mod limits;
mod model;
mod origin;
mod reader;
mod records;
mod recount;
mod repairs;
mod resize;
mod scrub;
mod shuttle;
mod sick_disk;
mod spec;
mod standing;
mod storm;
mod threads;
mod tidy;
mod touched;
mod tree;
mod whole;
mod world;
