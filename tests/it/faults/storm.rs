//! Many reads at once of a server that never answers.

use std::sync::Arc;
use std::time::Duration;

use larder::engine::Config;
use larder::testing::origin::{Fault, Method, Object, Origin, When};
use larder::units::ByteRange;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::config;
use super::rig::{Open, Rig, SLACK, runtime};

const OBJECTS: usize = 40;
/// Of each object.
const READS: usize = 20;
/// How many fetches have room at a time.
const BUDGET: usize = 12;
/// A block of an object of a mebibyte is one 64th of it.
const LEN: u64 = 16_384;

/// Threads and descriptors of this process; nothing where other tests run in it, too.
fn held() -> (usize, usize) {
    if std::env::var_os("NEXTEST").is_none() {
        return (0, 0);
    }
    let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Starts all reads at once. Returns how many failed, and the most that was held meanwhile.
async fn read_at_once(opens: &[Open]) -> (usize, (usize, usize)) {
    let mut reads = JoinSet::new();
    for open in opens {
        for n in 0..READS {
            let open = open.clone();
            let range = ByteRange::at(n as u64 * LEN * 3, 100);
            reads.spawn(async move { open.read(range).await.unwrap() });
        }
    }
    let (mut failed, mut most) = (0, (0, 0));
    while !reads.is_empty() {
        let soon = tokio::time::timeout(Duration::from_millis(20), reads.join_next()).await;
        failed += usize::from(matches!(soon, Ok(Some(Ok(Err(_))))));
        let now = held();
        most = (most.0.max(now.0), most.1.max(now.1));
    }
    (failed, most)
}

#[test]
fn a_storm_of_stalls_costs_no_threads_and_leaves_nothing_behind() {
    let runtime = runtime();
    let config = Config {
        fetch_budget: BUDGET as u64 * LEN,
        readahead_max: 0,
        ..config()
    };
    let rig = Arc::new(Rig::new(config, Duration::from_secs(1)));
    let origin = Origin::start_on(runtime.handle(), 3).unwrap();
    let names: Vec<_> = (0..OBJECTS).map(|n| format!("object-{n}")).collect();
    for (seed, name) in names.iter().enumerate() {
        origin.put(name, Object::seeded(seed as u64, 1 << 20));
    }
    let mount = rig.mount(origin, |remote| remote);
    let opens = runtime.block_on(async {
        let mut opens = Vec::new();
        for name in &names {
            // The deadline is a short one, which a busy machine meets now and then.
            let facts = loop {
                if let Ok(facts) = mount.facts(name).await {
                    break facts;
                }
            };
            opens.push(mount.open(name, &facts, true).unwrap());
        }
        opens
    });
    let before = held();
    mount
        .origin
        .fault(Fault::Silence, When::every(2).method(Method::Get));
    mount
        .origin
        .fault(Fault::Stall { at: 10 }, When::always().method(Method::Get));
    let (timed_out, most) = runtime.block_on(read_at_once(&opens));
    assert_eq!(timed_out, OBJECTS * READS, "nobody could get anything");
    let connections = mount.origin.connections();
    // One that is given up and the next one may be open together.
    assert!(
        connections.1 <= 2 * BUDGET,
        "{connections:?} at once, the budget is {BUDGET}"
    );
    assert!(
        most.0 <= before.0 + 16,
        "{before:?} threads and descriptors became {most:?}"
    );
    // Both ends of a connection are in this process.
    assert!(
        most.1 <= before.1 + 4 * BUDGET + 40,
        "{before:?} became {most:?}"
    );
    mount.origin.calm();
    runtime.block_on(async {
        for open in opens {
            let name = open.name.clone();
            mount.recovers(Some(open), &name, false).await.unwrap();
        }
        // Whoever was kept waiting for ever is left.
        let few =
            |after: (usize, usize)| after.0 <= before.0 + 16 && after.1 <= before.1 + 2 * 32 + 40;
        let begun = Instant::now();
        while !few(held()) {
            assert!(begun.elapsed() < SLACK, "{before:?}, {:?}", held());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}
