//! How many crashes a rig runs, and how a failure is told.
//!
//! `LARDER_POWER=full` runs the full numbers, `LARDER_POWER=n` n crashes of each rig; otherwise a handful that a test run
//! can wait for. `LARDER_POWER_SECONDS=n` goes on with further seeds for so long. `LARDER_POWER_SEED=n` runs the cache of
//! that seed alone, as far as real time lets it replay. `LARDER_POWER_FIRST_SEED=n` begins elsewhere.

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

    /// The seeds with how often each cache crashes; without end where time ends the run.
    fn plan(&self) -> Vec<Cache> {
        if let Some(seed) = number("LARDER_POWER_SEED") {
            return vec![(seed, self.per_cache)];
        }
        let crashes = match seconds() {
            None => self.crashes(),
            Some(seconds) => seconds.as_secs() * CRASHES_PER_SECOND_MAX,
        };
        let starts = (0..crashes).step_by(usize::try_from(self.per_cache).unwrap());
        let seeds = starts.zip(first_seed()..);
        seeds
            .map(|(start, seed)| (seed, self.per_cache.min(crashes - start)))
            .collect()
    }
}

fn seconds() -> Option<Duration> {
    number("LARDER_POWER_SECONDS").map(Duration::from_secs)
}

fn first_seed() -> u64 {
    number("LARDER_POWER_FIRST_SEED").unwrap_or(1)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

/// No rig is quicker.
const CRASHES_PER_SECOND_MAX: u64 = 100;

/// The seed of one cache, and how often it crashes.
pub(crate) type Cache = (u64, u64);

/// Runs each seed's cache; whatever is wrong fails the test with the seed.
pub(crate) fn each_seed(runs: &Runs, run: impl Fn(Cache, &Tally) -> Vec<Wrong>) {
    let watch = Watch::default();
    let mut seeds = Vec::new();
    for (seed, crashes) in runs.plan() {
        if !seeds.is_empty() && seconds().is_some_and(|limit| watch.elapsed() > limit) {
            break;
        }
        seeds.push(seed);
        let replay = || eprintln!("{}: replay with LARDER_POWER_SEED={seed}", runs.name);
        let outcome = catch_unwind(AssertUnwindSafe(|| run((seed, crashes), &watch.tally)));
        let wrong = outcome.unwrap_or_else(|panic| {
            replay();
            resume_unwind(panic)
        });
        if !wrong.is_empty() {
            replay();
            panic!("{}: {}", watch.tally, told(&wrong));
        }
    }
    let each = watch.elapsed().as_secs_f64() / watch.tally.crashes().max(1) as f64;
    let text = format!("{}, 0 violations, {each:.2} s a crash", watch.tally);
    watch.say(runs, &seeds, &text);
}

/// Runs the caches of an unsafe variant until one serves wrong bytes, which it has to within the rig's full number of
/// crashes.
pub(crate) fn is_caught(runs: &Runs, run: impl Fn(Cache, &Tally) -> Vec<Wrong>) {
    let watch = Watch::default();
    let mut seeds = Vec::new();
    while watch.tally.crashes() < runs.full {
        let seed = first_seed() + seeds.len() as u64;
        seeds.push(seed);
        let wrong = run((seed, runs.per_cache), &watch.tally);
        if wrong.iter().any(|wrong| matches!(wrong, Wrong::Bytes(..))) {
            let (crashes, files) = (watch.tally.crashes(), wrong.len());
            let text =
                format!("unsafe variant caught after {crashes} crashes, {files} files wrong");
            return watch.say(runs, &seeds, &text);
        }
        // What an unsafe variant forgets and fetches again shows nothing.
        let harmless = wrong.iter().all(|wrong| matches!(wrong, Wrong::Again(_)));
        assert!(harmless, "something else went wrong: {}", told(&wrong));
    }
    panic!(
        "{}: {} of the unsafe variant, and the rig has seen nothing",
        runs.name, watch.tally
    );
}

/// A rig at work.
struct Watch {
    tally: Tally,
    clock: SystemClock,
    begun: Duration,
}

impl Default for Watch {
    fn default() -> Self {
        let clock = SystemClock::default();
        Self {
            tally: Tally::default(),
            begun: clock.monotonic(),
            clock,
        }
    }
}

impl Watch {
    fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.begun)
    }

    /// One line for whoever runs the tests with their output; soak.sh reads it.
    fn say(&self, runs: &Runs, seeds: &[u64], text: &str) {
        let (first, last) = (seeds[0], seeds[seeds.len() - 1]);
        let (name, took) = (runs.name, self.elapsed().as_secs_f64());
        eprintln!("power, {name}: seeds {first}..={last}: {text}, {took:.1} s");
    }
}
