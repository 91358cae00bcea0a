//! `larder demo`: a sample tree behind a simulated slow web server, or slow disk, mounted and read in the ways that matter.
//!
//! It drives the same `larder mount` that a user runs, in a process of its own, and compares all that it reads with what
//! it wrote. Requests and bytes at the remote are what the web server counted, or the daemon, before and after.

mod answer;
mod origin;
mod read;
mod sample;
mod stage;
mod traffic;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;

use self::read::{Written, forget_pages, many, moving, whole, wrong};
use self::stage::Stage;
use self::traffic::Traffic;
use super::args::DemoArgs;
use super::error::Failure;
use super::output::{bytes_bar, say};
use super::quantity::{show_rate, show_size, show_time};
use crate::engine::{Clock, SystemClock};
use crate::units::shown;

/// How many threads read the small files.
const READERS: usize = 8;

/// Runs the demo.
pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    super::mount::need_fuse()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let stage = Stage::new(args, Arc::clone(&interrupted))?;
    if stage.big < args.size {
        let (big, wanted) = (show_size(stage.big), show_size(args.size));
        say!(
            "The disk is short of space, so the largest file has {big} instead of {wanted} (--dir names another disk)."
        )?;
    }
    let tree = make_tree(&stage)?;
    say!(
        "The simulated slow {}: {} for each request, at most {} per second.",
        if stage.is_web() { "web server" } else { "disk" },
        show_time(args.round_trip),
        show_size(args.bandwidth)
    )?;
    let show = Show {
        stage: &stage,
        clock: SystemClock::default(),
    };
    show.perform(&tree)?;
    if args.keep {
        say!(
            "\nMounted at {}. Ctrl-C unmounts and removes everything.",
            shown(&stage.mount_point())
        )?;
        while !interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    stage.strike()?;
    say!("\nUnmounted, and everything that the demo created is removed.")
}

/// The tree as it was written.
struct Tree {
    big: Written,
    small: Vec<Written>,
    entries: usize,
}

/// Writes the sample tree and waits until it is old enough to be settled.
fn make_tree(stage: &Stage) -> Result<Tree, Failure> {
    let plan = sample::plan(stage.big);
    let total = plan.iter().map(|s| s.len).sum();
    // The sparse file, and the link where there can be one.
    let entries = plan.len() + if stage.is_web() { 1 } else { 2 };
    let bar = bytes_bar("creating the sample tree", total);
    let source = stage.source();
    let (mut big, mut small) = (None, Vec::new());
    let stop = |_| std::io::Error::from(std::io::ErrorKind::Interrupted);
    for sample in plan {
        let sums = sample::write(&source, &sample, |n| {
            bar.inc(n);
            stage.go_on().map_err(stop)
        })
        .map_err(|e| {
            stage
                .go_on()
                .err()
                .unwrap_or_else(|| cannot_make(&source, &e))
        })?;
        let written = Written { sample, sums };
        if written.sample.name == sample::BIG {
            big = Some(written);
        } else if written.sample.name.starts_with(sample::SMALL_DIR) {
            small.push(written);
        }
    }
    sample::write_oddities(&source, !stage.is_web()).map_err(|e| cannot_make(&source, &e))?;
    bar.finish_and_clear();
    let amount = show_size(total);
    say!(
        "Sample tree: {entries} files from 0 bytes to {}, {amount} in total, and a sparse one of 100 GB{}.",
        show_size(stage.big),
        if stage.is_web() {
            ""
        } else {
            ", a symbolic link"
        }
    )?;
    // A file whose last change is less than two seconds old may still be in the making: larder serves it and does not
    // keep it. The demo is about what is kept.
    std::thread::sleep(Duration::from_millis(2100));
    stage.go_on()?;
    let big = big.ok_or_else(|| Failure::failed("the sample tree lacks its largest file"))?;
    Ok(Tree {
        big,
        small,
        entries,
    })
}

fn cannot_make(source: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format_args!(
        "cannot create the sample tree in {}: {error}",
        shown(source)
    ))
}

/// The performance: each act is timed, counted and shown on one line.
struct Show<'a> {
    stage: &'a Stage,
    clock: SystemClock,
}

/// What an act brought: the bytes that went to the reader, and a remark.
struct Outcome {
    bytes: u64,
    remark: String,
}

impl Outcome {
    fn checked(bytes: u64) -> Self {
        Self {
            bytes,
            remark: "content ok".into(),
        }
    }
}

impl Show<'_> {
    fn perform(&self, tree: &Tree) -> Result<(), Failure> {
        let stage = self.stage;
        let began = self.clock.monotonic();
        let said = stage.mount()?;
        say!("{said}")?;
        let mounted = show_time(self.clock.monotonic().saturating_sub(began));
        say!("mounted in {mounted}\n")?;
        say!(
            "{:<44} {:>8} {:>10} {:>9} {:>11}",
            "",
            "time",
            "rate",
            "requests",
            "from remote"
        )?;
        self.act("list the tree", None, |_| list(stage, tree.entries))?;
        let big = format!("{} of {}", sample::BIG, show_size(stage.big));
        self.read_big(&format!("cold read, {big}"), tree)?;
        self.read_big("re-read (from the page cache)", tree)?;
        forget_pages(&stage.mount_point(), std::slice::from_ref(&tree.big))?;
        self.read_big("warm read (from larder's cache)", tree)?;
        let count = tree.small.len();
        self.read_small(
            &format!("cold read, {count} small files, {READERS} readers"),
            tree,
        )?;
        forget_pages(&stage.mount_point(), &tree.small)?;
        self.read_small("the same files, warm", tree)?;
        self.act("one byte out of a sparse file of 100 GB", None, |_| {
            one_byte(stage)
        })?;
        // What was read becomes durable against a crash of the daemon within 200 ms.
        std::thread::sleep(Duration::from_millis(300));
        let began = self.clock.monotonic();
        let pid = stage.kill_daemon()?;
        stage.mount()?;
        let back = show_time(self.clock.monotonic().saturating_sub(began));
        say!("-- kill -9 of the daemon (process {pid}), mounted again: {back}")?;
        self.read_big("read again after the crash", tree)?;
        self.read_small("the small files after the crash", tree)?;
        self.act("the same byte of the sparse file", None, |_| {
            one_byte(stage)
        })
    }

    fn read_big(&self, what: &str, tree: &Tree) -> Result<(), Failure> {
        let root = self.stage.mount_point();
        let go_on = || self.stage.go_on();
        self.act(what, Some(tree.big.sample.len), |bar| {
            whole(&root, &tree.big, &moving(bar, &go_on)).map(Outcome::checked)
        })
    }

    fn read_small(&self, what: &str, tree: &Tree) -> Result<(), Failure> {
        let root = self.stage.mount_point();
        let go_on = || self.stage.go_on();
        let total = tree.small.iter().map(|file| file.sample.len).sum();
        self.act(what, Some(total), |bar| {
            // As `cat notes/*` would: the shell lists the directory, and then the files are opened.
            let listed = std::fs::read_dir(root.join(sample::SMALL_DIR))?.count();
            if listed != tree.small.len() {
                return Err(wrong(&root, &format!("showing {listed} small files")));
            }
            many(&root, &tree.small, READERS, &moving(bar, &go_on)).map(Outcome::checked)
        })
    }

    /// Times one act, with a bar where it is known how many bytes there are, and shows its line.
    fn act(
        &self,
        what: &str,
        total: Option<u64>,
        run: impl FnOnce(&ProgressBar) -> Result<Outcome, Failure>,
    ) -> Result<(), Failure> {
        self.stage.go_on()?;
        let before = self.stage.traffic()?;
        let bar = total.map_or_else(ProgressBar::hidden, |total| bytes_bar(what, total));
        let began = self.clock.monotonic();
        let outcome = run(&bar)?;
        let time = self.clock.monotonic().saturating_sub(began);
        bar.finish_and_clear();
        let after = self.stage.traffic()?;
        let spent = Traffic {
            requests: after.requests.saturating_sub(before.requests),
            bytes: after.bytes.saturating_sub(before.bytes),
        };
        let rate = match total {
            Some(_) => show_rate(outcome.bytes, time),
            None => String::new(),
        };
        say!(
            "{what:<44} {:>8} {rate:>10} {:>9} {:>11}  {}",
            show_time(time),
            spent.requests,
            show_size(spent.bytes),
            outcome.remark
        )
    }
}

/// Walks the tree and looks at every entry.
fn list(stage: &Stage, expected: usize) -> Result<Outcome, Failure> {
    let root = stage.mount_point();
    let (mut found, mut dirs) = (0, vec![root.clone()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.metadata()?.is_dir() {
                dirs.push(entry.path())
            } else {
                found += 1
            }
        }
        stage.go_on()?;
    }
    if found != expected {
        return Err(wrong(
            &root,
            &format!("a tree of {found} entries instead of {expected}"),
        ));
    }
    if !stage.is_web() {
        let target = std::fs::read_link(root.join(sample::LINK))?;
        if target != Path::new(sample::BIG) {
            let how = format!("a link to {}", shown(&target));
            return Err(wrong(&root.join(sample::LINK), &how));
        }
    }
    Ok(Outcome {
        bytes: 0,
        remark: format!("{found} entries ok"),
    })
}

/// Reads one byte in the middle of the sparse file.
fn one_byte(stage: &Stage) -> Result<Outcome, Failure> {
    let path = stage.mount_point().join(sample::SPARSE);
    let (at, expected) = sample::sparse_byte();
    let found = read::byte(&path, at)?;
    if found != expected {
        return Err(wrong(
            &path,
            &format!("{found:#x} instead of {expected:#x} at {at}"),
        ));
    }
    Ok(Outcome::checked(1))
}
