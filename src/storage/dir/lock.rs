//! The lock of a cache directory, and who holds it.
//!
//! The lock is flock(2) on the file `LOCK`: the kernel drops it when its holder dies, however that happens. The file's
//! content only informs; it outlives its writer and proves nothing but one thing: with the mark of the index that a close
//! leaves in it, that the index was not touched since.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags};
use serde::{Deserialize, Serialize};

use super::host_identity::HostIdentity;
use super::open_at::open_at;
use crate::units::shown;

/// The lock file's name.
pub(in crate::storage) const LOCK_NAME: &str = "LOCK";
/// A holder's details are a few hundred bytes; more than this is not ours.
const HOLDER_LEN_MAX: u64 = 64 << 10;
/// A lock may be held for a moment by a program that only looks, or by a daemon that is just ending.
const ATTEMPTS: u32 = 10;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(20);

/// Who holds a cache directory, as the lock file has it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// The hash of the machine's id, in hexadecimal.
    pub host_id: String,
    /// The kernel's boot id, in hexadecimal.
    pub boot_id: String,
    /// The mount points that are served.
    #[serde(default)]
    pub mounts: Vec<PathBuf>,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// The index, as the close of the cache left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<IndexMark>,
}

/// By what an index file is known again that was not touched: a program that writes to it or puts another one in its place,
/// from a backup for instance, changes its ctime, which no program can set back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct IndexMark {
    inode: u64,
    ctime: i64,
    ctime_nsec: i64,
}

impl IndexMark {
    pub(super) fn of(index: &File) -> io::Result<Self> {
        let found = index.metadata()?;
        Ok(Self {
            inode: found.ino(),
            ctime: found.ctime(),
            ctime_nsec: found.ctime_nsec(),
        })
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.pid)?;
        for (n, mount) in self.mounts.iter().enumerate() {
            write!(
                f,
                "{}{}",
                if n == 0 { ", which serves " } else { ", " },
                shown(mount)
            )?;
        }
        Ok(())
    }
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(in crate::storage) struct Lock {
    file: File,
    started: u64,
    /// The mark of the index that the last holder left.
    pub(super) left: Option<IndexMark>,
}

impl Lock {
    /// Takes the lock of the directory `dir`, or says which process has it.
    pub(super) fn take(dir: impl AsFd, host: &HostIdentity) -> Result<Self, Taken> {
        let file = open_lock(dir, OFlags::RDWR | OFlags::CREATE)?;
        if !try_lock(&file, FlockOperation::NonBlockingLockExclusive)? {
            return Err(Taken::By(parse(&file).map(Box::new)));
        }
        // A program that takes a new cache back removes its lock file, and may do so while others wait for it.
        if rustix::fs::fstat(&file).map_err(io::Error::from)?.st_nlink == 0 {
            let removed = "the lock file was removed while larder waited for it: try again";
            return Err(io::Error::other(removed).into());
        }
        let left = parse(&file).and_then(|holder| holder.index);
        let mut lock = Self {
            file,
            started: 0,
            left,
        };
        lock.write(host, &[], None)?;
        // The disk's own clock serves: the moment at which the lock file was written.
        lock.started = u64::try_from(
            rustix::fs::fstat(&lock.file)
                .map_err(io::Error::from)?
                .st_mtime,
        )
        .unwrap_or_default();
        lock.write(host, &[], None)?;
        Ok(lock)
    }

    /// Writes the holder's details again, with the mark of an index that is closed.
    pub(super) fn write(
        &self,
        host: &HostIdentity,
        mounts: &[PathBuf],
        index: Option<IndexMark>,
    ) -> io::Result<()> {
        let hex = |bytes: [u8; 16]| crate::units::Uuid(bytes).to_string();
        let holder = Holder {
            pid: std::process::id(),
            host_id: hex(host.host_id),
            boot_id: hex(host.boot_id),
            mounts: mounts.to_vec(),
            started: self.started,
            index,
        };
        let text = serde_json::to_vec(&holder).map_err(io::Error::other)?;
        self.file.set_len(0)?;
        self.file.write_all_at(&text, 0)
    }
}

/// Why the lock was not taken.
#[derive(Debug)]
pub(super) enum Taken {
    /// Another process has it.
    By(Option<Box<Holder>>),
    /// The file system said no.
    Failed(io::Error),
}

impl From<io::Error> for Taken {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Opens the lock file of the directory `dir`. Something else of its name is neither followed nor waited for.
fn open_lock(dir: impl AsFd, access: OFlags) -> io::Result<File> {
    let file = open_at(dir, LOCK_NAME, access)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other(format!(
        "{LOCK_NAME} is not a regular file, so it does not belong to larder: move it away"
    )))
}

/// Which process holds the cache in `path` now; `None` where none does or there is no cache. It takes no lock for
/// longer than a look.
pub fn read_holder(path: &Path) -> io::Result<Option<Holder>> {
    let dir = match File::open(path) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let file = match open_lock(dir, OFlags::RDONLY) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(parse(&file).unwrap_or_default())),
        Err(error) => Err(error.into()),
    }
}

fn try_lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    for attempt in 1..=ATTEMPTS {
        match rustix::fs::flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) if attempt < ATTEMPTS => {
                std::thread::sleep(ATTEMPT_PAUSE)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn parse(file: &File) -> Option<Holder> {
    let mut text = Vec::new();
    file.take(HOLDER_LEN_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
