//! A cache disk that errs, has no space, turns read-only or hangs, beneath the real program over a real nginx: no reader
//! gets an error or a wrong byte, none waits for longer than the disk is given, and the cache comes back with its disk.
//!
//! `LARDER_POWER=full` hangs the disk for the whole minute. Each phase prints its slowest read and its 99th percentile, of
//! reads from the kernel's pages (warm) and of reads that larder answers (cold).

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::engine::{Clock, SystemClock};
use larder::testing::Rng;
use rustix::fs::Advice;
use rustix::io::Errno;
use serde_json::Value;
use tempfile::TempDir;

use super::cli::rig::{SetAtEnd, larder, run, stderr, wait_until};
use super::mounted::content;
use super::power::daemon::{Daemon, Setup, Shape, Variant};
use super::power::lossy::{Answer, LossyDisk, LossyMount, Trouble};
use super::power::mounts::{Loop, Mounted};
use super::power::volume::Kind;
use super::web::files::age_all;
use super::web::servers::{JSON, Server};

/// Files that are cached before anything goes wrong, and their length.
const HOT: usize = 24;
const HOT_LEN: usize = 512 << 10;
/// Files that are read for the first time in each phase.
const FRESH: usize = 6;
const FRESH_LEN: usize = 192 << 10;
const PHASES: usize = 8;
/// What the disk is given by larder.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// The most reads of the three readers that may wait for a disk that hangs: those that are under way when it begins to,
/// and as many that come before the next tick, at which that is known.
const WAIT_MAX: u64 = 6;
/// O_DIRECT wants it.
const ALIGN: usize = 4096;

/// The machine: an origin, a disk, and larder between.
pub(crate) struct Machine {
    dir: TempDir,
    server: Server,
    // Whatever hangs is let go before anything is taken down.
    _calm: Calm,
    // A file system in a file of the disk, where the cache is to lie on a real one.
    volume: Option<(Mounted, Loop)>,
    pub(crate) disk: LossyDisk,
    _mounted: LossyMount,
}

struct Calm(LossyDisk);

impl Drop for Calm {
    fn drop(&mut self) {
        self.0.trouble(Trouble::default());
    }
}

const IMAGE: &str = "disk/image";

/// A file of the origin that a phase finds in the cache: its name and its bytes.
pub(crate) fn hot(n: usize) -> (String, Vec<u8>) {
    (format!("hot{n}"), content(n as u64 + 1, HOT_LEN))
}

fn fresh(phase: usize, n: usize) -> (String, Vec<u8>) {
    let seed = 1000 * (phase + 1) + n;
    (format!("fresh{phase}-{n}"), content(seed as u64, FRESH_LEN))
}

impl Machine {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["origin", "disk", "mnt"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let origin = dir.path().join("origin");
        let all = (0..HOT).map(hot);
        let all = all.chain((0..PHASES).flat_map(|p| (0..FRESH).map(move |n| fresh(p, n))));
        for (name, bytes) in all {
            fs::write(origin.join(name), bytes).unwrap();
        }
        age_all(&origin);
        let disk = LossyDisk::default();
        let mounted = disk.mount(&dir.path().join("disk"));
        let server = Server::nginx(&origin, JSON);
        Self {
            dir,
            server,
            _calm: Calm(disk.clone()),
            volume: None,
            disk,
            _mounted: mounted,
        }
    }

    /// With the cache on an ext4 whose device is the disk that hangs.
    fn on_ext4() -> Self {
        let mut machine = Self::new();
        let (image, place) = (machine.path(IMAGE), machine.path("volume"));
        Kind::Ext4.make(&image);
        fs::create_dir(&place).unwrap();
        let device = Loop::over(&image, true);
        let mounted = Mounted::new(device.device(), &place, "ext4", "data=ordered");
        machine.volume = Some((mounted.unwrap(), device));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn cache(&self) -> PathBuf {
        match self.volume {
            Some(_) => self.path("volume/cache"),
            None => self.path("disk/cache"),
        }
    }

    pub(crate) fn daemon(&self) -> Daemon {
        Daemon::start(&Setup {
            url: &self.server.url(),
            mnt: &self.dir.path().join("mnt"),
            cache: &self.cache(),
            scratch: self.dir.path(),
            variant: Variant::Safe,
            shape: Shape::Roomy,
        })
    }

    /// What the daemon has said so far.
    fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("said")).unwrap()
    }

    /// Has the kernel forget what it holds of the cache, so that the next read needs the disk.
    pub(crate) fn forget_pages(&self) {
        let mut left = vec![self.cache()];
        left.extend(self.volume.as_ref().map(|_| self.path(IMAGE)));
        // What is written first lies deepest, and comes last.
        left.reverse();
        while let Some(path) = left.pop() {
            match path.is_dir() {
                true => left.extend(fs::read_dir(path).unwrap().map(|e| e.unwrap().path())),
                false => {
                    let file = File::open(path).unwrap();
                    file.sync_all().unwrap();
                    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
                }
            }
        }
    }
}

pub(crate) fn stats(mnt: &Path) -> Value {
    let output = run(larder().args(["stats", "--json"]).arg(mnt));
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How many reads have waited for the disk until the remote was asked for their bytes.
pub(crate) fn hedged(mnt: &Path) -> u64 {
    stats(mnt)["reads_hedged"].as_u64().unwrap()
}

/// Reads that waited for a disk that hangs: those that came when it was known to be were answered without it. Every one
/// was answered while it hung; how soon is a matter of the machine that runs the test, too.
fn judge_waits(what: &str, waited: u64) {
    eprintln!("sick, {what}: {waited} reads waited for the disk");
    assert!(waited <= WAIT_MAX, "{what}: {waited} waited for the disk");
}

/// A file whose reads larder answers, and not the kernel's pages.
fn open_cold(path: &Path) -> std::io::Result<File> {
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap();
    File::options().read(true).custom_flags(direct).open(path)
}

/// Reads that were timed.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn max(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    fn p99(&mut self) -> Duration {
        self.0.sort_unstable();
        let at = self.0.len() * 99 / 100;
        self.0.get(at).copied().unwrap_or_default()
    }
}

/// One read of `len` bytes at `at`, held against what is right; how long it took, with the open.
pub(crate) fn read(path: &Path, right: &[u8], at: usize, len: usize, cold: bool) -> Duration {
    let clock = SystemClock::default();
    let name = path.display();
    let file = match cold {
        true => open_cold(path),
        false => File::open(path),
    };
    let file = file.unwrap_or_else(|e| panic!("{name} cannot be opened: {e}"));
    let mut memory = vec![0; len + ALIGN];
    let start = memory.as_ptr().align_offset(ALIGN);
    let buffer = &mut memory[start..start + len];
    let begun = clock.monotonic();
    let got = file.read_at(buffer, at as u64);
    let took = clock.monotonic() - begun;
    let got = got.unwrap_or_else(|e| panic!("{name} at {at} cannot be read ({took:?}): {e}"));
    assert!(got > 0, "{name} ends at {at}");
    assert!(
        buffer[..got] == right[at..at + got],
        "{name}: wrong bytes at {at}"
    );
    took
}

/// Reads what is cached until it is told to stop.
fn bench(mnt: &Path, files: &[(String, Vec<u8>)], cold: bool, stop: &AtomicBool) -> Times {
    let mut rng = Rng::new(u64::from(cold) + 7);
    let mut times = Times::default();
    while !stop.load(Ordering::Relaxed) {
        let (name, right) = &files[rng.index(files.len())];
        let at = rng.index(right.len() / ALIGN) * ALIGN;
        let len = ALIGN.min(right.len() - at);
        times.0.push(read(&mnt.join(name), right, at, len, cold));
        std::thread::sleep(Duration::from_micros(500));
    }
    times
}

/// Reads whole files in pieces, again and again.
fn walk(mnt: &Path, files: &[(String, Vec<u8>)], stop: &AtomicBool) -> Times {
    let mut times = Times::default();
    while !stop.load(Ordering::Relaxed) {
        for (name, right) in files {
            for at in (0..right.len()).step_by(64 << 10) {
                let len = (64 << 10).min(right.len() - at);
                times.0.push(read(&mnt.join(name), right, at, len, true));
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    times
}

/// What goes wrong in a phase, and for how long.
struct Phase {
    name: &'static str,
    trouble: Trouble,
    lasts: Duration,
    /// What the counters must show of it.
    counted: &'static str,
}

fn phases() -> [Phase; PHASES] {
    let full = std::env::var("LARDER_POWER").is_ok_and(|power| power == "full");
    let long = Duration::from_secs(if full { 60 } else { 8 });
    let short = Duration::from_secs(if full { 10 } else { 3 });
    let phase = |name, reads, writes, lasts, counted| Phase {
        name,
        trouble: Trouble { reads, writes },
        lasts,
        counted,
    };
    let (well, error) = (Answer::Well, Answer::Error);
    [
        phase("EIO on read", error(Errno::IO), well, short, "io_errors"),
        phase("EIO on write", well, error(Errno::IO), short, "io_errors"),
        phase(
            "EIO",
            error(Errno::IO),
            error(Errno::IO),
            short,
            "io_errors",
        ),
        phase("ENOSPC", well, error(Errno::NOSPC), short, "no_space"),
        phase("read-only", well, error(Errno::ROFS), short, "read_only"),
        phase("hang", Answer::Hang, Answer::Hang, long, "hung"),
        phase(
            "reads hang",
            Answer::Hang,
            well,
            short.max(PATIENCE * 3),
            "hung",
        ),
        phase(
            "hang again",
            Answer::Hang,
            Answer::Hang,
            short.max(PATIENCE * 3),
            "hung",
        ),
    ]
}

/// Runs the readers through one phase. Returns the times of warm and of cold reads of what is cached, and of the others.
fn suffer(machine: &Machine, mnt: &Path, number: usize, phase: &Phase) -> [Times; 3] {
    let stop = &AtomicBool::new(false);
    let cached: &Vec<_> = &(0..HOT).map(hot).collect();
    let new: &Vec<_> = &(0..FRESH).map(|n| fresh(number, n)).collect();
    for (name, right) in cached {
        read(&mnt.join(name), right, 0, right.len(), false);
    }
    let counted = || stats(mnt)["disk"][phase.counted].as_u64().unwrap();
    let before = counted();
    machine.forget_pages();
    machine.disk.trouble(phase.trouble);
    std::thread::scope(|scope| {
        // They end however they fare, so that none of them is left hanging.
        let (calm, over) = (Calm(machine.disk.clone()), SetAtEnd(stop));
        let warm = scope.spawn(move || bench(mnt, cached, false, stop));
        let cold = scope.spawn(move || bench(mnt, cached, true, stop));
        let other = scope.spawn(move || walk(mnt, new, stop));
        std::thread::sleep(phase.lasts);
        wait_until("the trouble is counted", || counted() > before);
        drop(over);
        // With the disk as it is: nobody waits for it to be well.
        let readers = [&warm, &cold, &other];
        wait_until("every reader is answered", || {
            readers.iter().all(|reader| reader.is_finished())
        });
        drop(calm);
        let joined = [warm, cold, other].map(|reader| reader.join());
        joined.map(|times| times.unwrap_or_else(|e| std::panic::resume_unwind(e)))
    })
}

/// Waits until the cache is in use again: everything is read once more, and then no more is asked of the origin.
pub(crate) fn recover(mnt: &Path, number: usize) {
    let well = || {
        let disk = &stats(mnt)["disk"];
        disk["reading"] == "well" && disk["writing"] == "well"
    };
    wait_until("the cache disk is well again", well);
    let all: Vec<_> = (0..HOT).map(hot).collect();
    let new: Vec<_> = (0..FRESH).map(|n| fresh(number, n)).collect();
    let asked = || stats(mnt)["remote_requests"].as_u64().unwrap();
    let pass = || {
        let before = asked();
        for (name, right) in all.iter().chain(&new) {
            for at in (0..right.len()).step_by(64 << 10) {
                read(
                    &mnt.join(name),
                    right,
                    at,
                    (64 << 10).min(right.len() - at),
                    true,
                );
            }
        }
        asked() - before
    };
    wait_until("what is read is kept again", || pass() == 0);
}

#[test]
fn a_sick_cache_disk_harms_no_reader_and_comes_back() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let mnt = daemon.mnt.clone();
    recover(&mnt, 0);
    for (number, phase) in phases().iter().enumerate() {
        let waited = hedged(&mnt);
        let mut times = suffer(&machine, &mnt, number, phase);
        for (what, times) in ["warm", "cold", "other"].iter().zip(&mut times) {
            let (n, max, p99) = (times.0.len(), times.max(), times.p99());
            eprintln!(
                "sick, {} for {:?}: {what}: {n} reads, max {max:?}, p99 {p99:?}",
                phase.name, phase.lasts
            );
        }
        if phase.counted == "hung" {
            judge_waits(phase.name, hedged(&mnt) - waited);
        }
        recover(&mnt, number);
    }
    let said = machine.said();
    let lines = |what: &str| said.matches(what).count();
    for (line, most) in [
        ("go to the remote until the disk works again", 6),
        ("nothing is cached until the disk works again", 8),
        ("the cache disk is full", 2),
        ("failed while", 40),
    ] {
        assert!((1..=most).contains(&lines(line)), "{line}: {said}");
    }
    daemon.stop();
}

/// The same on a real file system, from whose pages larder answers readers on their own threads.
#[test]
fn a_file_system_whose_device_hangs_harms_no_reader() {
    let machine = Machine::on_ext4();
    let daemon = machine.daemon();
    let mnt = daemon.mnt.clone();
    recover(&mnt, 0);
    let hang = phases().into_iter().find(|phase| phase.name == "hang");
    let waited = hedged(&mnt);
    let times = suffer(&machine, &mnt, 0, &hang.unwrap());
    for (what, mut times) in ["warm", "cold", "other"].iter().zip(times) {
        let (n, max, p99) = (times.0.len(), times.max(), times.p99());
        eprintln!("sick, ext4 on a device that hangs: {what}: {n} reads, max {max:?}, p99 {p99:?}");
    }
    judge_waits("ext4", hedged(&mnt) - waited);
    assert!(stats(&mnt)["reads_inline"].as_u64().unwrap() > 0);
    recover(&mnt, 0);
    daemon.stop();
}

/// Unmounting does not wait for a disk that hangs: the mount goes at once, and what could not be done is said.
#[test]
fn a_mount_over_a_hung_disk_is_unmounted() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let mnt = daemon.mnt.clone();
    recover(&mnt, 0);
    machine.forget_pages();
    let hang = Answer::Hang;
    machine.disk.trouble(Trouble {
        reads: hang,
        writes: hang,
    });
    let (name, right) = fresh(1, 0);
    read(&mnt.join(name), &right, 0, FRESH_LEN, true);
    wait_until("the hang was noticed", || {
        stats(&mnt)["disk"]["hung"].as_u64().unwrap() > 0
    });
    // It comes back, although the disk does not.
    let output = run(larder().args(["umount", "--wait", "20s"]).arg(&mnt));
    eprintln!("umount: {}: {}", output.status, stderr(&output));
    assert!(
        super::cli::rig::mount_type(&mnt).is_none(),
        "it is still mounted"
    );
    wait_until("the daemon says why", || {
        machine
            .said()
            .contains("the cache disk does not answer: the next mount checks the cache")
    });
    machine.disk.trouble(Trouble::default());
}
