//! Which policy chooses the best victims, and at what cost: `cargo bench --bench evict`. Each trace, made or recorded,
//! goes through a cache that has nothing but the policy (`larder::engine::trial`). Printed are the misses, by requests
//! and by bytes; the time for a request, the cache around the policy included; and the places that were looked at for a
//! victim.
//!
//! Beside the policies an oracle, which evicts what is wanted last: no policy has fewer misses where all chunks have one
//! size. Where there is a hot set, another one that never evicts it. And the policies' average over all traces in which
//! the oracle hits anything, of the part of its hits that they have.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use larder::engine::trial::{Chooser, Outcome, chosen_name, run};
use larder::engine::{Clock, SystemClock};
use larder::testing::traces::{Trace, made, recorded};

const ROUNDS: usize = 3;
const POLICIES: [(&str, Chooser<'_>); 4] = [
    ("S3-FIFO", Chooser::S3Fifo),
    ("SIEVE", Chooser::Sieve),
    ("LRU", Chooser::Lru),
    ("FIFO", Chooser::Fifo),
];
const RECORDED: [(&str, &[u8]); 3] = [
    ("cargo check", include_bytes!("traces/cargo.trace")),
    ("git", include_bytes!("traces/git.trace")),
    ("python", include_bytes!("traces/python.trace")),
];

fn main() {
    let mut traces = made();
    for (name, bytes) in RECORDED {
        for percent in [5, 20] {
            traces.push(recorded(name, bytes, percent).expect("a recorded trace"));
        }
    }
    println!("larder's policy: {}\n", chosen_name());
    println!(
        "{:<32} {:<14} {:>8} {:>8} {:>8} {:>9} {:>6}",
        "trace", "policy", "misses", "by bytes", "ns", "probes", "most"
    );
    let mut parts = [(0.0, 0.0); POLICIES.len()];
    let mut judged = 0;
    for trace in &traces {
        let best = told("oracle", trace, Chooser::Ranked(&trace.next_uses()));
        if trace.hot > 0 {
            told("knows hot set", trace, Chooser::Ranked(&trace.hot_first()));
        }
        judged += u32::from(best.hits > 0);
        for ((name, chooser), sums) in POLICIES.iter().zip(&mut parts) {
            let outcome = told(name, trace, *chooser);
            if best.hits > 0 {
                sums.0 += outcome.hits as f64 / best.hits as f64;
                sums.1 += outcome.hit_pages as f64 / best.hit_pages as f64;
            }
        }
    }
    println!("\nthe part of the oracle's hits, average over {judged} traces");
    for ((name, _), (requests, bytes)) in POLICIES.iter().zip(parts) {
        let part = |sum: f64| sum / f64::from(judged);
        println!(
            "{name:<14} {:>8.3} {:>8.3} by bytes",
            part(requests),
            part(bytes)
        );
    }
}

/// Runs a trial, and prints what came of it.
fn told(name: &str, trace: &Trace, chooser: Chooser<'_>) -> Outcome {
    let clock = SystemClock::default();
    let mut times = Vec::new();
    let mut outcome = Outcome::default();
    for _ in 0..ROUNDS {
        let began = clock.monotonic();
        outcome = run(chooser, trace.capacity, trace.places(), &trace.requests);
        times.push(clock.monotonic() - began);
    }
    times.sort();
    let nanos = times[ROUNDS / 2].as_nanos() as f64 / outcome.requests as f64;
    let misses = |hits: u64, all: u64| 1.0 - hits as f64 / all as f64;
    println!(
        "{:<32} {name:<14} {:>8.4} {:>8.4} {nanos:>8.0} {:>9.2} {:>6}",
        trace.name,
        misses(outcome.hits, outcome.requests),
        misses(outcome.hit_pages, outcome.pages),
        outcome.probes as f64 / outcome.evictions.max(1) as f64,
        outcome.probes_most,
    );
    outcome
}
