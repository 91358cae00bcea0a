//! What a check costs, beside `cat` of the same files: `cargo bench --bench fsck`. It makes a cache of 1 TiB geometry
//! with 100,000 slots in use, about 8 GB, in `LARDER_BENCH_DIR`, `TMPDIR` or /var/tmp, checks it with the real program,
//! prints a table and removes everything. `-- --quick` does the same with a small one. Where it may not drop the
//! kernel's caches (only root may) it says so and measures warm alone.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod filled;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use larder::engine::{Clock, SystemClock};
use serde_json::Value;

use self::filled::Shape;

const ROUNDS: usize = 3;
/// The threads of the deep check.
const JOBS: &str = "-j2";

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let shape = match quick {
        true => Shape::QUICK,
        false => Shape::FULL,
    };
    let dir = tempfile::Builder::new()
        .prefix("larder-bench-")
        .tempdir_in(place(&shape))
        .expect("a temporary directory");
    let cache = dir.path().join("cache");
    let bytes = filled::fill(&cache, &shape);
    let cold = drop_caches();
    if !cold {
        println!("(the kernel's caches cannot be dropped: warm alone)");
    }
    plain(&cache, cold);
    println!(
        "{:<46} {:>9} {:>9} {:>9} {:>9}",
        "medians of 3, taken in turns", "deep MB/s", "cat MB/s", "ratio", "blocks"
    );
    for cold in [true, false].into_iter().filter(|wanted| cold || !wanted) {
        deep(&cache, bytes, cold);
    }
}

/// Where the cache is made: with room for it.
fn place(shape: &Shape) -> PathBuf {
    let given = ["LARDER_BENCH_DIR", "TMPDIR"]
        .into_iter()
        .find_map(std::env::var_os);
    let place = given.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let disk = rustix::fs::statvfs(&place).expect("a directory");
    let free = disk.f_bavail * disk.f_frsize;
    let needed = shape.needed();
    assert!(
        free > needed,
        "{} has {free} bytes free, {needed} are needed: name another place in LARDER_BENCH_DIR",
        place.display()
    );
    place
}

/// Takes everything clean out of the kernel's memory; whether it may.
fn drop_caches() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// `cachefsck -n`, cold and warm.
fn plain(cache: &Path, cold: bool) {
    for cold in [true, false].into_iter().filter(|wanted| cold || !wanted) {
        let times = (0..ROUNDS).map(|_| {
            if cold {
                drop_caches();
            }
            check(cache, &["-n"]).0
        });
        let time = median(times.collect());
        let what = format!("cachefsck -n, {}", temperature(cold));
        println!("{what:<46} {:>9.2} s", time.as_secs_f64());
    }
}

/// `cachefsck -p --deep` and `cat` in turns. With the lock it reads through the page cache as `cat` does; with `-n`,
/// which may run beside a daemon, past it.
fn deep(cache: &Path, bytes: u64, cold: bool) {
    let (mut ours, mut blocks, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        if cold {
            drop_caches();
        }
        let (time, told) = check(cache, &["-p", "--deep", JOBS]);
        assert_eq!(told["counts"]["checked_bytes"], bytes, "all of it is read");
        ours.push(time);
        blocks.push(seconds_of(&told, "blocks"));
        if cold {
            drop_caches();
        }
        theirs.push(cat(&cache.join("chunks")));
    }
    let rate = |time: Duration| bytes as f64 / 1e6 / time.as_secs_f64();
    let (ours, blocks, theirs) = (median(ours), median(blocks), median(theirs));
    let what = format!(
        "cachefsck -p --deep {JOBS} beside cat, {}",
        temperature(cold)
    );
    println!(
        "{what:<46} {:>9.0} {:>9.0} {:>9.2} {:>9.2}",
        rate(ours),
        rate(theirs),
        rate(ours) / rate(theirs),
        rate(blocks) / rate(theirs),
    );
}

/// Runs the real program, which is to find nothing; how long it took and what it told.
fn check(cache: &Path, args: &[&str]) -> (Duration, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachefsck"));
    command.args(args).arg("--json").arg(cache);
    let clock = SystemClock::default();
    let began = clock.monotonic();
    let output = command.output().expect("the program was built");
    let time = clock.monotonic() - began;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    let told = serde_json::from_slice(&output.stdout).expect("an object");
    (time, told)
}

/// What one phase took.
fn seconds_of(told: &Value, phase: &str) -> Duration {
    let phases = told["phases"].as_array().expect("a list of phases");
    let found = phases.iter().find(|told| told["phase"] == phase);
    let seconds = found.and_then(|told| told["seconds"].as_f64());
    Duration::from_secs_f64(seconds.expect("a time"))
}

/// Reads all files below a directory with `cat`.
fn cat(dir: &Path) -> Duration {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "find \"$1\" -type f -print0 | xargs -0 cat >/dev/null",
            "sh",
        ])
        .arg(dir);
    let clock = SystemClock::default();
    let began = clock.monotonic();
    let status = command.status().expect("a shell");
    let time = clock.monotonic() - began;
    assert!(status.success(), "{command:?}");
    time
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn temperature(cold: bool) -> &'static str {
    match cold {
        true => "cold",
        false => "warm",
    }
}
