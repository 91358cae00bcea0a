//! `larder completions`: what a shell needs to complete the command lines of larder and cachefsck.

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::{Cli, CompletionsArgs, Program};
use super::error::Failure;
use super::fsck;
use super::output;

/// Completes the mount points of this machine, beside what is generated.
const MOUNT_POINTS_BASH: &str = include_str!("complete.bash");

/// Runs the command. A reader that has gone is no failure.
pub(super) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let (mut command, name) = match args.program {
        Program::Larder => (Cli::command(), "larder"),
        Program::Cachefsck => (fsck::command(), "cachefsck"),
    };
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    if let (Program::Larder, Shell::Bash) = (args.program, args.shell) {
        script.extend_from_slice(MOUNT_POINTS_BASH.as_bytes());
    }
    output::line(format_args!(
        "{}",
        String::from_utf8_lossy(&script).trim_end()
    ))
}
