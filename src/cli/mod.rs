//! Floor 6: the command line.
//!
//! The only place that puts the floors together, constructs a remote, and reads the environment. A command is a file
//! here; each answers with a [`Failure`], whose sentence is printed and whose kind is the exit code.

mod args;
mod complete;
mod control;
mod demo;
mod dropping;
mod error;
mod evict;
mod flush;
mod fsck;
mod given;
mod info;
mod log;
mod mask;
mod mount;
mod mounts;
mod netrc;
mod output;
mod quantity;
mod resize;
mod scrub;
mod secret;
mod set_size;
mod stats;
mod umount;

use std::process::ExitCode;

pub use error::{Exit, Failure};
pub use fsck::main as cachefsck;

use self::args::Misunderstood;
use self::given::Given;

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    // First of all: a signal must not end a mount that is just starting.
    mask::block(&mask::ACTED_ON);
    let run = || {
        let given = Given::take()?;
        if given.is_daemon {
            let _guard = log::start()?;
            return mount::run_daemon().map(|()| ExitCode::SUCCESS);
        }
        let cli = match args::parse(&given.args) {
            Ok(cli) => cli,
            Err(Misunderstood::Arguments(error)) => return Ok(answer(&error, &given)),
            Err(Misunderstood::File(failure)) => return Err(failure),
        };
        if !matches!(cli.command, args::Command::Mount(_)) {
            mask::unblock(&mask::ACTED_ON);
        }
        // The guard waits, but not for ever, for the last lines of the log.
        let _guard = log::start()?;
        run(&cli, &given).map(|()| ExitCode::SUCCESS)
    };
    run().unwrap_or_else(|failure| {
        eprintln!("larder: {failure}");
        ExitCode::from(failure.exit.code())
    })
}

/// Prints what clap answers: help, or what is wrong with the arguments, which it quotes.
fn answer(error: &clap::Error, given: &Given) -> ExitCode {
    if error.use_stderr() && given.masked.hides() {
        eprint!("{}", given.masked.clean(error.render().to_string()));
    } else {
        // Where it cannot be printed, no user reads it.
        let _ = error.print();
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn run(cli: &args::Cli, given: &Given) -> Result<(), Failure> {
    match &cli.command {
        args::Command::Mount(args) => mount::run(args, given),
        args::Command::Umount(args) => umount::run(args),
        args::Command::Stats(args) => stats::run(args),
        args::Command::Info(args) => info::run(args),
        args::Command::Scrub(args) => scrub::run(args),
        args::Command::Evict(args) => evict::run(args),
        args::Command::Flush(args) => flush::run(args),
        args::Command::SetSize(args) => set_size::run(args),
        args::Command::Resize(args) => resize::run(args),
        args::Command::Demo(args) => demo::run(args),
        args::Command::Completions(args) => complete::run(args),
    }
}
