//! Slots that change hands while they are read, on the real engine, in orders that a scheduler chooses.
//!
//! Shuttle runs all tasks on one thread and decides at every lock of the engine and every operation of the disk who goes
//! on (`engine/sync.rs`); so it gets to orders that real threads take once in a million times. Two or three blobs share
//! a cache with room for one or two: readers, the disk pool's jobs, the origin's answers, a page cache that loses pages,
//! and the tick meet at a few slots that are culled, dropped and reused in place all the time. Every byte is judged, and
//! it says whose it is.
//!
//! What is not explored: between two locks a task is not interrupted, and atomics have no orders but the program's.
//!
//! When a run fails, shuttle prints the schedule between quotes. `LARDER_SHUTTLE_REPLAY=FILE cargo test --all-features
//! --test it shuttle::replayed` runs just that again, from the file that it was put in. `LARDER_SHUTTLE_SECONDS` is the
//! soak, and `LARDER_SHUTTLE_SEED` chooses other schedules.
//!
//! That the rig can see is shown by breaking the engine's rules one by one ([`Rule`]).

mod disk;
mod small;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use larder::engine::{Asked, Rule, break_rule, on_lock};
use larder::testing::{Rng, trust_every_checksum};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};

use self::small::{SCHEDULES_MIN, Totals, run};
use crate::model::number_from_env;

/// A random walk that stays with a task for a while: at the one extreme it changes at every lock, at the other hardly ever,
/// so that a task can be left behind at one place while others come far.
struct Walk {
    random: RandomScheduler,
    rng: Rng,
    stay: u16,
}

impl Walk {
    fn new(seed: u64, schedules: usize) -> Self {
        Self {
            random: RandomScheduler::new_from_seed(seed, schedules),
            rng: Rng::new(seed),
            stay: 0,
        }
    }
}

impl Scheduler for Walk {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.stay = [0, 128, 224, 248][self.rng.index(4)];
        self.random.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let goes_on = |id: &TaskId| !is_yielding && runnable.iter().any(|task| task.id() == *id);
        match current.filter(goes_on) {
            Some(id) if self.rng.chance(self.stay) => Some(id),
            _ => self.random.next_task(runnable, current, is_yielding),
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.random.next_u64()
    }
}

/// The schedulers by name: a random walk, and priorities that change at so many points less one.
fn schedulers(schedules: usize) -> [(&'static str, Box<dyn Scheduler + Send>); 3] {
    let seed = number_from_env("LARDER_SHUTTLE_SEED").unwrap_or(17);
    [
        (
            "pct 3",
            Box::new(PctScheduler::new_from_seed(seed, 3, schedules)),
        ),
        (
            "pct 6",
            Box::new(PctScheduler::new_from_seed(seed, 6, schedules)),
        ),
        ("walk", Box::new(Walk::new(seed, schedules))),
    ]
}

/// Lets somebody else go on, or not, as the scheduler likes.
fn point() {
    // In a task that panics the schedule is printed already; it only comes to its end.
    if !std::thread::panicking() {
        shuttle::thread::sleep(Duration::ZERO);
    }
}

fn asked(asked: Asked) {
    match asked {
        Asked::First => point(),
        Asked::Again if std::thread::panicking() => std::process::abort(),
        Asked::Again => shuttle::thread::yield_now(),
    }
}

/// Runs schedules until there are no more, the time is over, or a reader has a wrong byte; how many, and whether it had.
fn explore(
    scheduler: impl Scheduler + Send + 'static,
    time: Duration,
    totals: &Arc<Totals>,
) -> bool {
    let _told = on_lock(asked);
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 18;
    config.max_time = Some(time);
    config
        .ungraceful_shutdown_config
        .immediately_return_on_panic = true;
    let world = Arc::clone(totals);
    let runner = shuttle::Runner::new(scheduler, config);
    catch_unwind(AssertUnwindSafe(|| runner.run(move || run(&world)))).is_err()
}

/// Longer than any scheduler needs for what it has to find, on a busy machine too: it ends when it has found it.
const ENOUGH: Duration = Duration::from_secs(180);

/// What the schedulers find in this time each; whether that is a wrong byte.
fn explore_all(name: &str, time: Duration, schedules: usize) -> (bool, Arc<Totals>) {
    let totals = Arc::new(Totals::default());
    let mut caught = false;
    for (scheduler, by) in schedulers(schedules).map(|(name, by)| (by, name)) {
        let before = totals.schedules();
        caught = explore(scheduler, time, &totals);
        let (tried, end) = (
            totals.schedules() - before,
            if caught {
                ", the last of them wrong"
            } else {
                ""
            },
        );
        eprintln!("{name}, {by}: {tried} schedules{end}");
        if caught {
            break;
        }
    }
    (caught, totals)
}

#[test]
fn no_reader_of_a_slot_under_reuse_sees_another_blobs_bytes() {
    let seconds = number_from_env("LARDER_SHUTTLE_SECONDS").unwrap_or(18);
    let mut time = Duration::from_secs(seconds) / 3;
    loop {
        let (caught, totals) = explore_all("as it is", time, usize::MAX);
        assert!(!caught);
        eprintln!("{totals:?}");
        // A busy machine has not seen much by then: once more, and for longer.
        if totals.schedules() > SCHEDULES_MIN || time > ENOUGH {
            return totals.judge();
        }
        time *= 4;
    }
}

/// With checksums that tell nothing and no rule broken: what lies in a file is taken for right, and the disk loses pages.
#[test]
fn a_reader_that_trusts_every_checksum_is_caught() {
    let _unsafe = trust_every_checksum();
    assert!(explore_all("trusting", ENOUGH, usize::MAX).0);
}

fn is_caught(rule: Rule) {
    let _broken = break_rule(rule);
    assert!(explore_all(&format!("{rule:?} broken"), ENOUGH, usize::MAX).0);
}

#[test]
fn a_slot_taken_while_it_is_checked_is_caught() {
    is_caught(Rule::RetireSparesChecked);
}

#[test]
fn an_inline_read_of_a_retired_slot_is_caught() {
    is_caught(Rule::InlineSeesRetired);
}

#[test]
fn a_late_fill_is_caught() {
    is_caught(Rule::FillSeesRetired);
}

#[test]
fn a_block_verified_in_spite_of_doubts_is_caught() {
    is_caught(Rule::VerifyHeedsDoubts);
}

/// Runs the schedule of a failure again.
#[test]
fn replayed() {
    let Some(path) = std::env::var_os("LARDER_SHUTTLE_REPLAY") else {
        // Without one, that a schedule can be replayed at all: each is run twice, and must ask the same questions.
        let random = RandomScheduler::new_from_seed(3, 20);
        let twice = shuttle::scheduler::UncontrolledNondeterminismCheckScheduler::new(random);
        let totals = Arc::default();
        assert!(!explore(twice, Duration::from_secs(20), &totals));
        return;
    };
    let schedule = shuttle::scheduler::ReplayScheduler::new_from_file(path).unwrap();
    let totals = Arc::default();
    assert!(
        !explore(schedule, Duration::from_secs(600), &totals),
        "it fails again"
    );
}
