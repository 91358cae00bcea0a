//! The command line of `cachefsck`, as fsck(8) has it where it has it.

use std::path::PathBuf;

use clap::Parser;

use super::talk::Failure;
use crate::check::exit;

const CODES: &str = "Exit codes, as those of fsck(8); if several apply, their sum:
   0  no errors
   1  errors were found and repaired
   4  errors were found and not repaired
   8  the check failed: no cache, in use, another user's, a disk error
  16  invalid command line
  32  cancelled

Without -n, -p or -y, cachefsck asks before each repair on a terminal. Elsewhere, and with --json, it repairs nothing.";

/// The most threads that read blocks unless -j says otherwise: more do not make a disk faster.
const JOBS_MAX: usize = 8;

/// Checks a larder cache directory and repairs it.
///
/// cachefsck drops only copies of remote data: larder fetches them again when they are read.
#[derive(Parser, Debug)]
#[command(name = "cachefsck", version, after_help = CODES)]
pub(super) struct Options {
    /// Check without repairs; works while a daemon is using the cache.
    #[arg(short = 'n', conflicts_with_all = ["preen", "yes", "salvage", "discard_dirty"])]
    pub(super) look: bool,
    /// Repair without asking whatever can be repaired safely: in a cache without dirty data, everything.
    #[arg(short = 'p', conflicts_with = "yes")]
    pub(super) preen: bool,
    /// Answer yes to every question.
    #[arg(short = 'y')]
    pub(super) yes: bool,
    /// Check even a cache that was closed cleanly; cachefsck always does, and accepts it for compatibility with fsck.
    #[arg(short = 'f')]
    pub(super) force: bool,
    /// Read every cached block and verify its checksum.
    #[arg(long)]
    pub(super) deep: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Read blocks with this many threads (default: the number of processors, at most 8).
    #[arg(short = 'j', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Before a repair, copy everything that it changes or drops into a new numbered directory in DIR.
    #[arg(long, value_name = "DIR")]
    pub(super) salvage: Option<PathBuf>,
    /// Also drop user data that was written through larder and never uploaded to the remote.
    #[arg(long)]
    pub(super) discard_dirty: bool,
    /// List each finding, and show how long each phase took.
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
    /// What is to become of findings; `terminal` says whether there is a user to be asked. Errors where something is
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
                    "{option} has an effect only in a repair, and without a terminal cachefsck cannot ask: give -p or -y as well"
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
