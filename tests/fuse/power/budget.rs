//! How many crashes a rig runs, and how a failure is told.
//!
//! `LARDER_POWER=full` runs the full numbers, `LARDER_POWER=n` n crashes of each rig; otherwise a handful that a test run
//! can wait for. `LARDER_POWER_SEED=n` runs the cache of that seed alone, as far as real time lets it replay.
//! `LARDER_POWER_FIRST_SEED=n` begins elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use larder::engine::{Clock, SystemClock};

use super::tally::Tally;
use super::tree::{Wrong, told};

/// The numbers of one rig.
pub(crate) struct Runs {
    pub(crate) name: &'static str,
    /// Crashes in an ordinary test run.
    pub(crate) quick: u64,
    /// Crashes in a full one.
    pub(crate) full: u64,
    /// Crashes that one cache goes through before a new one is made.
    pub(crate) per_cache: u64,
}

impl Runs {
    fn crashes(&self) -> u64 {
        match std::env::var("LARDER_POWER").as_deref() {
            Ok("full") => self.full,
            Ok(n) => n.parse().unwrap_or_else(|_| {
                panic!("LARDER_POWER={n}: `full` or a number of crashes is understood")
            }),
            Err(_) => self.quick,
        }
    }

    /// The seeds with how often each cache crashes.
    fn plan(&self) -> Vec<Cache> {
        if let Some(seed) = number("LARDER_POWER_SEED") {
            return vec![(seed, self.per_cache)];
        }
        let first = number("LARDER_POWER_FIRST_SEED").unwrap_or(1);
        let crashes = self.crashes();
        let starts = (0..crashes).step_by(usize::try_from(self.per_cache).unwrap());
        let seeds = starts.zip(first..);
        seeds
            .map(|(start, seed)| (seed, self.per_cache.min(crashes - start)))
            .collect()
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

/// The seed of one cache, and how often it crashes.
pub(crate) type Cache = (u64, u64);

/// Runs each seed's cache; whatever is wrong fails the test with the seed.
pub(crate) fn each_seed(runs: &Runs, run: impl Fn(Cache, &Tally) -> Vec<Wrong>) {
    let (tally, clock) = (Tally::default(), SystemClock::default());
    let begun = clock.monotonic();
    let plan = runs.plan();
    for (seed, crashes) in &plan {
        let replay = || eprintln!("{}: replay with LARDER_POWER_SEED={seed}", runs.name);
        match catch_unwind(AssertUnwindSafe(|| run((*seed, *crashes), &tally))) {
            Ok(wrong) => {
                if !wrong.is_empty() {
                    replay();
                    panic!("after {} crashes: {}", tally.crashes(), told(&wrong));
                }
            }
            Err(panic) => {
                replay();
                resume_unwind(panic);
            }
        }
    }
    let took = clock.monotonic() - begun;
    let (first, last) = (plan[0].0, plan[plan.len() - 1].0);
    let each = took.as_secs_f64() / tally.crashes().max(1) as f64;
    say(
        runs,
        first,
        last,
        &format!("{tally}, 0 violations, {each:.2} s a crash"),
        took,
    );
}

/// Runs the caches of an unsafe variant until one serves wrong bytes, which it has to within the rig's full number of
/// crashes.
pub(crate) fn is_caught(runs: &Runs, run: impl Fn(Cache, &Tally) -> Vec<Wrong>) {
    let (tally, clock) = (Tally::default(), SystemClock::default());
    let begun = clock.monotonic();
    let first = number("LARDER_POWER_FIRST_SEED").unwrap_or(1);
    let mut seeds = first..;
    while tally.crashes() < runs.full {
        let seed = seeds.next().unwrap();
        let wrong = run((seed, runs.per_cache), &tally);
        if wrong.iter().any(|wrong| matches!(wrong, Wrong::Bytes(..))) {
            let files = wrong.len();
            let text = format!(
                "caught after {} crashes, {files} files wrong",
                tally.crashes()
            );
            return say(runs, first, seed, &text, clock.monotonic() - begun);
        }
        // What an unsafe variant forgets and fetches again shows nothing.
        let harmless = wrong.iter().all(|wrong| matches!(wrong, Wrong::Again(_)));
        assert!(harmless, "something else went wrong: {}", told(&wrong));
    }
    panic!(
        "{}: {} crashes of the unsafe variant, and the rig has seen nothing",
        runs.name,
        tally.crashes()
    );
}

fn say(runs: &Runs, first: u64, last: u64, text: &str, took: Duration) {
    eprintln!(
        "power, {}: seeds {first}..={last}: {text}, {:.1} s",
        runs.name,
        took.as_secs_f64()
    );
}
