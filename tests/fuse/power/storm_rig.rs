//! Rig D: a working daemon is killed at random moments. The page cache survives, so nothing may be wrong, and nothing
//! that was cached a second before the kill may come again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use larder::testing::Rng;
use tempfile::TempDir;

use super::super::on_disk::wait_until_on_disk;
use super::super::web::files::attribute;
use super::budget::{Cache, Runs, each_seed, is_caught};
use super::daemon::{Daemon, Setup, Shape, Variant};
use super::tally::Tally;
use super::tree::{Origin, Wrong};

struct Machine {
    dir: TempDir,
    origin: Origin,
    rng: Rng,
    shape: Shape,
}

impl Machine {
    fn new(seed: u64) -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            origin: Origin::new(seed),
            rng: Rng::new(seed ^ 0xD),
            // The first seed, which every run has, is one whose chunks stay.
            shape: Shape::of(seed + 1),
        }
    }

    fn daemon(&self, variant: Variant) -> Daemon {
        let dir = self.dir.path();
        Daemon::start(&Setup {
            url: &self.origin.server.url(),
            mnt: &dir.join("mnt"),
            cache: &dir.join("cache"),
            scratch: dir,
            variant,
            shape: self.shape,
        })
    }

    /// Compares everything. What was `kept` must not come again.
    fn look(&mut self, daemon: &Daemon, kept: &BTreeSet<PathBuf>, tally: &Tally) -> Vec<Wrong> {
        self.origin.server.forget();
        let compared = self.origin.compare(&daemon.mnt);
        tally.compared(&compared);
        let mut wrong = compared.wrong();
        for asked in self.origin.server.asked() {
            let name = PathBuf::from(asked.path.trim_start_matches('/'));
            if asked.method == "GET" && kept.contains(&name) {
                wrong.push(Wrong::Again(name));
            }
        }
        wrong
    }

    /// The files that are cached whole.
    fn kept(&self, daemon: &Daemon) -> BTreeSet<PathBuf> {
        let is_kept = |name: &PathBuf| {
            let path = daemon.mnt.join(name);
            let len = path.metadata().unwrap().len();
            attribute(&path, "cached-bytes") == len.to_string()
        };
        self.origin.names().filter(is_kept).collect()
    }

    /// Works with new files and is killed at any moment. Returns what was wrong, and the files that were cached in time.
    fn work_and_die(
        &mut self,
        mut daemon: Daemon,
        tally: &Tally,
    ) -> (Vec<Wrong>, BTreeSet<PathBuf>) {
        let mut kept = BTreeSet::new();
        // Where chunks are culled nobody can say what is still there.
        if self.shape == Shape::Roomy && self.rng.chance(128) {
            kept = self.kept(&daemon);
            let files = kept.iter().map(|name| daemon.mnt.join(name));
            wait_until_on_disk(&self.dir.path().join("cache"), files);
        }
        let share = u16::try_from(32 + self.rng.below(225)).unwrap();
        let replaced = self.origin.replace_some(share, &mut self.rng);
        for name in &replaced {
            kept.remove(name);
        }
        tally.kept(kept.len());
        let work_for = Duration::from_micros(self.rng.below(100_000));
        let (seed, mnt) = (self.rng.next_u64(), daemon.mnt.clone());
        let (wrong, ()) = self.origin.read_during(&mnt, &replaced, seed, || {
            std::thread::sleep(work_for);
            daemon.kill();
        });
        tally.crashed(0);
        (wrong, kept)
    }
}

/// Kills one seed's daemon so many times.
fn crash((seed, kills): Cache, variant: Variant, tally: &Tally) -> Vec<Wrong> {
    let mut machine = Machine::new(seed);
    let mut kept = BTreeSet::new();
    for _ in 0..kills {
        let daemon = machine.daemon(variant);
        let mut wrong = machine.look(&daemon, &kept, tally);
        if wrong.is_empty() {
            (wrong, kept) = machine.work_and_die(daemon, tally);
        }
        if !wrong.is_empty() {
            return wrong;
        }
    }
    let daemon = machine.daemon(variant);
    machine.look(&daemon, &kept, tally)
}

const RUNS: Runs = Runs {
    name: "kill -9",
    quick: 10,
    full: 100,
    per_cache: 12,
};

#[test]
fn a_daemon_killed_at_any_moment_gives_no_wrong_byte_and_fetches_nothing_twice() {
    each_seed(&RUNS, |cache, tally| crash(cache, Variant::Safe, tally));
}

#[test]
fn a_daemon_that_vouches_before_it_writes_is_caught_by_kills() {
    is_caught(&RUNS, |cache, tally| {
        crash(cache, Variant::BitsFirst, tally)
    });
}
