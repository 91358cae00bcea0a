//! Cold reads from a web server, beside rclone: `cargo bench --bench web`. It needs nginx, rclone, /dev/fuse and about
//! 4 GiB in the temporary directory (TMPDIR says which), and prints a table. Arguments are ignored.
//!
//! One origin serves both: nginx, and for the distant case a pipe before it that holds every byte back for half a round
//! trip in each direction. larder and rclone take turns, each time with a new cache.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod origin;
mod pipe;
mod rival;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use larder::engine::{Clock, SystemClock};

use self::origin::Nginx;
use self::pipe::Pipe;
use self::rival::{Larder, Rclone, Rival};

const LEN: u64 = 1 << 30;
const ROUNDS: usize = 3;

/// What one cold read took.
#[derive(Clone, Copy)]
struct Run {
    time: Duration,
    /// Processor time of the daemon, user and system.
    processor: Duration,
    /// Bytes of bodies that the origin sent, by its own log.
    sent: u64,
}

fn main() {
    let dir = tempfile::Builder::new().prefix("larder-bench-").tempdir();
    let dir = dir.expect("a temporary directory");
    let nginx = Nginx::start(dir.path());
    nginx.make("large.bin", LEN);
    println!("cold sequential read of 1 GiB, medians of {ROUNDS} rounds taken in turns");
    println!(
        "{:<34} {:>10} {:>10} {:>10} {:>14} {:>12}",
        "", "MiB/s", "seconds", "bytes", "processor", "ratio"
    );
    for round_trip in [0, 20] {
        let pipe =
            (round_trip > 0).then(|| Pipe::start(nginx.port(), Duration::from_millis(round_trip)));
        let url = format!(
            "http://127.0.0.1:{}/",
            pipe.as_ref().map_or(nginx.port(), Pipe::port)
        );
        let mut runs = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            runs.0
                .push(read_cold(&nginx, &Larder::new(dir.path()), &url));
            runs.1
                .push(read_cold(&nginx, &Rclone::new(dir.path()), &url));
        }
        let (ours, theirs) = (median(runs.0), median(runs.1));
        let ratio = theirs.time.as_secs_f64() / ours.time.as_secs_f64();
        show(
            &format!("larder, round trip {round_trip} ms"),
            ours,
            Some(ratio),
        );
        show(
            &format!("rclone mount, round trip {round_trip} ms"),
            theirs,
            None,
        );
    }
}

/// Mounts with an empty cache, reads the file once from end to end, and unmounts.
fn read_cold(nginx: &Nginx, rival: &dyn Rival, url: &str) -> Run {
    let mount = rival.mount(url);
    let before = (nginx.sent(), mount.processor());
    let clock = SystemClock::default();
    let began = clock.monotonic();
    read(&mount.path().join("large.bin"));
    let time = clock.monotonic() - began;
    let processor = mount.processor() - before.1;
    drop(mount);
    Run {
        time,
        processor,
        sent: nginx.sent() - before.0,
    }
}

fn read(path: &Path) {
    let mut file = File::open(path).expect("the mount shows the file");
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        match file.read(&mut buffer).expect("the origin answers") {
            0 => break,
            n => total += n as u64,
        }
    }
    assert_eq!(total, LEN, "all of the file was read");
}

fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by_key(|run| run.time);
    runs[runs.len() / 2]
}

fn show(who: &str, run: Run, ratio: Option<f64>) {
    let seconds = run.time.as_secs_f64();
    let gib = LEN as f64 / f64::from(1 << 30);
    let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    println!(
        "{who:<34} {:>10.0} {seconds:>10.2} {:>10.3} {:>10.2} s/GiB {ratio:>9}",
        gib * 1024.0 / seconds,
        run.sent as f64 / LEN as f64,
        run.processor.as_secs_f64() / gib,
    );
}
