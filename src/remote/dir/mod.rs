//! A local (or kernel-mounted) directory as a remote.
//!
//! Invariants: the root is opened once, before anything is mounted, and everything is reached relative to it, so that a
//! mount over it or above it changes nothing; symbolic links are never followed; own mount points and cache directories
//! are never looked through (that would be a question to ourselves). System calls that may block run on the runtime's
//! blocking threads, whose number is bounded.

mod beneath;
mod blocking;
mod facts;
mod fetch;
mod settle;

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use self::blocking::blocking;
use self::facts::{FileSystems, Traits};
use super::room::{self, Held};
use super::{BoxFuture, Capacity, Entries, Entry, Listed, Remote, RemoteError, Room, Sink};
use crate::units::{ByteRange, Facts, FileKind, ObjectName, Validator};

/// What tells the time since 1970.
pub type WallClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How a directory is served.
pub struct DirSettings {
    /// How long a file must be unchanged before its bytes are kept, where leases cannot tell whether somebody writes it.
    pub settle: Duration,
    /// The clock that ages are measured with.
    pub clock: WallClock,
    /// The room that listings share.
    pub listings: Arc<Room>,
}

impl DirSettings {
    /// The defaults: 60 s to settle, whatever room listings want.
    pub fn new(clock: WallClock) -> Self {
        Self {
            settle: Duration::from_secs(60),
            clock,
            listings: Room::unlimited(),
        }
    }
}

/// A directory as a remote.
pub struct DirRemote {
    identity: String,
    canonical: PathBuf,
    tree: Arc<Tree>,
}

/// What the blocking threads work on.
struct Tree {
    root: OwnedFd,
    settle: Duration,
    clock: WallClock,
    hidden: OnceLock<Vec<Hidden>>,
    file_systems: FileSystems,
    listings: Arc<Room>,
}

/// A listing that was read, or how much room it wanted when there was none.
enum Read {
    Whole(Entries),
    Outgrown(u64),
}

/// A directory that is not looked into; its facts are those of the moment when it was hidden, and none where it
/// did not exist.
struct Hidden {
    name: ObjectName,
    facts: Option<Facts>,
}

impl DirRemote {
    /// Opens a tree. To be called before the mount, so that its root is what lies beneath. The error is a sentence that
    /// names the directory and the way out.
    pub fn open(root: &Path, settings: DirSettings) -> io::Result<Self> {
        let fail = |error: io::Error, what: &str| {
            let sentence = format!("the remote {} {what} ({error})", root.display());
            io::Error::new(error.kind(), sentence)
        };
        let canonical = std::fs::canonicalize(root).map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::NotFound => "does not exist: name an existing directory",
                io::ErrorKind::PermissionDenied => "is not accessible to this user",
                _ => "cannot be reached",
            };
            fail(error, what)
        })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&canonical, flags, Mode::empty()).map_err(|error| {
            let what = match error {
                Errno::NOTDIR => "is not a directory: name a directory",
                Errno::ACCESS => "is not readable by this user",
                _ => "cannot be opened",
            };
            fail(error.into(), what)
        })?;
        let fsid = rustix::fs::fstatvfs(&fd)
            .map_err(|error| fail(error.into(), "does not tell which file system it is on"))?
            .f_fsid;
        let path = canonical.as_os_str().as_bytes();
        let tree = Tree {
            root: fd,
            settle: settings.settle,
            clock: settings.clock,
            hidden: OnceLock::new(),
            file_systems: FileSystems::default(),
            listings: settings.listings,
        };
        Ok(Self {
            identity: format!("dir:{fsid:x}:{}", path.escape_ascii()),
            canonical,
            tree: Arc::new(tree),
        })
    }
}

/// The name within the tree of a path, if it lies in it and is not its root.
fn name_within(root: &Path, path: &Path) -> Option<ObjectName> {
    let path = std::fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .ok()?;
    let within = path.strip_prefix(root).ok()?.as_os_str();
    (!within.is_empty()).then(|| ObjectName::new(within.as_bytes()))
}

impl Tree {
    /// What is hidden under this name: `None` where it is not hidden, `Some(Err)` for what lies beneath a hidden
    /// directory or is one that did not exist.
    fn hidden(&self, name: &ObjectName) -> Option<Result<Facts, RemoteError>> {
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

    fn stat(&self, name: &ObjectName) -> Result<Facts, RemoteError> {
        if let Some(answer) = self.hidden(name) {
            return answer;
        }
        let fd = self.open_path(name)?;
        self.facts_of(&fd).map(|(facts, _)| facts)
    }

    fn open_path(&self, name: &ObjectName) -> Result<OwnedFd, RemoteError> {
        beneath::open(self.root.as_fd(), name.as_bytes(), OFlags::PATH).map_err(remote_error)
    }

    fn facts_of(&self, fd: &OwnedFd) -> Result<(Facts, Traits), RemoteError> {
        let stat = rustix::fs::fstat(fd).map_err(remote_error)?;
        let traits = self
            .file_systems
            .traits(&stat, || Ok(fd))
            .map_err(remote_error)?;
        let mut facts = facts::facts(&stat, traits).ok_or(RemoteError::WrongKind)?;
        show_length(&mut facts, || rustix::fs::readlinkat(fd, c"", Vec::new()));
        Ok((facts, traits))
    }

    fn list(&self, name: &ObjectName) -> Result<Read, RemoteError> {
        if let Some(answer) = self.hidden(name) {
            return answer.map(|_| Read::Whole(Entries::default()));
        }
        let (mut held, mut size) = (Held::nothing(&self.listings), 0);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd =
            beneath::open(self.root.as_fd(), name.as_bytes(), flags).map_err(
                |error| match error {
                    Errno::NOTDIR if self.stat(name).is_ok() => RemoteError::WrongKind,
                    other => remote_error(other),
                },
            )?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&fd).map_err(remote_error)? {
            let entry = entry.map_err(remote_error)?;
            let entry_name = entry.file_name().to_bytes();
            if matches!(entry_name, b"." | b"..") {
                continue;
            }
            let facts = match self.hidden(&name.child(entry_name)) {
                Some(answer) => answer.ok(),
                None => self.entry_facts(fd.as_fd(), entry_name, entry.file_type())?,
            };
            entries.extend(facts.map(|facts| Entry {
                name: entry_name.into(),
                listed: Listed::Facts(facts),
            }));
            size += entries.last().map_or(0, room::cost);
            // Where a vector has grown it is half empty.
            if !held.try_grow(2 * size)? {
                return Ok(Read::Outgrown(2 * size));
            }
        }
        Ok(Read::Whole(Entries::new(entries, held)))
    }

    /// The facts of one name in an open directory; `None` where it is gone by now. Errors where the process has no
    /// descriptor left: another answer would say less of the file than another time, and so be another version.
    fn entry_facts(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        listed_as: rustix::fs::FileType,
    ) -> Result<Option<Facts>, RemoteError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let facts = match rustix::fs::statat(dir, name, flags) {
            Ok(stat) => {
                let open = || beneath::open(dir, name, OFlags::PATH);
                let traits = self.file_systems.traits(&stat, open);
                let mut facts = facts::facts(&stat, traits.map_err(remote_error)?);
                if let Some(facts) = &mut facts {
                    show_length(facts, || rustix::fs::readlinkat(dir, name, Vec::new()));
                }
                facts
            }
            Err(Errno::NOENT) => None,
            Err(error) => {
                let shown = OsStr::from_bytes(name).display();
                tracing::debug!("cannot stat {shown} in a directory of the remote: {error}");
                facts::kind(listed_as).map(Facts::unknown)
            }
        };
        Ok(facts)
    }

    fn read_link(&self, name: &ObjectName) -> Result<Vec<u8>, RemoteError> {
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

    fn capacity(&self) -> Option<Capacity> {
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
fn show_length(facts: &mut Facts, target: impl FnOnce() -> Result<CString, Errno>) {
    if facts.kind == FileKind::Symlink && facts.size == 0 {
        facts.size = target().map_or(0, |target| target.as_bytes().len() as u64);
    }
}

/// What an error number says of an object. A link where a directory was expected means that the name is no more.
fn remote_error(error: Errno) -> RemoteError {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL => {
            RemoteError::NotFound
        }
        // The file server forgot the file behind a handle of ours: whoever asks again by name gets what is there now.
        Errno::STALE => RemoteError::NotFound,
        Errno::ACCESS | Errno::PERM => RemoteError::Forbidden,
        Errno::NXIO | Errno::ISDIR => RemoteError::WrongKind,
        Errno::MFILE | Errno::NFILE => RemoteError::NoDescriptor,
        other => RemoteError::Unreachable(other.to_string()),
    }
}

/// Lists a directory. One that finds no room for its entries waits for the turn and reads it once more, with twice as much
/// free at first.
async fn list(tree: &Arc<Tree>, name: &ObjectName) -> Result<Entries, RemoteError> {
    let mut turn = None;
    loop {
        let (ground, name) = (Arc::clone(tree), name.clone());
        match blocking(move || ground.list(&name)).await? {
            Read::Whole(entries) => return Ok(entries),
            Read::Outgrown(wanted) => {
                let listings = &tree.listings;
                if turn.is_none() {
                    turn = Some(listings.turn().await);
                }
                listings.wait_for(listings.at_most(2 * wanted)).await?;
            }
        }
    }
}

impl Remote for DirRemote {
    fn identity(&self) -> &str {
        &self.identity
    }

    /// What one user may read, another may not.
    fn principal(&self) -> String {
        format!("uid:{}", rustix::process::geteuid().as_raw())
    }

    fn hide(&self, dirs: &[PathBuf]) {
        let hidden = dirs.iter().filter_map(|dir| {
            let name = name_within(&self.canonical, dir)?;
            let facts = self.tree.stat(&name).ok();
            Some(Hidden { name, facts })
        });
        if self.tree.hidden.set(hidden.collect()).is_err() {
            tracing::error!("directories were hidden twice: this is a bug in larder");
        }
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        let (tree, name) = (Arc::clone(&self.tree), name.clone());
        Box::pin(blocking(move || tree.stat(&name)))
    }

    fn list<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Entries, RemoteError>> {
        Box::pin(list(&self.tree, name))
    }

    fn read_link<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Vec<u8>, RemoteError>> {
        let (tree, name) = (Arc::clone(&self.tree), name.clone());
        Box::pin(blocking(move || tree.read_link(&name)))
    }

    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(fetch::fetch(&self.tree, name, range, bound, sink))
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Option<Capacity>, RemoteError>> {
        let tree = Arc::clone(&self.tree);
        Box::pin(blocking(move || Ok(tree.capacity())))
    }
}

#[cfg(test)]
mod tests;
