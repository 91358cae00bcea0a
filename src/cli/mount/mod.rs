//! `larder mount`: from the command line to a mount that answers.

mod background;
mod cache;
mod counted;
mod daemon;
mod plan;
mod report;

pub(super) use plan::need_fuse;

use self::plan::Plan;
use self::report::{Report, Reporter, Terminal};
use super::args::MountArgs;
use super::error::Failure;

/// Runs the command.
pub(super) fn run(args: &MountArgs) -> Result<(), Failure> {
    if !args.foreground {
        return background::start(std::env::args_os().skip(2));
    }
    let mut reporter = match args.report {
        true => Reporter::Starter,
        false => Reporter::Terminal(Terminal::new()),
    };
    let ended = Plan::new(args).and_then(|plan| daemon::run(args, &plan, &mut reporter));
    match (ended, args.report) {
        // The starter prints it; where it is gone, nobody is there to be told.
        (Err(failure), true) => reporter.tell(Report::failure(&failure)).or(Ok(())),
        (ended, _) => ended,
    }
}
