//! What goes to the user: lines on standard output, progress on standard error.

use std::fmt::Arguments;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::error::Failure;
use super::quantity::show_size;
use crate::engine::{Clock, SystemClock};

/// Writes one line to standard output. A reader that has gone (`larder stats | head -1`) is no failure.
pub(super) fn line(text: Arguments<'_>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Writes one line to standard output, as `println!` would.
macro_rules! say {
    ($($arg:tt)*) => { $crate::cli::output::line(format_args!($($arg)*)) };
}
pub(super) use say;

/// The progress of something that may be quick: nothing is shown within the first second, then a bar on a terminal, or
/// a line a second elsewhere.
pub(super) struct Progress {
    what: &'static str,
    clock: SystemClock,
    bar: Option<ProgressBar>,
    lines: u64,
}

impl Progress {
    /// Starts now.
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            clock: SystemClock::default(),
            bar: None,
            lines: 0,
        }
    }

    /// `done` of `total` bytes are done.
    pub(super) fn update(&mut self, done: u64, total: u64) {
        let elapsed = self.clock.monotonic();
        if elapsed < Duration::from_secs(1) {
            return;
        }
        if io::stderr().is_terminal() {
            let what = self.what;
            self.bar
                .get_or_insert_with(|| bytes_bar(what, total))
                .set_position(done);
        } else if elapsed.as_secs() > self.lines {
            self.lines = elapsed.as_secs();
            eprintln!(
                "larder: {}: {} of {}",
                self.what,
                show_size(done),
                show_size(total)
            );
        }
    }

    /// Removes the bar, if one was shown.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A bar for `total` bytes, drawn only where standard error is a terminal.
pub(super) fn bytes_bar(what: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_message(what.to_owned());
    let template = "{msg:40} {wide_bar} {bytes:>11} of {total_bytes:11} {bytes_per_sec:>12}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
