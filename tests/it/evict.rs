//! The choice of victims: what `cargo bench --bench evict` prints and ARCHITECTURE.md tells, as far as it must stay so.

use larder::engine::trial::{Chooser, chosen_name, run};
use larder::testing::traces::{
    Sizes, Trace, hot_set_and_scan, moving_hot_set, recorded, round_and_round,
};

use crate::tree::root;

const RECORDED: [&str; 3] = ["cargo", "git", "python"];

fn hits(trace: &Trace, chooser: Chooser<'_>) -> u64 {
    run(chooser, trace.capacity, trace.places(), &trace.requests).hits
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(root().join(format!("benches/evict/traces/{name}.trace"))).unwrap()
}

#[test]
fn the_hot_set_outlives_a_scan_nearly_as_if_it_were_known() {
    for sizes in [Sizes::Equal, Sizes::Mixed] {
        let trace = hot_set_and_scan(sizes);
        let knows = run(
            Chooser::Ranked(&trace.hot_first()),
            trace.capacity,
            trace.places(),
            &trace.requests,
        );
        let chosen = run(
            Chooser::Chosen,
            trace.capacity,
            trace.places(),
            &trace.requests,
        );
        // The oracle itself is right: it misses the scan, and each chunk of the hot set once.
        assert_eq!(knows.hits, 100_000 - 1000, "{}", trace.name);
        assert!(
            chosen.hits * 10 >= knows.hits * 9,
            "{}: {chosen:?}",
            trace.name
        );
        assert!(
            chosen.hit_pages * 10 >= knows.hit_pages * 9,
            "{}: {chosen:?}",
            trace.name
        );
        assert!(chosen.probes <= 2 * chosen.evictions, "{chosen:?}");
        // The trace tells policies apart.
        assert!(hits(&trace, Chooser::Lru) * 10 < knows.hits * 9);
    }
}

/// What the choice was made for: each rival fails where this one does not.
#[test]
fn each_rival_has_a_trace_that_the_choice_does_better_on() {
    let (moving, round) = (moving_hot_set(), round_and_round());
    for (trace, rival) in [
        (&moving, Chooser::Sieve),
        (&moving, Chooser::Fifo),
        (&round, Chooser::Lru),
        (&round, Chooser::Sieve),
    ] {
        let (ours, theirs) = (hits(trace, Chooser::Chosen), hits(trace, rival));
        assert!(
            ours * 8 > theirs * 9,
            "{}: {ours}, {rival:?} {theirs}",
            trace.name
        );
    }
}

#[test]
fn the_document_names_the_policy_that_is_used() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = document
        .split("\n## ")
        .find(|section| section.starts_with("Choosing victims"));
    let told = format!("The policy is {}", chosen_name());
    assert!(section.is_some_and(|section| section.contains(&told)));
}

/// An oracle that sees the future has as many hits as anybody, on every recorded trace; and none of them is a scan.
#[test]
fn the_recorded_traces_are_read() {
    for name in RECORDED {
        let bytes = read(name);
        assert!(bytes.len() < 300_000, "{name}");
        let trace = recorded(name, &bytes, 20).unwrap();
        let best = hits(&trace, Chooser::Ranked(&trace.next_uses()));
        assert!(trace.requests.len() > 1000 && best > 100, "{}", trace.name);
        for chooser in [Chooser::Chosen, Chooser::Sieve, Chooser::Lru, Chooser::Fifo] {
            let got = hits(&trace, chooser);
            assert!(got <= best, "{name}: {chooser:?} {got} of {best}");
        }
        assert!(recorded(name, &bytes[..bytes.len() - 1], 20).is_none());
        assert!(recorded(name, &bytes[1..], 20).is_none());
    }
}
