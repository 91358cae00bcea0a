//! Floor 6: the command line.
//!
//! The only place that puts the floors together, constructs a remote, and reads the environment. A command is a file
//! here; each answers with a [`Failure`], whose sentence is printed and whose kind is the exit code.

mod args;
mod control;
mod demo;
mod error;
mod evict;
mod flush;
mod fsck;
mod given;
mod info;
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

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::CommandFactory;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

pub use error::{Exit, Failure};
pub use fsck::main as cachefsck;

use self::args::Misunderstood;
use self::given::Given;

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    let run = || {
        let given = Given::take()?;
        let cli = match args::parse(&given.args) {
            Ok(cli) => cli,
            Err(Misunderstood::Arguments(error)) => return Ok(answer(&error, &given)),
            Err(Misunderstood::File(failure)) => return Err(failure),
        };
        // The guard waits, but not for ever, for the last lines of the log.
        let _guard = start_log()?;
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
        // Nobody reads it where it cannot be printed.
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
        args::Command::Completions(args) => complete(args.shell),
    }
}

/// Prints the completions for a shell. A reader that has gone is no failure.
fn complete(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::Cli::command(), "larder", &mut script);
    output::line(format_args!(
        "{}",
        String::from_utf8_lossy(&script).trim_end()
    ))
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
