//! Floor 6: the command line.
//!
//! The only place that puts the floors together, constructs a remote, and reads the environment. A command is a file
//! here; each answers with a [`Failure`], whose sentence is printed and whose kind is the exit code.

mod args;
mod demo;
mod error;
mod fsck;
mod info;
mod mount;
mod mounts;
mod output;
mod quantity;
mod stats;
mod umount;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

pub use error::{Exit, Failure};
pub use fsck::main as cachefsck;

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    let cli = args::Cli::parse();
    // The guard waits, but not for ever, for the last lines of the log.
    match start_log().and_then(|_guard| run(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("larder: {failure}");
            ExitCode::from(failure.exit.code())
        }
    }
}

fn run(cli: &args::Cli) -> Result<(), Failure> {
    match &cli.command {
        args::Command::Mount(args) => mount::run(args),
        args::Command::Umount(args) => umount::run(args),
        args::Command::Stats(args) => stats::run(args),
        args::Command::Info(args) => info::run(args),
        args::Command::Demo(args) => demo::run(args),
    }
}

/// Sends what is logged to standard error, filtered by `LARDER_LOG`. A daemon's standard error is a file in the cache
/// directory, on a disk that may hang: a thread of its own waits for it, and what finds no room is dropped.
fn start_log() -> Result<WorkerGuard, Failure> {
    let filter = match std::env::var("LARDER_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|e| {
            Failure::new(
                Exit::Usage,
                format_args!("LARDER_LOG={text} is no log filter ({e}): say info, debug or trace"),
            )
        })?,
        _ => EnvFilter::new("info"),
    };
    let terminal = std::io::stderr().is_terminal();
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .finish(std::io::stderr());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(terminal)
        .with_target(false)
        .try_init();
    Ok(guard)
}
