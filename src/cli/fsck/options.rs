//! The command line of `cachefsck`, as fsck(8) has it where it has it.

use std::path::PathBuf;

use clap::Parser;

use super::Failure;
use crate::check::exit;

const CODES: &str = "Exit codes, as fsck(8) has them; where several hold, their sum:
   0  nothing is wrong
   1  something was wrong and was put right
   4  something is wrong and was left so
   8  the check could not be done: no cache, in use, another user's, the disk failed
  16  the command line makes no sense
  32  cancelled

Without -n, -p or -y it asks on a terminal, and only looks elsewhere or with --json.";

/// The most threads that read blocks unless -j says otherwise: more do not make a disk faster.
const JOBS_MAX: usize = 8;

/// Checks a larder cache directory and puts right what it can.
///
/// Only clean copies of remote data are dropped by it: they are fetched again when they are asked for.
#[derive(Parser, Debug)]
#[command(name = "cachefsck", version, after_help = CODES)]
pub(super) struct Options {
    /// Only look; works beside a daemon that uses the cache.
    #[arg(short = 'n', conflicts_with_all = ["preen", "yes", "salvage", "discard_dirty"])]
    pub(super) look: bool,
    /// Put right, without asking, what can be put right safely: in a cache of clean data everything.
    #[arg(short = 'p', conflicts_with = "yes")]
    pub(super) preen: bool,
    /// Answer yes to every question.
    #[arg(short = 'y')]
    pub(super) yes: bool,
    /// Check even a cache that was closed cleanly; cachefsck always does, and takes the option for fsck's sake.
    #[arg(short = 'f')]
    pub(super) force: bool,
    /// Read every block that is present and check its bytes.
    #[arg(long)]
    pub(super) deep: bool,
    /// Tell the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Read blocks with this many threads; as many as there are processors, 8 at most, unless said.
    #[arg(short = 'j', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Copy everything that is about to be changed or dropped into a new numbered directory in DIR first.
    #[arg(long, value_name = "DIR")]
    pub(super) salvage: Option<PathBuf>,
    /// Also drop data that was written through larder and never reached the remote.
    #[arg(long)]
    pub(super) discard_dirty: bool,
    /// List each finding, and tell what each phase took.
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// The cache directory.
    #[arg(value_name = "CACHEDIR")]
    pub(super) cache: PathBuf,
}

/// What becomes of findings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// Nothing is written.
    Look,
    /// All are put right.
    Repair,
    /// Those are put right that the user says yes to.
    Ask,
}

impl Options {
    /// What is to become of findings; `terminal` says whether somebody is there to be asked. Errors where something is
    /// asked for that only a repair does, and there will be none.
    pub(super) fn mode(&self, terminal: bool) -> Result<Mode, Failure> {
        let mode = match self {
            Self { look: true, .. } => Mode::Look,
            Self { preen: true, .. } | Self { yes: true, .. } => Mode::Repair,
            // Questions and JSON do not go together.
            _ if terminal && !self.json => Mode::Ask,
            _ => Mode::Look,
        };
        let only_repairs = match self {
            Self {
                salvage: Some(_), ..
            } => Some("--salvage"),
            Self {
                discard_dirty: true,
                ..
            } => Some("--discard-dirty"),
            _ => None,
        };
        match only_repairs.filter(|_| mode == Mode::Look) {
            Some(option) => Err(Failure(
                exit::USAGE,
                format!(
                    "{option} is for repairs, and nobody is here to be asked: say -p or -y as well"
                ),
            )),
            None => Ok(mode),
        }
    }

    /// How many threads read blocks.
    pub(super) fn jobs(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs
            .map_or_else(|| processors().min(JOBS_MAX), usize::from)
    }
}
