//! Both ends of putting the daemon into the background, without fork: the starter runs this program again in the
//! foreground with a pipe for its reports, and leaves when the mount answers; the daemon then lets go of the terminal.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::command::MountCommand;
use super::report::{Report, Terminal};
use crate::cli::error::Failure;
use crate::cli::given::{DAEMON, Given};
use crate::cli::{log, mask};

/// Has a daemon carry out the command, and waits until its mount answers. The daemon's own command line is for people, and
/// masked; the daemon gets the command through its standard input.
pub(super) fn start(command: &MountCommand, given: &Given) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::failed(format_args!("cannot start the daemon: {e}"));
    let mut child = Command::new(this_program())
        .arg0("larder")
        .args(DAEMON)
        .args(given.shown())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    // The daemon has inherited that its signals wait. Those that end this process may do so; the daemon then finds that
    // nothing reads its reports, and ends as well.
    mask::unblock(&mask::ENDS);
    if let Some(pipe) = child.stdin.take() {
        // A daemon that ends before it has read the command says so below.
        let _ = serde_json::to_writer(pipe, command);
    }
    let mut terminal = Terminal::new();
    if let Some(pipe) = child.stdout.take() {
        for line in BufReader::new(pipe).lines() {
            match serde_json::from_str::<Report>(&line?) {
                Ok(Report::Ready) => return Ok(()),
                Ok(report) => terminal.show(report)?,
                Err(e) => {
                    return Err(Failure::failed(format_args!(
                        "the daemon's report cannot be read: {e}"
                    )));
                }
            }
        }
    }
    Err(ended_early(&mut child))
}

/// The file that this program runs from, under its own name if it still has one: ps(1) shows it.
fn this_program() -> PathBuf {
    std::env::current_exe()
        .ok()
        .filter(|path| path.is_file())
        .unwrap_or_else(|| "/proc/self/exe".into())
}

/// The failure of a daemon that ended without a word.
fn ended_early(child: &mut Child) -> Failure {
    let how = match child.wait() {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("with exit code {code}"),
            (None, Some(signal)) => format!("by signal {signal}"),
            (None, None) => "somehow".to_owned(),
        },
        Err(e) => format!("unseen ({e})"),
    };
    Failure::failed(format_args!(
        "the daemon ended {how} before the mount answered: `larder mount -f` shows more"
    ))
}

/// Lets go of the terminal and of the starter: a session of its own, the log for standard error, and nothing for
/// standard output. From here on a report would go nowhere.
pub(super) fn let_go(log: &File) -> Result<(), Failure> {
    // This fails only for the leader of a process group, which then has a session or a group of its own already.
    let _ = rustix::process::setsid();
    log::goes_into_a_file();
    rustix::stdio::dup2_stderr(log).map_err(std::io::Error::from)?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// Closes the pipes from and to the starter.
pub(super) fn close_pipes() -> Result<(), Failure> {
    let nothing = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing).map_err(std::io::Error::from)?;
    rustix::stdio::dup2_stdout(&nothing).map_err(std::io::Error::from)?;
    Ok(())
}
