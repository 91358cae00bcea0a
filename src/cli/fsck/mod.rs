//! The command `cachefsck`: it opens, checks, asks, repairs and tells.
//!
//! Exit codes and options are those of fsck(8). Nothing is written before the check is over; with `--salvage`, not before
//! everything that will be changed was copied.

mod ask;
mod open;
mod options;
mod progress;
mod tell;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use signal_hook::flag;

use self::open::Opened;
use self::options::{Mode, Options};
use self::progress::Progress;
use self::tell::{Outcome, complain, failure, tell};
use crate::check::{self, Clause, Disk, Plan, Report, exit};

/// The user, as far as the program talks to one.
struct Talk<'a> {
    out: &'a mut dyn Write,
    input: &'a mut dyn BufRead,
    terminal: bool,
    /// Set by a signal: the check ends at its next step, a repair after the finding that it is at.
    cancelled: Arc<AtomicBool>,
    /// While this is set a signal ends the program at once, since nothing has been changed yet.
    asking: Arc<AtomicBool>,
}

/// Why there is no result: the exit code, and a sentence.
#[derive(Debug)]
struct Failure(u8, String);

/// Runs `cachefsck` with the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    let [cancelled, asking] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let code = i32::from(exit::CANCELLED);
        // The second one ends it at once as well: a disk may hang, and each repair is a single write.
        let registered = flag::register_conditional_shutdown(signal, code, Arc::clone(&asking))
            .and_then(|_| flag::register_conditional_shutdown(signal, code, Arc::clone(&cancelled)))
            .and_then(|_| flag::register(signal, Arc::clone(&cancelled)));
        if let Err(error) = registered {
            let why = format!("signal {signal} will end it the hard way: {error}");
            complain(None, &Failure(exit::OPERATIONAL, why), &mut io::sink());
        }
    }
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let (out, input) = (&mut io::stdout().lock(), &mut io::stdin().lock());
    let code = run(
        std::env::args_os().collect(),
        Talk {
            out,
            input,
            terminal,
            cancelled,
            asking,
        },
    );
    ExitCode::from(code)
}

/// The whole program.
fn run(args: Vec<OsString>, mut talk: Talk<'_>) -> u8 {
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = error.print();
            return match error.use_stderr() {
                true => exit::USAGE,
                false => exit::CLEAN,
            };
        }
    };
    match examine(&options, &mut talk) {
        Ok(code) => code,
        Err(failure) => {
            complain(options.json.then_some(&options), &failure, talk.out);
            failure.0
        }
    }
}

fn examine(options: &Options, talk: &mut Talk<'_>) -> Result<u8, Failure> {
    let mode = options.mode(talk.terminal)?;
    let Opened { cache, frozen, .. } = &open::open(&options.cache, mode)?;
    if mode == Mode::Look
        && let Some(holder) = open::holder(&options.cache)
    {
        let path = options.cache.display();
        note(&format!("{path} is in use by {holder}; only looking"));
    }
    let disk = Disk::of(cache).on(cache.host());
    let (mut report, phases) = look(disk, options, &talk.cancelled)?;
    let wanted = match mode {
        _ if report.is_clean() || frozen.is_some() => Vec::new(),
        Mode::Look => Vec::new(),
        Mode::Repair => Clause::ALL.to_vec(),
        Mode::Ask => {
            talk.asking.store(true, Ordering::Relaxed);
            let wanted = ask::ask(&report, talk)?;
            talk.asking.store(false, Ordering::Relaxed);
            wanted
        }
    };
    if !wanted.is_empty() {
        mend(disk, &mut report, &wanted, &talk.cancelled)?;
    }
    let mut code = report.exit_code();
    if talk.cancelled.load(Ordering::Relaxed) && report.open() > 0 {
        note("cancelled: what is not put right is left as it was");
        code |= exit::CANCELLED;
    }
    let outcome = Outcome {
        mode,
        code,
        phases,
        salvaged: None,
        frozen: frozen.clone(),
    };
    match tell(options, &report, &outcome, talk.out) {
        Ok(()) => Ok(code),
        // What was done was done.
        Err(Failure(lost, why)) => Err(Failure(code | lost, why)),
    }
}

/// The check, with its progress.
fn look(
    disk: Disk<'_>,
    options: &Options,
    cancelled: &AtomicBool,
) -> Result<(Report, Vec<progress::Told>), Failure> {
    let plan = Plan {
        deep: options.deep,
        jobs: options.jobs(),
    };
    let mut progress = Progress::new(options.json, options.verbose);
    let result = check::check(disk, plan, &mut |step| {
        progress.step(step);
        match cancelled.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    let phases = progress.finish();
    Ok((result.map_err(failure)?, phases))
}

/// The repair of the clauses that are wanted; a signal ends it between two findings.
fn mend(
    disk: Disk<'_>,
    report: &mut Report,
    wanted: &[Clause],
    cancelled: &AtomicBool,
) -> Result<(), Failure> {
    check::repair(disk, report, |finding| {
        wanted.contains(&finding.clause) && !cancelled.load(Ordering::Relaxed)
    })
    .map_err(failure)
}

/// A remark, on standard error.
fn note(what: &str) {
    // Nobody reads it where it cannot be written.
    let _ = writeln!(io::stderr(), "cachefsck: {what}");
}
