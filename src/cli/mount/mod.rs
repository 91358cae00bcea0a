//! `larder mount`: from the command line to a mount that answers.

mod background;
mod cache;
mod counted;
mod daemon;
mod exposition;
mod memory;
mod metrics;
mod origin;
mod owner;
mod plan;
mod report;
mod signals;
mod told;
mod web;

pub(super) use cache::{engine_failure, failure as cache_failure};
pub(super) use plan::need_fuse;

use self::plan::Plan;
use self::report::{Report, Reporter, Terminal};
use super::args::MountArgs;
use super::error::Failure;
use super::given::Given;

/// Runs the command.
pub(super) fn run(args: &MountArgs, given: &Given) -> Result<(), Failure> {
    if !args.foreground && !given.is_daemon {
        return background::start(given);
    }
    let signals = signals::Held::new()?;
    let mut reporter = match given.is_daemon {
        true => Reporter::Starter,
        false => Reporter::Terminal(Terminal::new()),
    };
    let ended = Plan::new(args).and_then(|plan| daemon::run(args, &plan, &signals, &mut reporter));
    match (ended, given.is_daemon) {
        // The starter prints it; where it is gone, nobody is there to be told.
        (Err(failure), true) => reporter.tell(Report::failure(&failure)).or(Ok(())),
        (ended, _) => ended,
    }
}
