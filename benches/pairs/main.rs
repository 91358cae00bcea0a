//! Two builds of larder, measured in turns: `cargo bench --bench pairs -- BEFORE AFTER`. It needs nginx, /dev/fuse and
//! about 9 GiB in the temporary directory, prints a table, and removes what it created.
//!
//! A pair is one measurement of each build, taken right after each other. The speed of a shared machine changes from
//! minute to minute, but it is nearly the same for both halves of a pair. So the ratio within a pair can be trusted where
//! two single figures cannot. The build that goes first changes from pair to pair and from turn to turn.
//!
//! Both builds are ordinary programs, and only their public command line is used. `cargo bench` builds larder with the
//! feature `testing`, which costs time at every lock, and puts it into `target/release`. So it refuses that binary.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod given;
mod measures;
#[path = "../web/origin.rs"]
mod origin;
mod side;
mod stage;

use std::process::ExitCode;

use self::given::Given;
use self::measures::Measure;
use self::stage::Stage;

/// The least median of the ratios that is no loss.
const LEAST_MEDIAN: f64 = 0.97;

fn main() -> ExitCode {
    let given = match Given::from_args() {
        Ok(Some(given)) => given,
        Ok(None) => {
            println!("nothing to compare. {}", given::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(fault) => {
            eprintln!("{fault}\n{}", given::USAGE);
            return ExitCode::from(2);
        }
    };
    println!("before: {}", given.binaries[0].display());
    println!("after:  {}", given.binaries[1].display());
    println!("load of the machine at the start: {}", load());
    let stage = Stage::new(&given);
    let mut measures = measures::all(&given.scale);
    for round in 0..given.pairs {
        eprintln!("pair {} of {}", round + 1, given.pairs);
        measures::take(&stage, round, &mut measures);
    }
    drop(stage);
    println!("load of the machine at the end: {}", load());
    if report(&measures) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints the table, and says whether no measure lost.
fn report(measures: &[Measure]) -> bool {
    println!(
        "\n{:<44} {:>11} {:>11} {:>7} {:>7} {:>8}",
        "medians; ratios are speed after / before", "before", "after", "ratio", "least", "greatest"
    );
    let mut held = true;
    for measure in measures {
        let ratios: Vec<f64> = measure.pairs.iter().map(|pair| pair[0] / pair[1]).collect();
        let ratio = median(&ratios);
        let side = |n: usize| {
            let times: Vec<f64> = measure.pairs.iter().map(|pair| pair[n]).collect();
            shown(median(&times))
        };
        let lost = ratio < LEAST_MEDIAN;
        held &= !lost;
        println!(
            "{:<44} {:>11} {:>11} {ratio:>7.3} {:>7.3} {:>8.3}{}",
            measure.what,
            side(0),
            side(1),
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
            if lost { "  slower" } else { "" }
        );
    }
    let verdict = if held {
        "no median is below"
    } else {
        "a median is below"
    };
    println!("{verdict} {LEAST_MEDIAN}");
    held
}

/// The one in the middle, or the mean of the two in the middle.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// A time in seconds, in the unit that suits it.
fn shown(seconds: f64) -> String {
    if seconds < 1e-3 {
        format!("{:.2} us", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{seconds:.3} s")
    }
}

/// The load averages of 1, 5 and 15 minutes. A load before the start is work that is not the bench's.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
