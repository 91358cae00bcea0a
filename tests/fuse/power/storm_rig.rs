//! Rig D: a working daemon is killed at random moments. The page cache survives, so nothing may be wrong, and nothing
//! that was cached a second before the kill may come again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::testing::Rng;
use tempfile::TempDir;

use super::budget::{Runs, each_seed, is_caught};
use super::daemon::{Daemon, Variant};
use super::tally::Tally;
use super::tree::{Origin, Wrong};

/// After this long without a change everything is in the index: larder promises 200 ms.
const KEPT_WITHIN: Duration = Duration::from_millis(400);

struct Machine {
    dir: TempDir,
    origin: Origin,
    rng: Rng,
}

impl Machine {
    fn new(seed: u64) -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            origin: Origin::new(seed),
            rng: Rng::new(seed ^ 0xD),
        }
    }

    fn daemon(&self, variant: Variant) -> Daemon {
        let (dir, url) = (self.dir.path(), self.origin.server.url());
        Daemon::start(&url, &dir.join("mnt"), &dir.join("cache"), dir, variant)
    }

    /// Compares everything. Bytes of files that were cached in time must not have come again.
    fn look(&mut self, daemon: &Daemon, cached: bool, tally: &Tally) -> Vec<Wrong> {
        self.origin.server.forget();
        let compared = self.origin.compare(&daemon.mnt);
        tally.compared(&compared);
        let mut wrong = compared.wrong();
        if cached && wrong.is_empty() {
            let asked = self.origin.server.asked();
            let again = asked
                .iter()
                .filter(|asked| !asked.path.contains('?') && !asked.path.ends_with('/'));
            let gets = again.filter(|asked| asked.method == "GET");
            wrong.extend(
                gets.map(|asked| Wrong::Other(PathBuf::from(&asked.path), "came again".into())),
            );
        }
        wrong
    }

    /// Is killed at any moment of some work with new files.
    fn work_and_die(&mut self, mut daemon: Daemon, tally: &Tally) -> Vec<Wrong> {
        let share = u16::try_from(8 + self.rng.below(120)).unwrap();
        self.origin.replace_some(share, &mut self.rng);
        let work_for = Duration::from_millis(self.rng.below(120));
        let [seed, other] = [(); 2].map(|()| self.rng.next_u64());
        let (mnt, stop) = (daemon.mnt.clone(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let (origin, mnt, stop) = (&self.origin, &mnt, &stop);
            let readers =
                [seed, other].map(|seed| scope.spawn(move || origin.read_some(mnt, seed, stop)));
            std::thread::sleep(work_for);
            daemon.kill();
            stop.store(true, Ordering::Relaxed);
            tally.crashed(0);
            readers
                .into_iter()
                .flat_map(|reader| reader.join().unwrap())
                .collect()
        })
    }
}

/// Kills one seed's daemon so many times.
fn crash(seed: u64, kills: u64, variant: Variant, tally: &Tally) -> Vec<Wrong> {
    let mut machine = Machine::new(seed);
    let mut cached = false;
    for _ in 0..kills {
        let mut daemon = machine.daemon(variant);
        let mut wrong = machine.look(&daemon, cached, tally);
        cached = machine.rng.chance(85);
        if cached {
            // All that was read is in the cache a moment later, whoever dies then.
            std::thread::sleep(KEPT_WITHIN);
            daemon.kill();
            tally.crashed(0);
        } else {
            wrong.extend(machine.work_and_die(daemon, tally));
        }
        if !wrong.is_empty() {
            return wrong;
        }
    }
    let daemon = machine.daemon(variant);
    machine.look(&daemon, cached, tally)
}

const RUNS: Runs = Runs {
    name: "kill -9",
    quick: 12,
    full: 100,
    per_cache: 12,
};

#[test]
fn a_daemon_killed_at_any_moment_gives_no_wrong_byte_and_fetches_nothing_twice() {
    each_seed(&RUNS, |seed, kills, tally| {
        crash(seed, kills, Variant::Safe, tally)
    });
}

#[test]
fn a_daemon_that_vouches_before_it_writes_is_caught_by_kills() {
    is_caught(&RUNS, |seed, kills, tally| {
        crash(seed, kills, Variant::BitsFirst, tally)
    });
}
