//! Both ends of putting the daemon into the background, without fork: the starter runs this program again in the
//! foreground with a pipe for its reports, and leaves when the mount answers; the daemon then lets go of the terminal.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::report::{Report, Terminal};
use crate::cli::error::{Exit, Failure};
use crate::cli::given::{DAEMON, Given};
use crate::cli::{log, mask};
use crate::units::shown;

/// The daemon's log within the cache directory.
pub(super) const LOG_NAME: &str = "larder.log";
/// A log that is longer than this starts anew with the next mount.
const LOG_LEN_MAX: u64 = 16 << 20;

/// Runs the same command line as a daemon and waits until its mount answers. The daemon's own command line is masked; it
/// gets the real one through its standard input.
pub(super) fn start(given: &Given) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::failed(format_args!("cannot start the daemon: {e}"));
    let mut child = Command::new(this_program())
        .arg0("larder")
        .args(DAEMON)
        .args(given.shown())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    // The daemon has inherited that its signals wait. Those that end this process may do so; the daemon then finds nobody
    // to report to, and ends as well.
    mask::unblock(&mask::ENDS);
    if let Some(pipe) = child.stdin.take() {
        // A daemon that ends before it has read them says so below.
        let _ = given.send(pipe);
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

/// Opens the daemon's log, which starts anew where it has grown too long. Something else of its name is neither followed
/// nor waited for, and refused.
pub(super) fn open_log(cache_dir: &Path) -> Result<File, Failure> {
    let path = cache_dir.join(LOG_NAME);
    let refuse = || {
        let place = shown(&path);
        Failure::new(
            Exit::Cache,
            format_args!("{place} is not a regular file, so larder cannot log to it: move it away"),
        )
    };
    let cannot = |e: std::io::Error| {
        let place = shown(&path);
        Failure::new(
            Exit::Cache,
            format_args!("cannot open the log {place}: {e}"),
        )
    };
    let before = path.symlink_metadata().ok();
    if before.as_ref().is_some_and(|meta| !meta.is_file()) {
        return Err(refuse());
    }
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path)
        .map_err(cannot)?;
    if !log.metadata().map_err(cannot)?.is_file() {
        return Err(refuse());
    }
    if before.is_some_and(|meta| meta.len() > LOG_LEN_MAX) {
        log.set_len(0).map_err(cannot)?;
    }
    Ok(log)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG_NAME);
        let refused = || {
            let failure = open_log(dir.path()).unwrap_err();
            assert_eq!(failure.exit, Exit::Cache);
            assert!(
                failure.sentence.contains("is not a regular file"),
                "{failure}"
            );
        };
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        refused();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        refused();
    }

    #[test]
    fn a_long_log_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        open_log(dir.path()).unwrap().write_all(b"one\n").unwrap();
        open_log(dir.path()).unwrap().write_all(b"two\n").unwrap();
        let path = dir.path().join(LOG_NAME);
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(LOG_LEN_MAX + 1)
            .unwrap();
        drop(open_log(dir.path()).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
}
