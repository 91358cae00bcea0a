//! Opening the cache for a check, and the sentences for why it is not.
//!
//! `storage` names the ways out of somebody who mounts; those of somebody who checks are others.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::Failure;
use super::options::Mode;
use crate::check::exit;
use crate::format::FeatureVerdict;
use crate::storage::{CacheDir, CacheDirError, Holder, read_holder};

const LOCK_NAME: &str = "LOCK";

/// A cache that can be checked.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) cache: CacheDir,
    /// Why nothing can be written although something shall be.
    pub(super) frozen: Option<String>,
    /// The lock where the disk does not let the cache itself take it.
    _lock: Option<File>,
}

/// Opens the cache; with its lock, unless it is only looked at.
pub(super) fn open(path: &Path, mode: Mode) -> Result<Opened, Failure> {
    let told = |error| failure(&error, mode);
    if mode == Mode::Look {
        let cache = CacheDir::open_unlocked(path).map_err(told)?;
        return Ok(Opened {
            cache,
            frozen: None,
            _lock: None,
        });
    }
    match CacheDir::open(path) {
        Ok(cache) => {
            let whole = matches!(cache.superblock().features.verdict(), FeatureVerdict::Full);
            let why = "it has features that this cachefsck can read but not change; use that of the larder that made it";
            Ok(Opened {
                cache,
                frozen: (!whole).then(|| why.to_owned()),
                _lock: None,
            })
        }
        Err(CacheDirError::Io { error, .. })
            if error.kind() == io::ErrorKind::ReadOnlyFilesystem =>
        {
            open_frozen(path)
        }
        Err(error) => Err(told(error)),
    }
}

/// Who uses the cache now, where that can be told.
pub(super) fn holder(path: &Path) -> Option<Holder> {
    read_holder(path).ok().flatten()
}

/// Opens a cache on a read-only disk: a lock needs no writing, only its holder's name does.
fn open_frozen(path: &Path) -> Result<Opened, Failure> {
    let told = |error| failure(&error, Mode::Repair);
    let cache = CacheDir::open_unlocked(path).map_err(told)?;
    let lock = match File::open(path.join(LOCK_NAME)) {
        Ok(file) => Some(file),
        // Nobody who could write has ever opened it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(cannot_lock(path, &error)),
    };
    if let Some(file) = &lock {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(told(CacheDirError::Locked {
                    path: path.into(),
                    holder: holder(path).map(Box::new),
                }));
            }
            Err(error) => return Err(cannot_lock(path, &error.into())),
        }
    }
    let why =
        "the disk is mounted read-only; make it writable (mount -o remount,rw) and run this again";
    Ok(Opened {
        cache,
        frozen: Some(why.to_owned()),
        _lock: lock,
    })
}

fn cannot_lock(path: &Path, error: &io::Error) -> Failure {
    let lock = path.join(LOCK_NAME);
    Failure(
        exit::OPERATIONAL,
        format!("cannot lock {}: {error}; -n needs no lock", lock.display()),
    )
}

/// Why the cache is not opened, for somebody who wants it checked.
fn failure(error: &CacheDirError, mode: Mode) -> Failure {
    let look = match mode {
        Mode::Look => "",
        Mode::Repair | Mode::Ask => ", or only look with -n",
    };
    let sentence = match error {
        CacheDirError::Missing(path) => format!(
            "{} is not there: name the directory that larder mount --cache-dir named, or its own, ~/.cache/larder (as root /var/cache/larder)",
            path.display()
        ),
        CacheDirError::NotADirectory(path) => format!(
            "{} is not a directory: name the directory that holds index.larder",
            path.display()
        ),
        CacheDirError::NoCache(path) => format!(
            "{} holds no cache (there is no index.larder in it): nothing was touched",
            path.display()
        ),
        CacheDirError::ForeignIndex(path) => format!(
            "{} does not start as a larder index does, and nothing beside it is larder's: it is left alone",
            path.display()
        ),
        CacheDirError::Version { path, major, known } => format!(
            "{} has format version {major}, and this cachefsck knows only version {known}: use that of the larder that made it",
            path.display()
        ),
        CacheDirError::Features { path, bits } => format!(
            "{} uses features that this cachefsck does not know (incompatible bits {bits:#x}): use that of a newer larder",
            path.display()
        ),
        CacheDirError::Owner { path, owner, uid } => format!(
            "{} belongs to user {owner}, and you are user {uid}: run this as that user{}",
            path.display(),
            if *uid == 0 { look } else { "" }
        ),
        CacheDirError::NetworkFs { path, fs } => format!(
            "{} is on a network or cluster file system ({fs}), where locks cannot be relied on: run this where the disk is{look}",
            path.display()
        ),
        CacheDirError::Locked { .. } => format!("{error}: unmount it first{look}"),
        other => other.to_string(),
    };
    let code = match error.is_damage() {
        true => exit::UNCORRECTED,
        false => exit::OPERATIONAL,
    };
    Failure(code, sentence)
}
