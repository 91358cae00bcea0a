//! `larder mount`: from the command line to a mount that answers.

mod allocator;
mod background;
mod cache;
mod command;
mod daemon;
mod exposition;
mod failure;
mod log_file;
mod metrics;
mod netrc_login;
mod owner;
mod report;
mod signals;

pub(super) use cache::{engine_failure, failure as cache_failure};
pub(super) use command::need_fuse;

use self::command::MountCommand;
use self::report::{Report, Reporter, Terminal};
use super::args::MountArgs;
use super::error::Failure;
use super::given::Given;
use super::mask;

/// Runs the command.
pub(super) fn run(args: &MountArgs, given: &Given) -> Result<(), Failure> {
    if args.foreground {
        let signals = signals::Held::new()?;
        let mut reporter = Reporter::Terminal(Terminal::new());
        return daemon::run(&MountCommand::new(args)?, &signals, &mut reporter);
    }
    // A remote directory may hang when it is looked at: then Ctrl-C ends this process. The daemon inherits that they wait.
    mask::unblock(&mask::ENDS);
    let command = MountCommand::new(args)?;
    mask::block(&mask::ENDS);
    background::start(&command, given)
}

/// Carries out the command that the process which started this one hands over, and reports to that process.
pub(super) fn run_daemon() -> Result<(), Failure> {
    let signals = signals::Held::new()?;
    let mut reporter = Reporter::Starter;
    let command = serde_json::from_reader(std::io::stdin()).map_err(|error| {
        Failure::failed(format_args!("the daemon cannot read its command: {error}"))
    });
    let ended =
        command.and_then(|command: MountCommand| daemon::run(&command, &signals, &mut reporter));
    match ended {
        // The starter prints it; where the starter is gone, there is nothing more to be done.
        Err(failure) => reporter.tell(Report::failure(&failure)).or(Ok(())),
        Ok(()) => Ok(()),
    }
}
