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
use tracing_subscriber::EnvFilter;

pub use error::{Exit, Failure};
pub use fsck::main as cachefsck;

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    let cli = args::Cli::parse();
    if let Err(failure) = start_log().and_then(|()| run(&cli)) {
        eprintln!("larder: {failure}");
        return ExitCode::from(failure.exit.code());
    }
    ExitCode::SUCCESS
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

/// Sends what is logged to standard error, filtered by `LARDER_LOG`.
fn start_log() -> Result<(), Failure> {
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
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false)
        .try_init();
    Ok(())
}
