//! What every policy holds, and what the chosen one is for.

use std::collections::HashSet;

use super::api::{PROBES_MAX, Policy};
use super::chosen;
use super::rivals::{OneQueue, Sieve};
use super::s3fifo::S3Fifo;
use super::trial::{Chooser, Request, run};
use crate::format::slot_hash;
use crate::units::{BlockMask, Tag};

fn all(places: u32) -> [Box<dyn Policy>; 5] {
    [
        chosen(places),
        Box::new(S3Fifo::new(places)),
        Box::new(Sieve::new(places)),
        Box::new(OneQueue::lru(places)),
        Box::new(OneQueue::fifo(places)),
    ]
}

/// A seeded sequence of numbers.
fn number(seed: u8, n: u32) -> u64 {
    slot_hash(Tag([seed; 16]), u64::from(n))
}

fn below(number: u64, end: u32) -> u32 {
    u32::try_from(number % u64::from(end)).unwrap_or_default()
}

/// Asks for a victim where every place says that it was used, or none does.
fn victim(policy: &mut dyn Policy, used: bool) -> (Option<u32>, u32) {
    let mut probes = 0;
    let place = policy.victim(&mut |_| used, &mut probes);
    (place, probes)
}

/// A victim is always a tenant, and there is one as long as there is a tenant, whatever happens in which order.
#[test]
fn every_place_with_a_tenant_comes_up_and_no_other() {
    const PLACES: u32 = 24;
    for (seed, mut policy) in (0..).zip(all(PLACES)) {
        let mut tenants = HashSet::new();
        for n in 0..30_000 {
            let (choice, place) = (
                number(seed, 2 * n) >> 16,
                below(number(seed, 2 * n + 1), PLACES),
            );
            match choice % 8 {
                0..=2 if tenants.insert(place) => {
                    policy.insert(place, below(choice >> 8, 512), below(choice >> 20, 99));
                }
                3 if tenants.remove(&place) => policy.removed(place),
                4 if tenants.contains(&place) => policy.resize(place, below(choice >> 8, 512)),
                5 if tenants.contains(&place) => policy.hit(place),
                6 | 7 => {
                    let mut probes = 0;
                    let mut used = |place: u32| (choice >> 8 >> (place % 32)) & 1 == 1;
                    let found = policy.victim(&mut used, &mut probes);
                    assert_eq!(found.is_some(), !tenants.is_empty(), "{}", policy.name());
                    assert!(found.is_none_or(|place| tenants.contains(&place)));
                    assert!(probes <= PROBES_MAX);
                    if let Some(place) = found.filter(|_| choice % 8 == 7) {
                        policy.evicted(place, place);
                        tenants.remove(&place);
                    }
                }
                _ => {}
            }
            let main = (0..PLACES).filter(|place| policy.is_main(*place));
            assert!(main.into_iter().all(|place| tenants.contains(&place)));
        }
        // What is left leaves, each once.
        let mut left = HashSet::new();
        while let (Some(place), _) = victim(&mut *policy, false) {
            assert!(left.insert(place), "{place} came up twice");
            policy.evicted(place, place);
        }
        assert_eq!(left, tenants, "{}", policy.name());
    }
}

/// What cannot be taken now is not in the way: every other place is proposed before it is again.
#[test]
fn a_proposal_that_is_not_taken_is_followed_by_others() {
    for mut policy in all(10) {
        (0..10).for_each(|place| policy.insert(place, 16, place));
        let proposed: HashSet<u32> = (0..10)
            .filter_map(|_| victim(&mut *policy, false).0)
            .collect();
        assert_eq!(proposed.len(), 10, "{}", policy.name());
    }
}

/// With a million places, all of them in use, a victim costs what it does with a hundred.
#[test]
fn probes_are_bounded_where_everything_is_used() {
    for places in [100, 1_000_000] {
        for mut policy in all(places) {
            (0..places).for_each(|place| policy.insert(place, 16, place));
            for _ in 0..1000 {
                let (place, probes) = victim(&mut *policy, true);
                assert!(place.is_some() && probes <= PROBES_MAX, "{}", policy.name());
            }
        }
    }
}

#[test]
fn what_was_read_in_the_small_queue_comes_into_the_main_one() {
    let mut policy = S3Fifo::new(100);
    (0..100).for_each(|place| policy.insert(place, 16, place));
    let mut probes = 0;
    let found = policy.victim(&mut |place| place < 10, &mut probes);
    assert_eq!((found, probes), (Some(10), 11));
    assert!((0..100).all(|place| policy.is_main(place) == (place < 10)));
    policy.evicted(10, 10);
    // A ghost goes to the main queue at once, and only once.
    policy.insert(10, 16, 10);
    assert!(policy.is_main(10));
    policy.removed(10);
    policy.insert(10, 16, 10);
    assert!(!policy.is_main(10));
}

/// The queues share by bytes: many small files weigh as much as one large one.
#[test]
fn the_small_queue_gives_by_what_it_weighs() {
    let mut policy = S3Fifo::new(100);
    (0..50).for_each(|place| policy.restore(place, 16, true));
    // A tenth of all bytes and no more: the main queue gives.
    policy.insert(60, 80, 60);
    assert_eq!(victim(&mut policy, false).0, Some(0));
    // Its file grows: the small one gives.
    policy.resize(60, 2000);
    assert_eq!(victim(&mut policy, false).0, Some(60));
    policy.resize(60, 1);
    assert_eq!(victim(&mut policy, false).0, Some(1));
}

fn whole(chunk: u32) -> Request {
    Request {
        chunk,
        blocks: BlockMask::ALL,
        block_pages: 1,
        chunk_pages: 64,
    }
}

/// Ten times the cache goes through once: what was used before is still there.
#[test]
fn a_scan_leaves_what_is_used() {
    let hot = || (0..50).map(whole);
    let mut requests: Vec<Request> = hot().chain(hot()).collect();
    requests.extend((1000..2000).map(whole));
    let scanned = requests.len();
    requests.extend(hot());
    let hits = |chooser| {
        let before = run(chooser, 100 * 64, 200, &requests[..scanned]).hits;
        run(chooser, 100 * 64, 200, &requests).hits - before
    };
    assert_eq!(hits(Chooser::Chosen), 50);
    assert_eq!(hits(Chooser::Lru), 0);
    assert_eq!(hits(Chooser::Fifo), 0);
}

/// Reading a chunk in pieces is one pass, and so no use of it.
#[test]
fn a_scan_in_small_pieces_is_one_too() {
    let piece = |chunk: u32, n: u32| Request {
        blocks: BlockMask::one(n),
        ..whole(chunk)
    };
    let pass =
        |chunks: std::ops::Range<u32>| chunks.flat_map(move |c| (0..64).map(move |n| piece(c, n)));
    let mut requests: Vec<Request> = pass(0..50).chain(pass(0..50)).collect();
    requests.extend(pass(1000..2000));
    requests.extend(pass(0..50));
    let outcome = run(Chooser::Chosen, 100 * 64, 200, &requests);
    assert_eq!(outcome.hits, 2 * 50 * 64);
}
