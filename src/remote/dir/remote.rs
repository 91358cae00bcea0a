//! Opening a directory, and the questions to it.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::blocking::blocking;
use super::facts::FileSystems;
use super::tree::{Hidden, Tree, WallClock};
use super::{fetch, list};
use crate::remote::api::{BoxFuture, Capacity, Pages, Remote, RemoteError, Room, Sink};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

/// How a directory is served.
pub struct DirSettings {
    /// How long a file must be unchanged before its bytes are kept, where leases cannot tell whether a program writes it.
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

    fn list<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Box<dyn Pages>, RemoteError>> {
        Box::pin(list::list(&self.tree, name))
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
