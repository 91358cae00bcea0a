//! A real file system in an image that loses power: what rigs B and C have in common. They differ in what the image lies
//! on ([`Platter`]), and so in what a cut leaves of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::testing::Rng;
use tempfile::TempDir;

use super::daemon::{Daemon, Setup, Shape, Variant, check_twice};
use super::tally::Tally;
use super::tree::{Origin, Wrong};
use super::volume::{Kind, Volume};
use super::writeback::{Mood, provoke};

/// Cuts of one working daemon before one of them becomes the disk that is worked on.
const CUTS: u64 = 3;

/// What an image lies on.
pub(crate) trait Platter: Sized {
    /// An image as it stands, or as a cut left it.
    type Disk;
    /// What makes the image a file, until it is dropped.
    type Attached;

    /// Makes one in a directory.
    fn new(dir: &Path) -> Self;
    /// An image with an empty file system.
    fn fresh(&self, dir: &Path, kind: Kind) -> Self::Disk;
    /// Shows the image as a file; `place` is a directory of its own for that.
    fn attach(&self, disk: &Self::Disk, place: &Path) -> (Self::Attached, PathBuf);
    /// The image as a cut at this moment leaves it; the image itself goes on.
    fn cut(&self, disk: &Self::Disk, seed: u64) -> Self::Disk;
    /// How much of it is not durable, where that is known.
    fn pending(&self, disk: &Self::Disk) -> usize;
}

/// The machine of one seed.
struct Machine<P: Platter> {
    kind: Kind,
    variant: Variant,
    shape: Shape,
    rng: Rng,
    origin: Origin,
    disk: P::Disk,
    // In the order in which it is taken down.
    platter: P,
    dir: TempDir,
}

impl<P: Platter> Machine<P> {
    fn new(seed: u64, kind: Kind, variant: Variant) -> Self {
        let dir = TempDir::new().unwrap();
        let platter = P::new(dir.path());
        Self {
            kind,
            variant,
            shape: Shape::of(seed),
            rng: Rng::new(seed ^ 0xC),
            origin: Origin::new(seed),
            disk: platter.fresh(dir.path(), kind),
            platter,
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

    fn attach(&self, disk: &P::Disk, name: &str) -> (P::Attached, PathBuf) {
        let place = self.path(&format!("platter-{name}"));
        std::fs::create_dir_all(&place).unwrap();
        self.platter.attach(disk, &place)
    }

    /// Works on the disk and cuts it at random moments. Returns what the cuts left.
    fn work(&mut self, cuts: u64, tally: &Tally) -> (Vec<P::Disk>, Vec<Wrong>) {
        let (_attached, image) = self.attach(&self.disk, "work");
        let _volume = Volume::open(&image, &self.path("work"), self.kind, &mut self.rng);
        let mut daemon = self.daemon("work");
        let mnt = daemon.mnt.clone();
        let mut wrong = self.origin.compare(&mnt).wrong();
        let (cache, mood) = (self.path("work/cache"), Mood::draw(&mut self.rng));
        mood.begin(&cache);
        let share = u16::try_from(32 + self.rng.below(160)).unwrap();
        let replaced = self.origin.replace_some(share, &mut self.rng);
        let [mut rng, mut other] = [(); 2].map(|()| self.rng.fork());
        let (seed, stop) = (self.rng.next_u64(), AtomicBool::new(false));
        let (saw, left) = self.origin.read_during(&mnt, &replaced, seed, || {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        provoke(&cache, mood, &mut other);
                    }
                });
                let cut = |_| {
                    std::thread::sleep(Duration::from_micros(rng.below(60_000)));
                    tally.crashed(self.platter.pending(&self.disk));
                    self.platter.cut(&self.disk, rng.next_u64())
                };
                let left = (0..cuts).map(cut).collect();
                stop.store(true, Ordering::Relaxed);
                left
            })
        });
        wrong.extend(saw);
        daemon.kill();
        (left, wrong)
    }

    /// Boots from what a cut left and looks at all of it.
    fn look(&mut self, disk: &P::Disk, tally: &Tally) -> Vec<Wrong> {
        let (_attached, image) = self.attach(disk, "look");
        let volume = Volume::open(&image, &self.path("look"), self.kind, &mut self.rng);
        if volume.was_refused {
            tally.refused();
        }
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

/// Cuts the power of one seed's machine so many times.
pub(crate) fn crash<P: Platter>(
    (seed, cuts): (u64, u64),
    kind: Kind,
    variant: Variant,
    tally: &Tally,
) -> Vec<Wrong> {
    let mut machine = Machine::<P>::new(seed, kind, variant);
    let mut left = cuts;
    while left > 0 {
        let (mut disks, mut wrong) = machine.work(left.min(CUTS), tally);
        left -= disks.len() as u64;
        for disk in &disks {
            if wrong.is_empty() {
                wrong = machine.look(disk, tally);
            }
        }
        if !wrong.is_empty() {
            return wrong;
        }
        // What became of one of the cuts, and of what was done with it since, is the disk from now on.
        machine.disk = disks.swap_remove(machine.rng.index(disks.len()));
    }
    Vec::new()
}
