//! Rig C: power cuts on real file systems. An image with ext4 or XFS lies on a btrfs and is copied by reflink at random
//! moments while the daemon works in it: each copy is the disk as a cut at that moment would leave it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use larder::testing::Rng;
use tempfile::TempDir;

use super::budget::{Runs, each_seed, is_caught};
use super::daemon::{Daemon, Setup, Shape, Variant, check_twice};
use super::mounts::{Loop, Mounted, tool};
use super::tally::Tally;
use super::tree::{Origin, Wrong};
use super::volume::{Kind, Volume};
use super::writeback::{Mood, provoke};

/// The btrfs; its file has holes, so that it takes what is written.
const BTRFS_LEN: u64 = 2 << 30;
/// Cuts of one working daemon before one of them becomes the disk that is worked on.
const CUTS: u64 = 3;

/// The machine of one seed.
struct Machine {
    kind: Kind,
    variant: Variant,
    shape: Shape,
    rng: Rng,
    origin: Origin,
    // In the order in which it is taken down.
    _btrfs: Mounted,
    _device: Loop,
    dir: TempDir,
}

impl Machine {
    fn new(seed: u64, kind: Kind, variant: Variant) -> Self {
        let dir = TempDir::new().unwrap();
        let (file, btrfs) = (dir.path().join("file"), dir.path().join("btrfs"));
        std::fs::create_dir(&btrfs).unwrap();
        std::fs::File::create(&file)
            .unwrap()
            .set_len(BTRFS_LEN)
            .unwrap();
        tool(
            "mkfs.btrfs",
            "btrfs-progs",
            &["-q", "-K", file.to_str().unwrap()],
        );
        let device = Loop::over(&file, false);
        let mounted = Mounted::new(device.device(), &btrfs, "btrfs", "nodiscard");
        kind.make(&btrfs.join("image"));
        Self {
            kind,
            variant,
            shape: Shape::of(seed),
            rng: Rng::new(seed ^ 0xC),
            origin: Origin::new(seed),
            _btrfs: mounted,
            _device: device,
            dir,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn daemon(&self, name: &str) -> Daemon {
        let scratch = self.path(&format!("scratch-{name}"));
        std::fs::create_dir_all(&scratch).unwrap();
        Daemon::start(&Setup {
            url: &self.origin.server.url(),
            mnt: &self.path(&format!("mnt-{name}")),
            cache: &self.path(name).join("cache"),
            scratch: &scratch,
            variant: self.variant,
            shape: self.shape,
        })
    }

    /// Works on an image and cuts it at random moments. Returns the copies.
    fn work(&mut self, cuts: u64, tally: &Tally) -> (Vec<PathBuf>, Vec<Wrong>) {
        let image = self.path("btrfs/image");
        let _volume = Volume::open(&image, &self.path("work"), self.kind, &mut self.rng);
        let mut daemon = self.daemon("work");
        let mnt = daemon.mnt.clone();
        let mut wrong = self.origin.compare(&mnt).wrong();
        let mood = Mood::draw(&mut self.rng);
        mood.begin(&self.path("work/cache"));
        let share = u16::try_from(32 + self.rng.below(160)).unwrap();
        let replaced = self.origin.replace_some(share, &mut self.rng);
        let cache = self.path("work/cache");
        let (mut rng, seed) = (self.rng.fork(), self.rng.next_u64());
        let (saw, copies) = self.origin.read_during(&mnt, &replaced, seed, || {
            let cut = |n| {
                for _ in 0..rng.below(24) {
                    provoke(&cache, mood, &mut rng);
                }
                std::thread::sleep(Duration::from_micros(rng.below(20_000)));
                let copy = self.path(&format!("btrfs/copy{n}"));
                reflink(&image, &copy);
                tally.crashed(0);
                copy
            };
            (0..cuts).map(cut).collect()
        });
        wrong.extend(saw);
        daemon.kill();
        (copies, wrong)
    }

    /// Boots from a copy and looks at all of it.
    fn look(&mut self, copy: &Path, tally: &Tally) -> Vec<Wrong> {
        let _volume = Volume::open(copy, &self.path("look"), self.kind, &mut self.rng);
        let cache = self.path("look/cache");
        let check = self.rng.chance(64) && self.variant == Variant::Safe;
        if check && cache.join("index.larder").exists() {
            check_twice(&cache).unwrap_or_else(|said| panic!("{said}"));
            tally.checked();
        }
        let daemon = self.daemon("look");
        let compared = self.origin.compare(&daemon.mnt);
        tally.compared(&compared);
        compared.wrong()
    }
}

fn reflink(from: &Path, to: &Path) {
    let paths = [from, to].map(|path| path.to_str().unwrap());
    tool("cp", "coreutils", &["--reflink=always", paths[0], paths[1]]);
}

/// Cuts the power of one seed's machine so many times.
fn crash(seed: u64, cuts: u64, kind: Kind, variant: Variant, tally: &Tally) -> Vec<Wrong> {
    let mut machine = Machine::new(seed, kind, variant);
    let mut left = cuts;
    while left > 0 {
        let (copies, mut wrong) = machine.work(left.min(CUTS), tally);
        left -= copies.len() as u64;
        for copy in &copies {
            if wrong.is_empty() {
                wrong = machine.look(copy, tally);
            }
        }
        if !wrong.is_empty() {
            return wrong;
        }
        // What became of one of the cuts, and of what was done with it since, is the disk from now on.
        let next = &copies[machine.rng.index(copies.len())];
        std::fs::rename(next, machine.path("btrfs/image")).unwrap();
    }
    Vec::new()
}

const EXT4: Runs = Runs {
    name: "reflink cuts of ext4",
    quick: 6,
    full: 50,
    per_cache: 12,
};
const XFS: Runs = Runs {
    name: "reflink cuts of XFS",
    ..EXT4
};

#[test]
fn no_cut_of_a_real_ext4_gives_a_wrong_byte() {
    each_seed(&EXT4, |seed, cuts, tally| {
        crash(seed, cuts, Kind::Ext4, Variant::Safe, tally)
    });
}

#[test]
fn no_cut_of_a_real_xfs_gives_a_wrong_byte() {
    each_seed(&XFS, |seed, cuts, tally| {
        crash(seed, cuts, Kind::Xfs, Variant::Safe, tally)
    });
}

#[test]
fn a_daemon_that_trusts_every_checksum_is_caught_by_cuts_of_ext4() {
    let variant = Variant::TrustChecksums;
    is_caught(&EXT4, |seed, cuts, tally| {
        crash(seed, cuts, Kind::Ext4, variant, tally)
    });
}

#[test]
fn a_daemon_that_trusts_every_checksum_is_caught_by_cuts_of_xfs() {
    let variant = Variant::TrustChecksums;
    is_caught(&XFS, |seed, cuts, tally| {
        crash(seed, cuts, Kind::Xfs, variant, tally)
    });
}
