//! Why a cache directory is not opened, each as a sentence that names the thing, the value and the way out.

use std::io;
use std::path::PathBuf;

use super::lock::Holder;
use crate::format::{GeometryError, SectorError};

/// Why a cache directory cannot be opened or made. Nothing was touched in the directory.
#[derive(Debug, thiserror::Error)]
pub enum CacheDirError {
    /// A system call failed.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is nothing of that name.
    #[error("{} does not exist: mount a remote with this --cache-dir to create a cache there", .0.display())]
    Missing(PathBuf),
    /// The path leads to something else.
    #[error("{} is not a directory: choose another --cache-dir", .0.display())]
    NotADirectory(PathBuf),
    /// A directory without an index, in use for something else.
    #[error(
        "{} is not a larder cache and is not empty (it contains {found:?}): choose an empty or a new directory as --cache-dir",
        path.display()
    )]
    NotACache {
        /// The directory.
        path: PathBuf,
        /// The first thing in it that larder did not make.
        found: String,
    },
    /// A directory without an index, where an existing cache is wanted.
    #[error("{} does not contain a cache (no index.larder)", .0.display())]
    NoCache(PathBuf),
    /// A file of the index's name that is no index.
    #[error(
        "{} is not a larder index (its first bytes are wrong), so larder does not touch it: move it away or choose another --cache-dir",
        .0.display()
    )]
    ForeignIndex(PathBuf),
    /// Something else has the place of the index or of the lock.
    #[error(
        "{} is not a regular file, so it does not belong to larder, and nothing was changed: move it away or choose another --cache-dir",
        .0.display()
    )]
    NoFile(PathBuf),
    /// The directory of the chunk files is a symbolic link: what lies behind it is not larder's to change.
    #[error(
        "{} is a symbolic link, which larder does not follow inside a cache directory: to keep the cache elsewhere, move the whole cache directory there and name it with --cache-dir",
        .0.display()
    )]
    Link(PathBuf),
    /// None of the three superblocks holds.
    #[error(
        "none of the three superblocks of {} is valid ({error}), so the cached data cannot be verified: cachefsck -y moves the old index to quarantine/ and starts an empty cache{}",
        path.display(),
        but_dirty(*dirty)
    )]
    Superblock {
        /// The index.
        path: PathBuf,
        /// How many files with bytes of users lie in `dirty`.
        dirty: usize,
        /// What is wrong with the first copy.
        error: SectorError,
    },
    /// A major version that this program does not know.
    #[error(
        "{} has format version {major}, but this larder supports only version {known}: use the version of larder that created it, or another --cache-dir",
        path.display()
    )]
    Version {
        /// The index.
        path: PathBuf,
        /// The version that it claims.
        major: u16,
        /// The version that this program writes.
        known: u16,
    },
    /// Unknown features without which the cache cannot be understood.
    #[error(
        "{} uses features that this larder does not know (incompatible bits {bits:#x}): use a newer larder, or another --cache-dir",
        path.display()
    )]
    Features {
        /// The index.
        path: PathBuf,
        /// The unknown bits.
        bits: u64,
    },
    /// Another user's cache or directory.
    #[error(
        "{} belongs to user {owner}, but you are user {uid}: choose another --cache-dir",
        path.display()
    )]
    Owner {
        /// What belongs to another user.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user of this process.
        uid: u32,
    },
    /// A network or cluster file system.
    #[error(
        "{} is on a network or cluster file system ({fs}), where locks and syncs are not reliable: choose a --cache-dir on a local disk",
        path.display()
    )]
    NetworkFs {
        /// The directory.
        path: PathBuf,
        /// The file system's name.
        fs: String,
    },
    /// The index has another length than its superblock says.
    #[error(
        "{} is {actual} bytes long, but its superblock says {expected}: another program truncated or extended it. Repair the cache with cachefsck -y",
        path.display()
    )]
    Length {
        /// The index.
        path: PathBuf,
        /// What the file has.
        actual: u64,
        /// What it should have.
        expected: u64,
    },
    /// A newer larder wrote it, and would lose what this one does not know.
    #[error("{} was written by a newer version of larder: use that version to change it", .0.display())]
    Newer(PathBuf),
    /// A cache that is to be made again has a superblock that holds.
    #[error("a superblock of {} is valid: cachefsck can repair the cache without starting an empty one", .0.display())]
    Sound(PathBuf),
    /// Bytes of a user would lose the cache that they belong to.
    #[error(
        "{} contains {files} files with user data that was never uploaded, and without the index larder cannot tell which remote files the data belongs to: copy them away, or give --discard-dirty",
        path.display()
    )]
    Dirty {
        /// The directory `dirty`.
        path: PathBuf,
        /// How many files.
        files: usize,
    },
    /// Another process uses it.
    #[error("{} is in use by {}", path.display(), holder.as_ref().map_or_else(|| "another process".to_owned(), |holder| holder.to_string()))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Which one, where the lock file says.
        holder: Option<Box<Holder>>,
    },
    /// A size or number of slots that cannot be.
    #[error("cannot create a cache with this geometry: {0}")]
    Geometry(#[from] GeometryError),
    /// An index that would eat the cache.
    #[error(
        "the index for this many --slots and --files would take {index} bytes, more than half of the cache size of {capacity} bytes: give smaller numbers or a larger --cache-size"
    )]
    IndexTooLarge {
        /// The bytes of the index.
        index: u64,
        /// The bytes of the cache.
        capacity: u64,
    },
    /// The disk cannot hold the index.
    #[error(
        "the index needs {needed} bytes, but only {free} are free at {}: free some space or give a smaller --cache-size",
        path.display()
    )]
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// The bytes of the index.
        needed: u64,
        /// The bytes free.
        free: u64,
    },
}

/// What stands in the way of an empty cache, if anything does.
fn but_dirty(files: usize) -> String {
    match files {
        0 => String::new(),
        files => format!(
            ". It does so only with --discard-dirty, because dirty/ contains {files} files with user data that was never uploaded: copy them away first"
        ),
    }
}

impl CacheDirError {
    /// An I/O error with what was tried.
    pub(in crate::storage) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { doing, path, error }
    }

    /// Whether this is a cache that is damaged, rather than something that is no cache or not to be had now.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Superblock { .. } | Self::Length { .. })
    }
}
