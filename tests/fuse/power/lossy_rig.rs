//! Rig A: the cache of a real daemon lies on a disk that loses, keeps and tears what was not synced.

use std::path::PathBuf;
use std::time::Duration;

use larder::testing::Rng;
use rustix::io::Errno;
use tempfile::TempDir;

use super::budget::{Cache, Runs, each_seed};
use super::daemon::{Daemon, Setup, Shape, Variant, check_twice};
use super::lossy::{Answer, LossyDisk, LossyMount, Trouble};
use super::tally::Tally;
use super::tree::{Origin, Wrong, told};

/// The machine of one seed: an origin, a disk, and what is mounted.
struct Machine {
    dir: TempDir,
    origin: Origin,
    rng: Rng,
    disk: LossyDisk,
    shape: Shape,
}

impl Machine {
    fn new(seed: u64) -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["disk", "mnt"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self {
            dir,
            origin: Origin::new(seed),
            rng: Rng::new(seed ^ 0xA),
            disk: LossyDisk::default(),
            shape: Shape::of(seed),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mount_disk(&self) -> LossyMount {
        self.disk.mount(&self.path("disk"))
    }

    fn daemon(&self, variant: Variant) -> Daemon {
        Daemon::start(&Setup {
            url: &self.origin.server.url(),
            mnt: &self.path("mnt"),
            cache: &self.path("disk/cache"),
            scratch: self.dir.path(),
            variant,
            shape: self.shape,
        })
    }

    /// Before every few boots cachefsck mends the cache. It would call the unsafe variant's cache what it is.
    fn check_sometimes(&mut self, variant: Variant, tally: &Tally) {
        let cache = self.path("disk/cache");
        if self.rng.chance(64) && variant == Variant::Safe && cache.join("index.larder").exists() {
            check_twice(&cache).unwrap_or_else(|said| panic!("{said}"));
            tally.checked();
        }
    }

    /// Boots: mounts what the last cut left and looks at all of it. Returns what was wrong.
    fn look(&mut self, variant: Variant, tally: &Tally) -> Vec<Wrong> {
        let _mounted = self.mount_disk();
        self.check_sometimes(variant, tally);
        let daemon = self.daemon(variant);
        let compared = self.origin.compare(&daemon.mnt);
        tally.compared(&compared);
        compared.wrong()
    }

    /// Boots, looks, works with new files, and is cut at any moment. Returns what was wrong.
    fn live_and_die(&mut self, variant: Variant, tally: &Tally) -> Vec<Wrong> {
        let mounted = self.mount_disk();
        self.check_sometimes(variant, tally);
        let mut daemon = self.daemon(variant);
        let mut wrong = Vec::new();
        // Some machines go down before much of the cache was touched.
        if self.rng.chance(208) {
            let compared = self.origin.compare(&daemon.mnt);
            tally.compared(&compared);
            wrong.extend(compared.wrong());
        }
        let share = u16::try_from(8 + self.rng.below(64)).unwrap();
        let replaced = self.origin.replace_some(share, &mut self.rng);
        let work_for = Duration::from_millis(self.rng.below(150));
        let [seed, cut] = [(); 2].map(|()| self.rng.next_u64());
        let mnt = daemon.mnt.clone();
        let (saw, after) = self.origin.read_during(&mnt, &replaced, seed, || {
            std::thread::sleep(work_for);
            let after = self.disk.cut(cut);
            daemon.kill();
            after
        });
        wrong.extend(saw);
        tally.crashed(self.disk.pending());
        drop(daemon);
        drop(mounted);
        self.disk = after;
        wrong
    }

    /// Is closed in order; then the power goes, and what syncfs was trusted with is lost: it lies on this disk.
    fn close_and_die(&mut self, variant: Variant, tally: &Tally) -> Vec<Wrong> {
        let mounted = self.mount_disk();
        let daemon = self.daemon(variant);
        self.origin.replace_some(32, &mut self.rng);
        let compared = self.origin.compare(&daemon.mnt);
        tally.compared(&compared);
        daemon.stop();
        let after = self.disk.cut(self.rng.next_u64());
        tally.crashed(self.disk.pending());
        drop(mounted);
        self.disk = after;
        compared.wrong()
    }
}

/// Crashes one seed's machine so many times; what was wrong ends it.
fn crash((seed, crashes): Cache, variant: Variant, tally: &Tally) -> Vec<Wrong> {
    let mut machine = Machine::new(seed);
    for _ in 0..crashes {
        let wrong = match machine.rng.chance(32) {
            true => machine.close_and_die(variant, tally),
            false => machine.live_and_die(variant, tally),
        };
        if !wrong.is_empty() {
            return wrong;
        }
    }
    machine.look(variant, tally)
}

const RUNS: Runs = Runs {
    name: "lossy disk",
    quick: 20,
    full: 200,
    per_cache: 6,
};

#[test]
fn a_disk_that_loses_what_was_not_synced_gives_no_wrong_byte() {
    each_seed(&RUNS, |cache, tally| crash(cache, Variant::Safe, tally));
}

#[test]
fn a_daemon_that_trusts_every_checksum_is_caught_on_the_lossy_disk() {
    super::budget::is_caught(&RUNS, |cache, tally| {
        crash(cache, Variant::TrustChecksums, tally)
    });
}

/// A disk that errs is a miss, not an error.
#[test]
fn a_disk_that_errs_gives_no_wrong_byte_and_no_error() {
    let mut machine = Machine::new(1);
    let _mounted = machine.mount_disk();
    let daemon = machine.daemon(Variant::Safe);
    for (reads, writes) in [
        (Answer::Well, Answer::Error(Errno::IO)),
        (Answer::Error(Errno::IO), Answer::Well),
        (Answer::Well, Answer::Error(Errno::NOSPC)),
        (Answer::Well, Answer::Well),
    ] {
        let trouble = Trouble { reads, writes };
        machine.disk.trouble(trouble);
        for _ in 0..2 {
            let wrong = machine.origin.compare(&daemon.mnt).wrong();
            assert!(wrong.is_empty(), "{trouble:?}: {}", told(&wrong));
            machine.origin.replace_some(96, &mut machine.rng);
        }
    }
    daemon.stop();
}
