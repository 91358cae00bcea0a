//! The tree that the blocking threads work on, and what an error number means there.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::beneath;
use super::facts::{self, FileSystems, Traits};
use crate::remote::api::{Capacity, RemoteError, Room};
use crate::units::{Facts, FileKind, ObjectName};

/// What tells the time since 1970.
pub type WallClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What the blocking threads work on.
pub(super) struct Tree {
    pub(super) root: OwnedFd,
    pub(super) settle: Duration,
    pub(super) clock: WallClock,
    pub(super) hidden: OnceLock<Vec<Hidden>>,
    pub(super) file_systems: FileSystems,
    pub(super) listings: Arc<Room>,
}

/// A directory that is not looked into; its facts are those of the moment when it was hidden, and none where it
/// did not exist.
pub(super) struct Hidden {
    pub(super) name: ObjectName,
    pub(super) facts: Option<Facts>,
}

impl Tree {
    /// What is hidden under this name: `None` where it is not hidden, `Some(Err)` for what lies beneath a hidden
    /// directory or is one that did not exist.
    pub(super) fn hidden(&self, name: &ObjectName) -> Option<Result<Facts, RemoteError>> {
        let name = name.as_bytes();
        self.hidden.get()?.iter().find_map(|hidden| {
            let beneath = name.strip_prefix(hidden.name.as_bytes())?;
            match (beneath, &hidden.facts) {
                ([], Some(facts)) => Some(Ok(facts.clone())),
                ([], None) | ([b'/', ..], _) => Some(Err(RemoteError::NotFound)),
                _ => None,
            }
        })
    }

    pub(super) fn stat(&self, name: &ObjectName) -> Result<Facts, RemoteError> {
        if let Some(answer) = self.hidden(name) {
            return answer;
        }
        let fd = self.open_path(name)?;
        self.facts_of(&fd).map(|(facts, _)| facts)
    }

    pub(super) fn open_path(&self, name: &ObjectName) -> Result<OwnedFd, RemoteError> {
        beneath::open(self.root.as_fd(), name.as_bytes(), OFlags::PATH).map_err(remote_error)
    }

    pub(super) fn facts_of(&self, fd: &OwnedFd) -> Result<(Facts, Traits), RemoteError> {
        let stat = rustix::fs::fstat(fd).map_err(remote_error)?;
        let traits = self
            .file_systems
            .traits(&stat, || Ok(fd))
            .map_err(remote_error)?;
        let mut facts = facts::facts(&stat, traits).ok_or(RemoteError::WrongKind)?;
        show_length(&mut facts, || rustix::fs::readlinkat(fd, c"", Vec::new()));
        Ok((facts, traits))
    }

    pub(super) fn read_link(&self, name: &ObjectName) -> Result<Vec<u8>, RemoteError> {
        if let Some(answer) = self.hidden(name) {
            return Err(answer.err().unwrap_or(RemoteError::WrongKind));
        }
        let fd = self.open_path(name)?;
        if self.facts_of(&fd)?.0.kind != FileKind::Symlink {
            return Err(RemoteError::WrongKind);
        }
        let target = rustix::fs::readlinkat(&fd, c"", Vec::new()).map_err(remote_error)?;
        Ok(target.into_bytes())
    }

    pub(super) fn capacity(&self) -> Option<Capacity> {
        let stat = rustix::fs::fstatvfs(&self.root).ok()?;
        Some(Capacity {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bfree.saturating_mul(stat.f_frsize),
            total_files: stat.f_files,
            free_files: stat.f_ffree,
        })
    }
}

/// Some file systems (/proc among them) say 0 of every symbolic link. The kernel cuts the targets that it keeps at the size
/// that it was shown, so the target's own length is shown.
pub(super) fn show_length(facts: &mut Facts, target: impl FnOnce() -> Result<CString, Errno>) {
    if facts.kind == FileKind::Symlink && facts.size == 0 {
        facts.size = target().map_or(0, |target| target.as_bytes().len() as u64);
    }
}

/// What an error number says of an object. A link where a directory was expected means that the name is no more.
pub(super) fn remote_error(error: Errno) -> RemoteError {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL => {
            RemoteError::NotFound
        }
        // The file server forgot the file behind a handle of ours: a question by name finds what is there now.
        Errno::STALE => RemoteError::NotFound,
        Errno::ACCESS | Errno::PERM => RemoteError::Forbidden,
        Errno::NXIO | Errno::ISDIR => RemoteError::WrongKind,
        Errno::MFILE | Errno::NFILE => RemoteError::NoDescriptor,
        other => RemoteError::Unreachable(other.to_string()),
    }
}
