//! The command `cachefsck`: checks a cache directory and puts right what it can.
//!
//! Exit codes as fsck(8): 0 clean, 1 corrected, 4 left uncorrected, 8 could not be done, 16 usage, 32 cancelled.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::check::{self, CheckError, Clause, Disk, Means, Plan, Report, Step, exit};
use crate::storage::{CacheDir, CacheDirError, read_holder};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::flag;

/// Checks a larder cache directory and puts right what it can.
///
/// Only clean copies of remote data are in a cache: whatever is dropped here is fetched again when it is asked for.
#[derive(Parser, Debug)]
#[command(
    name = "cachefsck",
    version,
    after_help = "Exit codes: 0 clean, 1 corrected, 4 left uncorrected, 8 could not be done (in use, no cache), 16 usage, 32 cancelled.\nWithout -n, -p or -y it asks on a terminal, and only looks elsewhere."
)]
struct Options {
    /// Only look; works beside a daemon that uses the cache.
    #[arg(short = 'n', conflicts_with_all = ["preen", "yes"])]
    look: bool,
    /// Put right, without asking, what can be put right safely: in a cache of clean data everything.
    #[arg(short = 'p', conflicts_with = "yes")]
    preen: bool,
    /// Answer yes to every question.
    #[arg(short = 'y')]
    yes: bool,
    /// Check even a cache that was closed cleanly; cachefsck always does, and takes the option for fsck's sake.
    #[arg(short = 'f')]
    force: bool,
    /// Read every block that is present and check its bytes.
    #[arg(long)]
    deep: bool,
    /// Tell the result as JSON.
    #[arg(long)]
    json: bool,
    /// List each finding, not only how many there are.
    #[arg(short, long)]
    verbose: bool,
    /// The cache directory.
    #[arg(value_name = "CACHEDIR")]
    cache: PathBuf,
}

/// What becomes of findings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Look,
    Repair,
    Ask,
}

/// The user, as far as the program talks to one.
struct Talk<'a> {
    out: &'a mut dyn Write,
    input: &'a mut dyn BufRead,
    terminal: bool,
    /// Set by a signal: the scan ends at its next step.
    cancelled: Arc<AtomicBool>,
    /// While this is set a signal ends the program at once, since nothing has been changed yet.
    asking: Arc<AtomicBool>,
}

/// Why there is no result, and the exit code.
struct Failure(u8, String);

/// Runs `cachefsck` with the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    let [cancelled, asking] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let code = i32::from(exit::CANCELLED);
        let registered = flag::register_conditional_shutdown(signal, code, Arc::clone(&asking))
            .and_then(|_| flag::register(signal, Arc::clone(&cancelled)));
        if let Err(error) = registered {
            eprintln!("cachefsck: signal {signal} will end it the hard way: {error}");
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
            return if error.use_stderr() {
                exit::USAGE
            } else {
                exit::CLEAN
            };
        }
    };
    match examine(&options, &mut talk) {
        Ok(code) => code,
        Err(Failure(code, why)) => {
            eprintln!("cachefsck: {why}");
            code
        }
    }
}

fn examine(options: &Options, talk: &mut Talk<'_>) -> Result<u8, Failure> {
    let mode = match options {
        Options { look: true, .. } => Mode::Look,
        Options { preen: true, .. } | Options { yes: true, .. } => Mode::Repair,
        // Questions and JSON do not go together.
        _ if talk.terminal && !options.json => Mode::Ask,
        _ => Mode::Look,
    };
    let cache = open(&options.cache, mode)?;
    let disk = Disk::of(&cache).on(cache.host());
    let plan = Plan {
        deep: options.deep,
        jobs: 1,
    };
    let mut report = scan(disk, plan, &talk.cancelled)?;
    let wanted = match mode {
        Mode::Look => Vec::new(),
        Mode::Repair => Clause::ALL.to_vec(),
        Mode::Ask => {
            talk.asking.store(true, Ordering::Relaxed);
            let wanted = ask(&report, talk)?;
            talk.asking.store(false, Ordering::Relaxed);
            wanted
        }
    };
    if !wanted.is_empty() && !report.is_clean() {
        check::repair(disk, &mut report, &mut Means::default(), |finding| {
            wanted.contains(&finding.clause)
        })
        .map_err(failure)?;
    }
    let code = report.exit_code();
    tell(options, mode, &report, talk.out).map_err(|error| {
        Failure(
            exit::OPERATIONAL,
            format!("cannot write the result: {error}"),
        )
    })?;
    Ok(code)
}

fn open(path: &Path, mode: Mode) -> Result<CacheDir, Failure> {
    let opened = match mode {
        Mode::Look => CacheDir::open_for_check(path),
        Mode::Repair | Mode::Ask => CacheDir::open_for_repair(path),
    };
    if mode == Mode::Look
        && let Ok(Some(holder)) = read_holder(path)
    {
        eprintln!(
            "cachefsck: {} is in use by {holder}; only looking",
            path.display()
        );
    }
    opened.map_err(|error| match error {
        CacheDirError::Locked { .. } => Failure(
            exit::OPERATIONAL,
            format!("{error}: unmount it first, or only look with -n"),
        ),
        damage if damage.is_damage() => Failure(exit::UNCORRECTED, damage.to_string()),
        other => Failure(exit::OPERATIONAL, other.to_string()),
    })
}

fn scan(disk: Disk<'_>, plan: Plan, cancelled: &AtomicBool) -> Result<Report, Failure> {
    let style = ProgressStyle::with_template("{msg} [{wide_bar}] {percent}% {eta}");
    let bar =
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let result = check::check(disk, plan, &mut |Step { phase, done, total }| {
        bar.set_message(phase.name());
        bar.set_length(total.max(done));
        bar.set_position(done);
        match cancelled.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    bar.finish_and_clear();
    result.map_err(failure)
}

fn failure(error: CheckError) -> Failure {
    let code = match error {
        CheckError::Io(_) => exit::OPERATIONAL,
        CheckError::Superblock(_) => exit::UNCORRECTED,
        CheckError::Cancelled => exit::CANCELLED,
    };
    Failure(code, error.to_string())
}

/// Asks for each kind of damage whether it shall be put right.
fn ask(report: &Report, talk: &mut Talk<'_>) -> Result<Vec<Clause>, Failure> {
    let lost = |error: io::Error| Failure(exit::OPERATIONAL, format!("cannot ask: {error}"));
    let mut wanted = Vec::new();
    for (clause, count, _) in report.by_clause() {
        loop {
            write!(
                talk.out,
                "{}: {} ({count} times). Put right? [y]es [n]o [a]ll [q]uit: ",
                clause.id(),
                clause.text()
            )
            .and_then(|()| talk.out.flush())
            .map_err(lost)?;
            let mut answer = String::new();
            let len = talk.input.read_line(&mut answer).map_err(lost)?;
            match answer.trim() {
                "y" | "yes" => wanted.push(clause),
                "n" | "no" => {}
                "a" | "all" => return Ok(Clause::ALL.to_vec()),
                "q" | "quit" => return Err(Failure(exit::CANCELLED, "nothing was changed".into())),
                _ if len == 0 => {
                    return Err(Failure(
                        exit::CANCELLED,
                        "no answer; nothing was changed".into(),
                    ));
                }
                _ => continue,
            }
            break;
        }
    }
    Ok(wanted)
}

/// The result as JSON: the report's fields, and what led to it.
#[derive(serde::Serialize)]
struct Told<'a> {
    cache: String,
    mode: Mode,
    exit: u8,
    #[serde(flatten)]
    report: &'a Report,
}

fn tell(options: &Options, mode: Mode, report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if options.json {
        let (cache, exit) = (
            options.cache.to_string_lossy().into_owned(),
            report.exit_code(),
        );
        serde_json::to_writer(
            &mut *out,
            &Told {
                cache,
                mode,
                exit,
                report,
            },
        )?;
        return writeln!(out);
    }
    if options.verbose {
        for finding in &report.findings {
            let state = if finding.fixed { "put right" } else { "left" };
            let (id, place, detail) = (finding.clause.id(), &finding.place, &finding.detail);
            writeln!(out, "{id} {place}: {detail} [{state}]")?;
        }
    }
    write!(out, "{}: {report}", options.cache.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Geometry;
    use crate::storage::{CreateOptions, Storage};

    struct Rig(tempfile::TempDir);

    impl Rig {
        /// A cache directory with two damaged records of different kinds.
        fn damaged() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let rig = Self(dir);
            let options = CreateOptions {
                capacity: 16 << 20,
                slots: None,
                files: None,
            };
            let cache = CacheDir::open_or_create(rig.0.path(), &options, &mut |_| {}).unwrap();
            let geometry: Geometry = cache.superblock().geometry;
            cache
                .write_index(geometry.blob_offset(3), &[7; 512])
                .unwrap();
            cache
                .write_index(Geometry::session_offset(1), &[7; 512])
                .unwrap();
            rig
        }

        fn run(&self, flags: &[&str]) -> (u8, String) {
            self.talk(flags, "", false)
        }

        fn talk(&self, flags: &[&str], answers: &str, terminal: bool) -> (u8, String) {
            let mut args: Vec<OsString> = vec!["cachefsck".into()];
            args.extend(flags.iter().map(OsString::from));
            args.push(self.0.path().into());
            let (mut out, cancelled) = (Vec::new(), Arc::new(AtomicBool::new(false)));
            let talk = Talk {
                out: &mut out,
                input: &mut answers.as_bytes(),
                terminal,
                cancelled,
                asking: Arc::default(),
            };
            let code = run(args, talk);
            (code, String::from_utf8(out).unwrap())
        }
    }

    #[test]
    fn a_repair_exits_1_and_then_0() {
        for flag in ["-p", "-y"] {
            let rig = Rig::damaged();
            for looking in [&["-n"][..], &[], &["-n", "-f", "-v", "--deep"]] {
                let (code, text) = rig.run(looking);
                assert_eq!(code, exit::UNCORRECTED, "{text}");
                assert!(
                    text.contains("F-BLOB-SECTOR") && text.contains("F-SESSION"),
                    "{text}"
                );
            }
            let (code, text) = rig.run(&[flag, "-v"]);
            assert_eq!(code, exit::CORRECTED, "{text}");
            assert!(
                text.contains("F-BLOB-SECTOR blob record 3: ") && text.contains("[put right]"),
                "{text}"
            );
            let (code, text) = rig.run(&[flag, "--deep"]);
            assert_eq!(code, exit::CLEAN, "{text}");
        }
    }

    #[test]
    fn answers_are_heeded() {
        let rig = Rig::damaged();
        assert_eq!(rig.talk(&[], "q\n", true).0, exit::CANCELLED);
        assert_eq!(rig.talk(&[], "", true).0, exit::CANCELLED);
        let (code, text) = rig.talk(&[], "what?\nn\ny\n", true);
        assert_eq!(code, exit::UNCORRECTED, "{text}");
        let (code, text) = rig.run(&["-n"]);
        assert!(
            code == exit::UNCORRECTED && text.contains("F-SESSION"),
            "{text}"
        );
        assert!(!text.contains("F-BLOB-SECTOR"), "{text}");
        assert_eq!(rig.talk(&[], "a\n", true).0, exit::CORRECTED);
        assert_eq!(
            rig.talk(&[], "", true).0,
            exit::CLEAN,
            "nothing is asked of a clean cache"
        );
    }

    #[test]
    fn json_carries_findings_and_exit_code() {
        let rig = Rig::damaged();
        let (code, text) = rig.talk(&["--json"], "", true);
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((code, &told["exit"]), (4, &4.into()));
        assert_eq!(
            (&told["mode"], &told["deep"]),
            (&"look".into(), &false.into())
        );
        let clauses: Vec<_> = told["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| &f["clause"])
            .collect();
        assert_eq!(clauses, ["F-SESSION", "F-BLOB-SECTOR"]);
        assert_eq!(told["findings"][1]["place"], "blob record 3");
    }

    #[test]
    fn what_cannot_be_checked_has_its_code() {
        let rig = Rig::damaged();
        assert_eq!(rig.run(&["-n", "-p"]).0, exit::USAGE);
        assert_eq!(rig.run(&["--nonsense"]).0, exit::USAGE);
        let cache = CacheDir::open(rig.0.path()).unwrap();
        assert_eq!(rig.run(&["-p"]).0, exit::OPERATIONAL, "it is in use");
        assert_eq!(
            rig.run(&["-n"]).0,
            exit::UNCORRECTED,
            "looking works beside a daemon"
        );
        for copy in 0..2 {
            cache
                .write_index(Geometry::superblock_offset(copy), &[0; 512])
                .unwrap();
        }
        drop(cache);
        assert_eq!(rig.run(&["-p"]).0, exit::UNCORRECTED);
        std::fs::remove_file(rig.0.path().join("index.larder")).unwrap();
        for flag in ["-n", "-p"] {
            assert_eq!(rig.run(&[flag]).0, exit::OPERATIONAL, "no cache");
        }
        let rig = Rig::damaged();
        let (mut out, cancelled) = (Vec::new(), Arc::new(AtomicBool::new(true)));
        let talk = Talk {
            out: &mut out,
            input: &mut io::empty(),
            terminal: false,
            cancelled,
            asking: Arc::default(),
        };
        let args = vec!["cachefsck".into(), "-p".into(), rig.0.path().into()];
        assert_eq!(run(args, talk), exit::CANCELLED);
    }
}
