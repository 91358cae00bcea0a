//! What a mount costs, through the program and the kernel: `cargo bench --bench mount`. It needs /dev/fuse and about
//! 7 GiB in the temporary directory (TMPDIR says which), and prints a table. Arguments are ignored.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use larder::engine::{Clock, SystemClock};
use larder::testing::Rng;
use rustix::process::{Pid, Signal, kill_process};

const NEEDED: u64 = 7 << 30;
const SMALL: u64 = 5000;
const SMALL_LEN: usize = 16 << 10;
const LARGE_LEN: u64 = 1 << 30;
const ROUNDS: usize = 5;

/// A remote, a mount point and a cache; nothing stays mounted.
struct Stage {
    dir: tempfile::TempDir,
    clock: SystemClock,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("larder-bench-").tempdir();
        let dir = dir.expect("a temporary directory");
        for name in ["remote", "mnt"] {
            fs::create_dir(dir.path().join(name)).expect("a directory in it");
        }
        Self {
            dir,
            clock: SystemClock::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mount(&self, cache: &str, more: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.arg("mount");
        command.args([self.path("remote"), self.path("mnt")]);
        command.arg("--cache-dir").arg(self.path(cache)).args(more);
        let output = command.output().expect("the program was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
    }

    fn umount(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        let output = command.arg("umount").arg(self.path("mnt")).output();
        let output = output.expect("the program was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    fn stats(&self) -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["stats", "--json"]).arg(self.path("mnt"));
        let output = command.output().expect("the program was built");
        serde_json::from_slice(&output.stdout).expect("an object")
    }

    fn daemon(&self) -> Pid {
        let pid = self.stats()["pid"].as_i64().expect("a process");
        let pid = i32::try_from(pid).expect("a process");
        Pid::from_raw(pid).expect("a process")
    }

    fn kill(&self) {
        kill_process(self.daemon(), Signal::KILL).expect("a daemon of our own");
        while fs::read_dir(self.path("mnt")).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn time(&self, work: impl FnOnce()) -> Duration {
        let began = self.clock.monotonic();
        work();
        self.clock.monotonic() - began
    }

    /// Takes a file out of the kernel's memory, as far as the kernel agrees.
    fn evict(&self, path: &str) {
        let file = File::open(self.path(path)).expect("it was made");
        file.sync_all().expect("the disk works");
        let all = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        all.expect("an ordinary file");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        // Mostly it is unmounted by now, and this is refused.
        let _ = command
            .args(["umount", "-l"])
            .arg(self.path("mnt"))
            .output();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, value: impl std::fmt::Display) {
    println!("{what:<62} {value}");
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn speed(bytes: u64, time: Duration) -> String {
    let rate = bytes as f64 / time.as_secs_f64() / f64::from(1 << 20);
    format!("{rate:.0} MiB/s ({:.2} s)", time.as_secs_f64())
}

fn read_through(path: &Path) {
    let mut file = File::open(path).expect("it is there");
    let mut buf = vec![0; 1 << 20];
    while file.read(&mut buf).expect("it can be read") > 0 {}
}

fn make_tree(stage: &Stage) {
    let small = stage.path("remote/small");
    fs::create_dir(&small).expect("a new directory");
    let mut rng = Rng::new(1);
    let mut bytes = vec![0; 4 << 20];
    for n in 0..SMALL {
        rng.fill(&mut bytes[..SMALL_LEN]);
        fs::write(small.join(n.to_string()), &bytes[..SMALL_LEN]).expect("room for it");
    }
    let mut large = File::create(stage.path("remote/large")).expect("a new file");
    for _ in 0..LARGE_LEN / bytes.len() as u64 {
        rng.fill(&mut bytes);
        large.write_all(&bytes).expect("room for it");
    }
    fs::write(stage.path("remote/one"), "one").expect("room for it");
    // Younger files are not kept, and what the disk still writes would be measured, too.
    large.sync_all().expect("the disk works");
    rustix::fs::sync();
    std::thread::sleep(Duration::from_millis(2500));
}

fn opening(stage: &Stage) {
    let size = ["--cache-size", "1T"];
    let made = stage.time(|| stage.mount("cache-1T", &size));
    row("a new cache of 1 TiB: mounted within", ms(made));
    read_through(&stage.path("mnt/one"));
    std::thread::sleep(Duration::from_millis(300));
    let index = stage.path("cache-1T/index.larder");
    let len = fs::metadata(index).expect("it was made").len();
    row("its index", format!("{} MiB", len >> 20));
    for (how, killed, evicted) in [
        ("after a clean stop", false, false),
        ("after kill -9", true, false),
        ("after a clean stop, index not in memory", false, true),
        ("after kill -9, index not in memory", true, true),
    ] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            if killed {
                stage.kill()
            } else {
                stage.umount()
            }
            if evicted {
                stage.evict("cache-1T/index.larder");
            }
            times.push(stage.time(|| {
                stage.mount("cache-1T", &[]);
                read_through(&stage.path("mnt/one"));
            }));
            assert_eq!(stage.stats()["remote_bytes"], 0, "it is cached");
        }
        row(
            &format!("1 TiB: mount to first cached byte {how}"),
            ms(median(times)),
        );
    }
    stage.umount();
    fs::remove_dir_all(stage.path("cache-1T")).expect("it is not in use");
}

fn small_files(stage: &Stage) {
    let read = |root: &str| {
        stage.time(|| (0..SMALL).for_each(|n| read_through(&stage.path(root).join(n.to_string()))))
    };
    let each = |time: Duration| {
        let micros = time.as_secs_f64() * 1e6 / SMALL as f64;
        format!("{} ({micros:.0} us a file)", ms(time))
    };
    let again = |root: &str| median((0..ROUNDS).map(|_| read(root)).collect());
    read("remote/small");
    let native = again("remote/small");
    row("5,000 files of 16 KiB: native, in memory", each(native));
    stage.mount("cache", &["--cache-size", "3G"]);
    row("5,000 files of 16 KiB: cold", each(read("mnt/small")));
    let warm = again("mnt/small");
    let factor = |time: Duration| time.as_secs_f64() / native.as_secs_f64();
    row(
        "5,000 files of 16 KiB: warm, again",
        format!("{}, {:.1} times native", each(warm), factor(warm)),
    );
    stage.umount();
    stage.mount("cache", &[]);
    let remounted = read("mnt/small");
    row(
        "5,000 files of 16 KiB: warm, first time after a remount",
        format!("{}, {:.1} times native", each(remounted), factor(remounted)),
    );
    stage.umount();
}

fn sequential(stage: &Stage) {
    let read = |path: &str| speed(LARGE_LEN, stage.time(|| read_through(&stage.path(path))));
    read("remote/large");
    row("1 GiB: native, in memory", read("remote/large"));
    for trip in ["0ms", "20ms"] {
        let cache = format!("cache-{trip}");
        let size = ["--cache-size", "2G", "--slow-round-trip", trip];
        stage.mount(&cache, &size);
        let cold = read("mnt/large");
        let requests = stage.stats()["remote_requests"].to_string();
        row(
            &format!("1 GiB: cold, round trip {trip}"),
            format!("{cold}, {requests} requests"),
        );
        row(
            "1 GiB: backhot (again, from the kernel's memory)",
            read("mnt/large"),
        );
        stage.umount();
        stage.mount(&cache, &[]);
        row("1 GiB: warm (remounted, from the cache)", read("mnt/large"));
        assert_eq!(stage.stats()["remote_bytes"], 0, "it is cached");
        if trip == "20ms" {
            row("the daemon's memory after that", memory(stage.daemon()));
        }
        stage.umount();
        fs::remove_dir_all(stage.path(&cache)).expect("it is not in use");
    }
}

/// The present and the largest resident size.
fn memory(pid: Pid) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let status = status.expect("the daemon lives");
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
    };
    let mib = |name: &str| kib(name).unwrap_or_default() >> 10;
    format!("{} MiB, at most {} MiB", mib("VmRSS:"), mib("VmHWM:"))
}

fn main() {
    if !Path::new("/dev/fuse").exists() {
        println!("there is no /dev/fuse, so there is nothing to measure: `modprobe fuse`");
        std::process::exit(1);
    }
    let stage = Stage::new();
    let disk = rustix::fs::statvfs(stage.dir.path()).expect("it was just made");
    let free = disk.f_bavail * disk.f_frsize;
    if free < NEEDED {
        println!(
            "{} has {} MiB free and this needs {}: set TMPDIR to a place with more",
            stage.dir.path().display(),
            free >> 20,
            NEEDED >> 20
        );
        std::process::exit(1);
    }
    make_tree(&stage);
    opening(&stage);
    small_files(&stage);
    sequential(&stage);
}
