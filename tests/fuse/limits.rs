//! What the cache may take of its disk, with the program itself: a size that changes from mount to mount, a disk that
//! another program fills in the midst of reading.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use larder::testing::Rng;
use rustix::fs::Advice;
use serde_json::Value;
use tempfile::TempDir;

use super::cli::rig::{Rig, SetAtEnd, larder, refused, run, stderr, wait_until};
use super::mounted::content;
use super::power::mounts::{Loop, Mounted, tool};
use super::web::files::{age, ago};
use super::web::servers::{JSON, Server};

const MIB: u64 = 1 << 20;

/// A disk of some 300 MiB, mounted.
pub(crate) struct SmallDisk {
    _mounted: Mounted,
    _device: Loop,
    dir: TempDir,
}

impl SmallDisk {
    fn new() -> Self {
        Self::of("ext4", "e2fsprogs", 300, &["-q", "-F"])
    }

    /// XFS takes no smaller one.
    pub(crate) fn xfs() -> Self {
        Self::of("xfs", "xfsprogs", 320, &["-q", "-f"])
    }

    fn of(kind: &str, package: &str, mib: u64, options: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let (image, place) = (dir.path().join("image"), dir.path().join("disk"));
        fs::create_dir(&place).unwrap();
        File::create(&image).unwrap().set_len(mib * MIB).unwrap();
        let args = [options, &[image.to_str().unwrap()]].concat();
        tool(&format!("mkfs.{kind}"), package, &args);
        let device = Loop::over(&image, false);
        let mounted = Mounted::new(device.device(), &place, kind, "defaults").unwrap();
        Self {
            _mounted: mounted,
            _device: device,
            dir,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("disk").join(name)
    }

    /// Bytes free, and in all.
    fn space(&self) -> (u64, u64) {
        let disk = rustix::fs::statvfs(self.path("")).unwrap();
        (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
    }

    fn free(&self) -> u64 {
        self.space().0
    }

    /// Another program takes all but so many bytes.
    fn hog(&self, name: &str, but: u64) {
        let len = self.free().saturating_sub(but);
        let path = self.path(name);
        if len == 0 {
            // There is nothing left to take.
            return fs::write(path, "").unwrap();
        }
        let len = len.to_string();
        tool(
            "fallocate",
            "util-linux",
            &["-l", &len, path.to_str().unwrap()],
        );
    }
}

/// Files at a web server, and what is in them.
pub(crate) struct Origin {
    pub(crate) dir: TempDir,
    files: Vec<Vec<u8>>,
}

const FILES: u64 = 8;
const LEN: usize = 20 << 20;

impl Origin {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let files: Vec<_> = (1..=FILES).map(|seed| content(seed, LEN)).collect();
        for (n, bytes) in files.iter().enumerate() {
            let path = dir.path().join(n.to_string());
            fs::write(&path, bytes).unwrap();
            age(&path, 3600);
        }
        Self { dir, files }
    }

    /// Reads a piece through the mount, past the kernel's own memory of it.
    pub(crate) fn read(&self, mnt: &Path, file: usize, at: usize, len: usize) {
        let open = File::open(mnt.join(file.to_string())).unwrap();
        rustix::fs::fadvise(&open, at as u64, None, Advice::DontNeed).unwrap();
        let mut bytes = vec![0; len.min(LEN - at)];
        open.read_exact_at(&mut bytes, at as u64)
            .unwrap_or_else(|error| panic!("file {file} at {at}: {error}"));
        assert!(
            bytes == self.files[file][at..at + bytes.len()],
            "file {file} at {at}"
        );
    }

    pub(crate) fn read_all(&self, mnt: &Path) {
        for file in 0..self.files.len() {
            for at in (0..LEN).step_by(1 << 20) {
                self.read(mnt, file, at, 1 << 20);
            }
        }
    }
}

pub(crate) fn number(stats: &Value, key: &str) -> u64 {
    stats[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no {key} in {stats}"))
}

pub(crate) fn mount(rig: &Rig, url: &str, cache: &Path, more: &[&str]) -> String {
    let mut command = larder();
    command.arg("mount").arg(url).arg(rig.mnt());
    command.arg("--cache-dir").arg(cache).args(more);
    let output = run(&mut command);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output)
}

/// What goes on beside the hog.
struct Beside<'a> {
    disk: &'a SmallDisk,
    origin: &'a Origin,
    mnt: &'a Path,
    stop: AtomicBool,
    reads: AtomicU64,
}

impl Beside<'_> {
    /// Reads anything anywhere, until the end, and compares it.
    fn read(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        while !self.stop.load(Ordering::Relaxed) {
            let (file, at) = (rng.index(self.origin.files.len()), rng.index(LEN));
            self.origin.read(self.mnt, file, at, 200_000);
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets the readers read on; the least free space meanwhile.
    fn go_on(&self) -> u64 {
        let (before, mut least) = (self.reads.load(Ordering::Relaxed), u64::MAX);
        wait_until("the readers go on", || {
            least = least.min(self.disk.free());
            self.reads.load(Ordering::Relaxed) > before + 200
        });
        least
    }

    /// Another program fills the disk; the cache gives back up to the run mark and then never takes more than to the cull
    /// mark, though the readers ask for what is gone.
    fn fill(&self, hog: &str, run: u64, cull: u64) {
        self.disk.hog(hog, MIB);
        let filled = self.disk.free();
        wait_until("the run mark is reached", || self.disk.free() >= run);
        let least = self.go_on();
        eprintln!("{hog}: {filled} free; then {run} again, and never below {least}");
        assert!(
            least >= cull - MIB,
            "{least} of {cull}: its own fills went too far"
        );
    }

    /// They take what the cache would need to give: it gives all, and readers go on from the network.
    fn starve(&self) {
        for hog in ["hog-4", "hog-5", "hog-6"] {
            self.disk.hog(hog, MIB);
            self.go_on();
        }
        eprintln!("starved: {} free", self.disk.free());
    }
}

#[test]
fn a_disk_that_another_program_fills_costs_hits_and_nothing_else() {
    let (disk, origin) = (SmallDisk::new(), Origin::new());
    let server = Server::nginx(origin.dir.path(), JSON);
    let rig = Rig::new();
    let more = ["--cache-size", "256M", "--chunk-size", "1M"];
    mount(&rig, &server.url(), &disk.path("cache"), &more);
    let (mnt, used) = (rig.mnt(), || number(&rig.stats(&rig.mnt()), "used_bytes"));
    let read_till_all_hits = || {
        wait_until("all is cached", || {
            let before = number(&rig.stats(&mnt), "remote_bytes");
            origin.read_all(&mnt);
            number(&rig.stats(&mnt), "remote_bytes") == before
        });
    };
    read_till_all_hits();
    let all = FILES * LEN as u64;
    wait_until("what was fetched is on the disk", || used() >= all);
    let (free, total) = disk.space();
    let [run, cull] = [100, 70].map(|mark| (total * mark).div_ceil(1000));
    let full = used();
    eprintln!("{free} of {total} bytes free, the cache takes {full}; marks {run}, {cull}");
    assert!(free > run, "the disk is short before anybody fills it");
    let beside = Beside {
        disk: &disk,
        origin: &origin,
        mnt: &mnt,
        stop: AtomicBool::new(false),
        reads: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        // Readers end, whatever fails here.
        let _stop = SetAtEnd(&beside.stop);
        for reader in 0..4 {
            let beside = &beside;
            scope.spawn(move || beside.read(reader));
        }
        for hog in ["hog-1", "hog-2", "hog-3"] {
            beside.fill(hog, run, cull);
            assert!(used() < full);
        }
        beside.starve();
        for hog in 1..=6 {
            fs::remove_file(disk.path(&format!("hog-{hog}"))).unwrap();
        }
        wait_until("the cache fills again", || used() > full - full / 10);
    });
    read_till_all_hits();
    let (stats, reads) = (rig.stats(&mnt), beside.reads.load(Ordering::Relaxed));
    let [used, culled, errors] =
        ["used_bytes", "slots_culled", "disk_errors"].map(|key| number(&stats, key));
    eprintln!(
        "{reads} reads beside it; in the end the cache takes {used}, culled {culled}, {errors} disk errors"
    );
    assert_eq!(stats["pressure"], "none");
    rig.umount();
}

/// What `larder info` says that is cached of a file.
fn cached_bytes(path: &Path) -> Option<u64> {
    let output = run(larder().arg("info").arg(path));
    let info = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = info.lines().find(|line| line.contains("cached-bytes"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_later_mount_changes_the_size_and_keeps_what_fits() {
    let dir = TempDir::new().unwrap();
    let bytes = content(3, 40 << 20);
    let path = dir.path().join("data");
    fs::write(&path, &bytes).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(ago(3600))
        .unwrap();
    let server = Server::nginx(dir.path(), JSON);
    let rig = Rig::new();
    let (cache, url) = (rig.cache(), server.url());
    let with_size = |size: &str| {
        let more = [
            "--cache-size",
            size,
            "--chunk-size",
            "1M",
            "--free-space-ratio",
            "0",
        ];
        mount(&rig, &url, &cache, &more)
    };
    let read = || assert!(fs::read(rig.mnt().join("data")).unwrap() == bytes);
    let stats = || rig.stats(&rig.mnt());
    with_size("100M");
    read();
    wait_until("all is cached", || {
        number(&stats(), "used_bytes") > 40 * MIB
    });
    rig.umount();
    // Smaller: what is too much goes, and the rest hits.
    let said = with_size("24M");
    assert!(
        said.contains("24.0 MiB") && said.contains("gives"),
        "{said}"
    );
    wait_until("the rest is given back", || {
        number(&stats(), "used_bytes") <= 24 * MIB
    });
    let left = number(&stats(), "used_bytes");
    assert!(left > 20 * MIB, "{left}");
    let cached = cached_bytes(&rig.mnt().join("data"));
    assert!(cached.is_some_and(|bytes| bytes > 20 * MIB), "{cached:?}");
    read();
    rig.umount();
    assert_eq!(number(&rig.stats(&cache), "capacity_bytes"), 24 * MIB);
    // Larger again, and a size that cannot be.
    let said = with_size("2G");
    assert!(said.contains("larder resize"), "{said}");
    read();
    wait_until("all is cached", || {
        number(&stats(), "used_bytes") > 40 * MIB
    });
    let said = refused(larder().arg("resize").arg(&cache), 4, &["in use"]);
    assert!(said.contains(rig.mnt().to_str().unwrap()), "{said}");
    rig.umount();
    let mut command = larder();
    command
        .args(["mount", &url])
        .arg(rig.mnt())
        .arg("--cache-dir")
        .arg(&cache);
    refused(command.args(["--cache-size", "1M"]), 2, &["too small"]);
    // A larger index keeps all of it.
    let output = run(larder().arg("resize").arg(&cache));
    assert!(output.status.success(), "{}", stderr(&output));
    let said = with_size("2G");
    assert!(!said.contains("larder resize"), "{said}");
    read();
    assert_eq!(number(&stats(), "remote_bytes"), 0, "all of it hits");
    rig.umount();
}
