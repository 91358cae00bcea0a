//! The arguments of this process, taken once, with the secrets among them wiped from where ps(1) looks.
//!
//! A daemon is handed its command through its standard input: what stands on its command line is for people, and masked.
//! There is a moment, between the start of a process and this code, in which secrets given on its command line can be seen:
//! a file (~/.netrc, `--config`) has no such moment.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use super::secret::Masked;

/// What stands first on a daemon's command line.
pub(super) const DAEMON: [&str; 2] = ["mount", "--report"];

/// The arguments of this process.
pub(super) struct Given {
    /// As they are, the program's name first.
    pub args: Vec<OsString>,
    /// As they may be seen.
    pub masked: Masked,
    /// Whether another process of ours started this one as a daemon, hands it its command, and waits for its reports.
    pub is_daemon: bool,
}

impl Given {
    /// Takes the arguments. To be called first of all; nothing may look at the process's own arguments afterwards.
    pub(super) fn take() -> io::Result<Self> {
        let args: Vec<OsString> = std::env::args_os().collect();
        let is_daemon = args.iter().skip(1).take(2).eq(DAEMON.iter());
        let masked = Masked::new(&args);
        if masked.hides()
            && let Err(error) = wipe(&masked.shown)
        {
            eprintln!(
                "larder: the secrets on the command line cannot be hidden from ps(1): {error}"
            );
        }
        Ok(Self {
            args,
            masked,
            is_daemon,
        })
    }

    /// What follows the name of the command, as it may be seen.
    pub(super) fn shown(&self) -> &[OsString] {
        self.masked.shown.get(2..).unwrap_or_default()
    }
}

/// Each argument with a zero byte behind it.
fn joined(args: &[OsString]) -> Vec<u8> {
    let each = args.iter().map(|arg| [arg.as_bytes(), &[0]].concat());
    each.collect::<Vec<_>>().concat()
}

/// Writes these arguments over those of this process. None is longer than the one in whose place it stands.
fn wipe(shown: &[OsString]) -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (start, end) = place(&stat)
        .ok_or_else(|| io::Error::other("/proc/self/stat does not say where they are"))?;
    let room = usize::try_from(end - start).map_err(io::Error::other)?;
    let mut bytes = joined(shown);
    if bytes.len() > room {
        return Err(io::Error::other("they are elsewhere"));
    }
    bytes.resize(room, 0);
    let memory = File::options().write(true).open("/proc/self/mem")?;
    memory.write_all_at(&bytes, start)
}

/// Where the arguments lie in memory: the fields arg_start and arg_end of proc(5), counted behind the name in parentheses.
fn place(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(45);
    let start: u64 = fields.next()?.parse().ok()?;
    let end: u64 = fields.next()?.parse().ok()?;
    (start > 0 && start < end).then_some((start, end))
}

/// The value of the variable, if it is set and not empty.
pub(super) fn variable(name: impl AsRef<OsStr>) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_arguments_is_found_behind_any_name() {
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let stat = format!("1 (a ) (b) {}", fields.join(" "));
        assert_eq!(place(&stat), Some((48, 49)));
        assert_eq!(place("1 (a) S 0"), None);
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (start, end) = place(&own).unwrap();
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        let memory = File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut bytes, start).unwrap();
        assert_eq!(bytes, joined(&std::env::args_os().collect::<Vec<_>>()));
    }
}
