//! What the engine and its parts cost: `cargo bench --bench engine`, or with `-- --quick` for a first look.

mod cache;
mod format;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    format::sectors,
    format::identities,
    format::checksums,
    cache::hits,
    cache::lookups,
    cache::fills,
    cache::opens,
);
criterion_main!(benches);
