//! How far a check has come: a bar for each phase on a terminal, a line for each with -v, and what each took.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Serialize, Serializer};

use crate::check::{Phase, Step};
use crate::cli::quantity::{show_rate, show_size, show_time};
use crate::engine::{Clock, SystemClock};
use crate::format::SECTOR_LEN;

/// A phase that has been.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    #[serde(rename = "phase", serialize_with = "name")]
    phase: Phase,
    /// Bytes of sectors or blocks; files or findings as such.
    done: u64,
    #[serde(rename = "seconds", serialize_with = "seconds")]
    time: Duration,
}

fn name<S: Serializer>(phase: &Phase, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(phase.name())
}

fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

/// What is shown while a check goes on.
pub(super) struct Progress {
    clock: SystemClock,
    bars: bool,
    lines: bool,
    phases: Vec<Told>,
    began: Duration,
    bar: ProgressBar,
}

impl Progress {
    /// Bars where standard error is a terminal, unless `quiet`; lines if `verbose`.
    pub(super) fn new(quiet: bool, verbose: bool) -> Self {
        Self {
            clock: SystemClock::default(),
            bars: !quiet && io::stderr().is_terminal(),
            lines: !quiet && verbose,
            phases: Vec::new(),
            began: Duration::ZERO,
            bar: ProgressBar::hidden(),
        }
    }

    /// The check has come so far.
    pub(super) fn step(&mut self, step: Step) {
        if self
            .phases
            .last()
            .is_none_or(|last| last.phase != step.phase)
        {
            self.begin(step.phase);
        }
        let unit = unit(step.phase);
        let (done, total) = (
            step.done.saturating_mul(unit),
            step.total.saturating_mul(unit),
        );
        let time = self.clock.monotonic().saturating_sub(self.began);
        if let Some(last) = self.phases.last_mut() {
            (last.done, last.time) = (done, time);
        }
        if self.bars {
            self.bar.set_length(total.max(done));
            self.bar.set_position(done);
        }
    }

    /// The last phase is over; all that have been.
    pub(super) fn finish(mut self) -> Vec<Told> {
        self.end();
        self.phases
    }

    fn begin(&mut self, phase: Phase) {
        self.end();
        self.began = self.clock.monotonic();
        self.phases.push(Told {
            phase,
            done: 0,
            time: Duration::ZERO,
        });
        if self.bars {
            let style = ProgressStyle::with_template(match is_bytes(phase) {
                true => {
                    "{msg:12} [{wide_bar}] {bytes:>11} of {total_bytes:11} {bytes_per_sec:>12} {eta:>4}"
                }
                false => "{msg:12} [{wide_bar}] {pos:>11} of {len:11} {eta:>4}",
            });
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar = ProgressBar::new(0)
                .with_style(style)
                .with_message(phase.name());
        }
    }

    fn end(&mut self) {
        std::mem::replace(&mut self.bar, ProgressBar::hidden()).finish_and_clear();
        let Some(last) = self.phases.last().filter(|_| self.lines) else {
            return;
        };
        let (name, time) = (last.phase.name(), show_time(last.time));
        let line = match is_bytes(last.phase) {
            true => {
                let rate = show_rate(last.done, last.time);
                format!("{name}: {} in {time}, {rate}", show_size(last.done))
            }
            false => format!("{name}: {} in {time}", last.done),
        };
        // Where it cannot be written, no user reads it.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

fn is_bytes(phase: Phase) -> bool {
    matches!(phase, Phase::Sectors | Phase::Blocks)
}

/// What one step of this phase stands for, in bytes where it stands for bytes.
fn unit(phase: Phase) -> u64 {
    match phase {
        Phase::Sectors => SECTOR_LEN as u64,
        _ => 1,
    }
}
