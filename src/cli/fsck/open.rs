//! Opening the cache for a check, and the sentences for why it is not.
//!
//! `storage` names the ways out of a user who mounts; those of a user who checks are others.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags};

use super::options::Mode;
use super::talk::Failure;
use crate::check::exit;
use crate::format::FeatureVerdict;
use crate::storage::{CacheDir, CacheDirError, Holder, read_holder};

const LOCK_NAME: &str = "LOCK";
const UNKNOWN_FEATURES: &str = "the cache uses features that this cachefsck can read but not write; use the cachefsck of the larder version that created the cache";
const READ_ONLY: &str =
    "the disk is mounted read-only; make it writable (mount -o remount,rw) and run cachefsck again";

/// What was found in the directory.
#[derive(Debug)]
pub(super) enum Opened {
    /// A cache that can be checked.
    Provable {
        cache: Box<CacheDir>,
        /// Why nothing can be written although something shall be.
        frozen: Option<String>,
        /// The lock, where the disk does not let the cache itself take it.
        _lock: Option<File>,
    },
    /// A cache of which nothing can be proven, and why; all that can be done is to begin anew.
    Unprovable(String),
}

/// Opens the cache; with its lock, unless it is only looked at.
pub(super) fn open(path: &Path, mode: Mode) -> Result<Opened, Failure> {
    let told = |error| failure(&error, mode);
    let provable = |cache: CacheDir, frozen: Option<&str>, lock| Opened::Provable {
        cache: Box::new(cache),
        frozen: frozen.map(str::to_owned),
        _lock: lock,
    };
    if mode == Mode::Look {
        let cache = CacheDir::open_for_check(path).map_err(told)?;
        return Ok(provable(cache, None, None));
    }
    match CacheDir::open_for_repair(path) {
        Ok(cache) => {
            let whole = matches!(cache.superblock().features.verdict(), FeatureVerdict::Full);
            Ok(provable(cache, (!whole).then_some(UNKNOWN_FEATURES), None))
        }
        Err(error @ CacheDirError::Superblock { .. }) => Ok(Opened::Unprovable(error.to_string())),
        Err(CacheDirError::Io { error, .. })
            if error.kind() == io::ErrorKind::ReadOnlyFilesystem =>
        {
            let cache = CacheDir::open_for_check(path).map_err(told)?;
            let lock = lock_for_reading(path)?;
            Ok(provable(cache, Some(READ_ONLY), lock))
        }
        Err(error) => Err(told(error)),
    }
}

/// Who uses the cache now, where that can be told.
pub(super) fn holder(path: &Path) -> Option<Holder> {
    read_holder(path).ok().flatten()
}

/// The lock on a read-only disk: it needs no writing, only its holder's name does. `None` where there is no lock file:
/// then no program that could write has ever opened the cache.
fn lock_for_reading(path: &Path) -> Result<Option<File>, Failure> {
    let mut options = File::options();
    // Something else of its name, which was refused a moment ago, is neither followed nor waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    options
        .read(true)
        .custom_flags(i32::try_from(flags).unwrap_or_default());
    let file = match options.open(path.join(LOCK_NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot_lock(path, &error)),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let holder = holder(path).map(Box::new);
            let path = path.into();
            Err(failure(
                &CacheDirError::Locked { path, holder },
                Mode::Repair,
            ))
        }
        Err(error) => Err(cannot_lock(path, &error.into())),
    }
}

fn cannot_lock(path: &Path, error: &io::Error) -> Failure {
    let lock = path.join(LOCK_NAME);
    Failure(
        exit::OPERATIONAL,
        format!("cannot lock {}: {error}; -n needs no lock", lock.display()),
    )
}

/// Why the cache is not opened, for a user who wants it checked.
pub(super) fn failure(error: &CacheDirError, mode: Mode) -> Failure {
    let look = match mode {
        Mode::Look => "",
        Mode::Repair | Mode::Ask => ", or check without repairs (-n)",
    };
    let sentence = match error {
        CacheDirError::Missing(path) => format!(
            "{} does not exist: name the directory that was given to larder mount --cache-dir, or the default, ~/.cache/larder (as root /var/cache/larder)",
            path.display()
        ),
        CacheDirError::NotADirectory(path) => format!(
            "{} is not a directory: name the directory that contains index.larder",
            path.display()
        ),
        CacheDirError::NoCache(path) => format!(
            "{} does not contain a cache (no index.larder), and nothing was changed: name the directory that contains index.larder",
            path.display()
        ),
        CacheDirError::NoFile(path) => format!(
            "{} is not a regular file, so it does not belong to larder, and nothing was changed: move it away and run cachefsck again",
            path.display()
        ),
        CacheDirError::Link(path) => format!(
            "{} is a symbolic link, which larder does not follow, and nothing was touched: put the directory that it leads to in its place, or remove the link (the cache has then lost its chunks), and run this again. To keep the cache on another disk, move all of it there and mount with --cache-dir",
            path.display()
        ),
        CacheDirError::ForeignIndex(path) => format!(
            "{} is not a larder index (its first bytes are wrong), and no other file in the directory belongs to larder: nothing was changed",
            path.display()
        ),
        CacheDirError::Version { path, major, known } => format!(
            "{} has format version {major}, but this cachefsck supports only version {known}: use the cachefsck of the larder version that created the cache",
            path.display()
        ),
        CacheDirError::Features { path, bits } => format!(
            "{} uses features that this cachefsck does not know (incompatible bits {bits:#x}): use the cachefsck of a newer larder",
            path.display()
        ),
        CacheDirError::Owner { path, owner, uid } => format!(
            "{} belongs to user {owner}, but you are user {uid}: run cachefsck as that user{}",
            path.display(),
            if *uid == 0 { look } else { "" }
        ),
        CacheDirError::NetworkFs { path, fs } => format!(
            "{} is on a network or cluster file system ({fs}), where locks are not reliable: run cachefsck on the machine that has the disk{look}",
            path.display()
        ),
        CacheDirError::Locked { .. } => format!("{error}: unmount it first{look}"),
        other => other.to_string(),
    };
    let code = match error {
        damage if damage.is_damage() => exit::UNCORRECTED,
        CacheDirError::Dirty { .. } => exit::UNCORRECTED,
        _ => exit::OPERATIONAL,
    };
    Failure(code, sentence)
}
