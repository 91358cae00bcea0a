//! The command `cachefsck`: it opens, checks, asks, repairs and tells.
//!
//! Exit codes and options are those of fsck(8). Nothing is written before the check is over; with `--salvage`, not before
//! everything that will be changed was copied.

mod ask;
mod open;
mod options;
mod progress;
mod salvage;
mod talk;
mod tell;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use signal_hook::flag;

use self::open::Opened;
use self::options::{Mode, Options};
use self::progress::Progress;
use self::salvage::Folder;
use self::talk::{Failure, Talk};
use self::tell::{Outcome, Salvaged, complain, failure, tell};
use crate::check::{
    self, CheckOptions, Clause, Disk, Finding, Means, Observer, RecreateError, Report, exit,
};

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
            let why = format!(
                "cannot handle signal {signal}, which will therefore kill cachefsck: {error}"
            );
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
            // There is no way to tell if this fails.
            let _ = error.print();
            return if error.use_stderr() {
                exit::USAGE
            } else {
                exit::CLEAN
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
    if let Some(dir) = &options.salvage {
        salvage::place(dir, &options.cache)?;
    }
    let outcome = match open::open(&options.cache, mode)? {
        Opened::Provable { cache, frozen, .. } => {
            if cache.is_unsettled() && open::holder(&options.cache).is_none() {
                note(
                    "a resize or the making of the cache was interrupted: the next mount, or cachefsck -p, finishes it or takes it back",
                );
            }
            let disk = Disk::of(&*cache).on(cache.host());
            examine_cache(options, mode, disk, frozen, talk)?
        }
        Opened::Unprovable(why) => anew(options, mode, &why, talk)?,
    };
    match tell(options, &outcome, talk.out) {
        Ok(()) => Ok(outcome.code),
        // What was done was done.
        Err(Failure(lost, why)) => Err(Failure(outcome.code | lost, why)),
    }
}

/// The command line, for completions.
pub(super) fn command() -> clap::Command {
    <Options as clap::CommandFactory>::command()
}

/// Checks a cache that can be read, and mends what is wanted. `frozen` says why nothing can be written, if so.
fn examine_cache(
    options: &Options,
    mode: Mode,
    disk: Disk<'_>,
    frozen: Option<String>,
    talk: &mut Talk<'_>,
) -> Result<Outcome, Failure> {
    if mode == Mode::Look
        && let Some(holder) = open::holder(&options.cache)
    {
        let path = options.cache.display();
        note(&format!(
            "{path} is in use by {holder}; checking without repairs"
        ));
    }
    let plan = CheckOptions {
        deep: options.deep,
        jobs: options.jobs(),
    };
    let (checked, phases) = watched(options, &talk.cancelled, |observe| {
        check::check(disk, plan, observe)
    });
    let mut report = checked.map_err(failure)?;
    let wanted = match mode {
        _ if report.is_clean() || frozen.is_some() => Vec::new(),
        Mode::Look => Vec::new(),
        Mode::Repair => Clause::ALL.to_vec(),
        Mode::Ask => {
            talk.asking.store(true, Ordering::Relaxed);
            let wanted = ask::ask(&report, options.discard_dirty, talk)?;
            talk.asking.store(false, Ordering::Relaxed);
            wanted
        }
    };
    let salvaged = if wanted.is_empty() {
        None
    } else {
        mend(disk, options, &mut report, &wanted, &talk.cancelled)?
    };
    let mut code = report.exit_code();
    if talk.cancelled.load(Ordering::Relaxed) && report.open() > 0 {
        note("cancelled: findings that are not repaired yet are left unchanged");
        code |= exit::CANCELLED;
    }
    Ok(Outcome {
        mode,
        code,
        report,
        phases,
        salvaged,
        anew: None,
        frozen,
    })
}

/// Copies away what is wanted to be, then repairs the clauses that are wanted; a signal ends that between two findings.
fn mend(
    disk: Disk<'_>,
    options: &Options,
    report: &mut Report,
    wanted: &[Clause],
    cancelled: &AtomicBool,
) -> Result<Option<Salvaged>, Failure> {
    let is_wanted = |finding: &Finding| wanted.contains(&finding.clause);
    let discard_dirty = options.discard_dirty;
    let salvaged =
        match &options.salvage {
            Some(dir) => {
                let folder = Folder::begin(dir, &options.cache)?;
                Some(folder.fill(|keeper| {
                    check::salvage(disk, report, discard_dirty, keeper, is_wanted)
                })?)
            }
            None => None,
        };
    let means = Means { discard_dirty };
    check::repair(disk, report, means, |finding| {
        is_wanted(finding) && !cancelled.load(Ordering::Relaxed)
    })
    .map_err(failure)?;
    Ok(salvaged)
}

/// Begins an empty cache where no superblock holds, if that is wanted.
fn anew(options: &Options, mode: Mode, why: &str, talk: &mut Talk<'_>) -> Result<Outcome, Failure> {
    if mode == Mode::Ask {
        talk.asking.store(true, Ordering::Relaxed);
        let yes = ask::yes(&format!("{why}. Do this now?"), talk)?;
        talk.asking.store(false, Ordering::Relaxed);
        if !yes {
            return Err(Failure(exit::UNCORRECTED, "nothing was changed".into()));
        }
    }
    let discard_dirty = options.discard_dirty;
    let salvaged = match &options.salvage {
        Some(dir) => {
            let folder = Folder::begin(dir, &options.cache)?;
            let dirty = discard_dirty.then_some("dirty");
            let dropped = ["chunks"].into_iter().chain(dirty);
            Some(folder.fill(|keeper| {
                dropped
                    .map(Path::new)
                    .try_for_each(|path| keeper.file(path))
            })?)
        }
        None => None,
    };
    let means = Means { discard_dirty };
    let (began, phases) = watched(options, &talk.cancelled, |observe| {
        check::recreate(&options.cache, means, observe)
    });
    let (cache, report) = began.map_err(|error| match error {
        RecreateError::Dir(error) => open::failure(&error, mode),
        RecreateError::Check(error) => failure(error),
    })?;
    Ok(Outcome {
        mode,
        code: report.exit_code(),
        report,
        phases,
        salvaged,
        anew: Some(cache.superblock().capacity),
        frozen: None,
    })
}

/// Does `work` with an observer that shows how far it is and hears of signals. Returns what each phase took as well.
fn watched<T>(
    options: &Options,
    cancelled: &AtomicBool,
    work: impl FnOnce(Observer<'_>) -> T,
) -> (T, Vec<progress::Told>) {
    let mut progress = Progress::new(options.json, options.verbose);
    let done = work(&mut |step| {
        progress.step(step);
        if cancelled.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    (done, progress.finish())
}

/// A remark, on standard error.
fn note(what: &str) {
    // Where it cannot be written, no user reads it.
    let _ = writeln!(io::stderr(), "cachefsck: {what}");
}
