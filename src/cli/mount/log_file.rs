//! The daemon's log.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::cli::error::{Exit, Failure};
use crate::units::shown;

/// The daemon's log within the cache directory.
pub(super) const LOG_NAME: &str = "larder.log";
/// A log that is longer than this starts anew with the next mount.
const LOG_LEN_MAX: u64 = 16 << 20;

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
