//! Opening a cache directory: every reason to refuse is looked for before anything is touched.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::cache_dir::CacheDir;
use super::error::CacheDirError;
use super::host_identity::HostIdentity;
use super::lock::{LOCK_NAME, Lock, Taken};
use super::paths::{CHUNKS_NAME, INDEX_NAME};
use super::recover::settle;
use super::refuse::{foreign_name, network_fs};
use super::tree::dirty_files;
use crate::format::{FORMAT_MAJOR, FeatureVerdict, Geometry, SECTOR_LEN, Sector, Superblock};
use crate::units::shown;

/// What an index must be to be opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) enum Demand {
    /// As long as its superblock says. Where only the backup of that holds, both copies are written again.
    Whole,
    /// It has a superblock that holds: the checker finds the rest.
    Provable,
}

impl CacheDir {
    /// Opens the cache in `path` and locks it. Errors: see [`CacheDirError`].
    pub fn open(path: &Path) -> Result<Self, CacheDirError> {
        Self::open_locked(path, Demand::Whole)
    }

    /// Opens the cache in `path` for the checker and locks it. Nothing is written yet. An index of a wrong length is opened
    /// as well, and reads as zeros where it was cut; so is one of whose superblocks only the backup holds.
    ///
    /// Errors: see [`CacheDirError`]. [`CacheDirError::Superblock`] is for [`recreate`](crate::storage::recreate).
    pub fn open_for_repair(path: &Path) -> Result<Self, CacheDirError> {
        Self::open_locked(path, Demand::Provable)
    }

    /// As [`CacheDir::open_for_repair`], but without the lock, for looking only.
    pub fn open_for_check(path: &Path) -> Result<Self, CacheDirError> {
        let dir = open_dir(path)?;
        let host = HostIdentity::read(&dir);
        Self::build(path, dir, host, None, Demand::Provable)
    }

    fn open_locked(path: &Path, demand: Demand) -> Result<Self, CacheDirError> {
        let dir = open_own(path)?;
        if look(&dir, path, demand)?.is_none() {
            return Err(CacheDirError::NoCache(path.into()));
        }
        let (host, lock) = lock(&dir, path)?;
        settle(&dir, path).map_err(CacheDirError::io(
            "clean up after an interrupted resize in",
            path,
        ))?;
        Self::build(path, dir, host, Some(lock), demand)
    }

    /// Opens the cache in `path` for looking only, without its lock: beside a daemon that works on it, what is read may
    /// change between two reads. A user who may read the files may do so.
    pub fn open_unlocked(path: &Path) -> Result<Self, CacheDirError> {
        let dir = open_dir(path)?;
        let host = HostIdentity::read(&dir);
        Self::build(path, dir, host, None, Demand::Whole)
    }

    pub(in crate::storage) fn build(
        path: &Path,
        dir: File,
        host: HostIdentity,
        lock: Option<Lock>,
        demand: Demand,
    ) -> Result<Self, CacheDirError> {
        let looked = look(&dir, path, demand)?;
        let Looked {
            superblock,
            headless,
        } = looked.ok_or_else(|| CacheDirError::NoCache(path.into()))?;
        let frozen = !matches!(superblock.features.verdict(), FeatureVerdict::Full);
        let read_only = frozen || lock.is_none();
        let index = open_index(&dir, read_only)
            .map_err(CacheDirError::io("open", path.join(INDEX_NAME)))?
            .ok_or_else(|| CacheDirError::NoCache(path.into()))?;
        // A newer writer's reserved fields would be lost with the writing.
        if headless && !read_only && demand == Demand::Whole && superblock.may_be_rewritten() {
            restore_heads(&index, &superblock).map_err(CacheDirError::io(
                "write the superblock of",
                path.join(INDEX_NAME),
            ))?;
        }
        Ok(Self::from_parts(
            path, dir, index, superblock, read_only, host, lock,
        ))
    }
}

/// Both copies of the superblock, written again from the backup, which holds alone.
fn restore_heads(index: &File, superblock: &Superblock) -> io::Result<()> {
    for copy in [0, 1] {
        let next = superblock.next_for(copy);
        index.write_all_at(&next.encode(), next.offset())?;
    }
    index.sync_data()
}

/// A directory in which this user may work.
pub(in crate::storage) fn open_own(path: &Path) -> Result<File, CacheDirError> {
    let dir = open_dir(path)?;
    refuse_network(&dir, path)?;
    refuse_owner(&dir, path)?;
    Ok(dir)
}

pub(in crate::storage) fn open_dir(path: &Path) -> Result<File, CacheDirError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(dir) => Ok(File::from(dir)),
        Err(rustix::io::Errno::NOTDIR) => Err(CacheDirError::NotADirectory(path.into())),
        Err(rustix::io::Errno::NOENT) => Err(CacheDirError::Missing(path.into())),
        Err(error) => Err(CacheDirError::io("open", path)(error.into())),
    }
}

/// The directory `path`, or the nearest one above it that exists.
pub(in crate::storage) fn nearest(path: &Path) -> Result<File, CacheDirError> {
    let mut at = PathBuf::from(path);
    loop {
        match open_dir(if at.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &at
        }) {
            Err(CacheDirError::Missing(_)) if at.pop() => {}
            other => return other,
        }
    }
}

pub(in crate::storage) fn refuse_network(dir: &File, path: &Path) -> Result<(), CacheDirError> {
    match network_fs(dir).map_err(CacheDirError::io("determine the file system of", path))? {
        Some(fs) => Err(CacheDirError::NetworkFs {
            path: path.into(),
            fs,
        }),
        None => Ok(()),
    }
}

pub(in crate::storage) fn refuse_owner(dir: &File, path: &Path) -> Result<(), CacheDirError> {
    let owner = dir
        .metadata()
        .map_err(CacheDirError::io("stat", path))?
        .uid();
    let uid = rustix::process::geteuid().as_raw();
    if owner == uid {
        return Ok(());
    }
    Err(CacheDirError::Owner {
        path: path.into(),
        owner,
        uid,
    })
}

pub(in crate::storage) fn refuse_strangers(path: &Path) -> Result<(), CacheDirError> {
    let entries = std::fs::read_dir(path).map_err(CacheDirError::io("list", path))?;
    let names: Vec<String> = entries
        .map(|entry| entry.map(|entry| shown(&entry.file_name()).to_string()))
        .collect::<io::Result<_>>()
        .map_err(CacheDirError::io("list", path))?;
    match foreign_name(names.iter().map(String::as_str)) {
        Some(found) => Err(CacheDirError::NotACache {
            path: path.into(),
            found: found.to_owned(),
        }),
        None => Ok(()),
    }
}

pub(in crate::storage) fn lock(
    dir: &File,
    path: &Path,
) -> Result<(HostIdentity, Lock), CacheDirError> {
    let host = HostIdentity::read(dir);
    match Lock::take(dir, &host) {
        Ok(lock) => Ok((host, lock)),
        Err(Taken::By(holder)) => Err(CacheDirError::Locked {
            path: path.into(),
            holder,
        }),
        Err(Taken::Failed(error)) => Err(CacheDirError::io("lock", path.join(LOCK_NAME))(error)),
    }
}

fn open_index(dir: &File, read_only: bool) -> io::Result<Option<File>> {
    let access = if read_only {
        OFlags::RDONLY
    } else {
        OFlags::RDWR
    };
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let open = |flags| rustix::fs::openat(dir, INDEX_NAME, flags, Mode::empty());
    // Noting the time of a read can wait for a disk that hangs. Only an owner may leave it out.
    let opened = match open(flags | OFlags::NOATIME) {
        Err(rustix::io::Errno::PERM) => open(flags),
        other => other,
    };
    match opened {
        Ok(file) => Ok(Some(File::from(file))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a look at an index gives.
pub(in crate::storage) struct Looked {
    /// The superblock that holds.
    superblock: Superblock,
    /// It is the backup: neither copy at the head of the index holds.
    headless: bool,
}

/// Reads the index's superblock and judges it; `None` where there is no index. Touches nothing.
pub(in crate::storage) fn look(
    dir: &File,
    path: &Path,
    demand: Demand,
) -> Result<Option<Looked>, CacheDirError> {
    let index_path = path.join(INDEX_NAME);
    if kind(dir, LOCK_NAME).is_some_and(|kind| kind != FileType::RegularFile) {
        return Err(CacheDirError::NoFile(path.join(LOCK_NAME)));
    }
    let Some(index) = open_index(dir, true).map_err(CacheDirError::io("open", &index_path))? else {
        // Where a lock file is, a new index would take `chunks` for its own.
        if dir_holds(dir, LOCK_NAME) {
            refuse_link(dir, path)?;
        }
        return Ok(None);
    };
    let stat = index
        .metadata()
        .map_err(CacheDirError::io("stat", &index_path))?;
    if !stat.is_file() {
        return Err(CacheDirError::NoFile(index_path));
    }
    let read = |offset| {
        let mut sector = [0; SECTOR_LEN];
        // A shorter file leaves zeros, which are no superblock.
        match index.read_exact_at(&mut sector, offset) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                Err(CacheDirError::io("read", &index_path)(error))
            }
            _ => Ok(sector),
        }
    };
    let copies = [
        read(Geometry::superblock_offset(0))?,
        read(Geometry::superblock_offset(1))?,
    ];
    let backup_at = Geometry::backup_offset_in(stat.len());
    let backup = match backup_at {
        Some(offset) => Some((read(offset)?, offset)),
        None => None,
    };
    let ours = dir_holds(dir, LOCK_NAME) || dir_holds(dir, CHUNKS_NAME);
    let judged = judge(&copies, backup.as_ref(), ours, &index_path);
    if matches!(judged, Ok(_) | Err(CacheDirError::Superblock { .. })) {
        refuse_link(dir, path)?;
    }
    let superblock = judged.map_err(|error| with_dirty(error, path))?;
    let (actual, expected) = (stat.len(), superblock.geometry.index_len());
    if actual != expected && demand == Demand::Whole {
        return Err(CacheDirError::Length {
            path: index_path,
            actual,
            expected,
        });
    }
    let uid = rustix::process::geteuid().as_raw();
    // Root may look at any cache. Whether it may open one for work depends on the directory's owner (`refuse_owner`).
    if superblock.owner_uid != uid && uid != 0 {
        return Err(CacheDirError::Owner {
            path: index_path,
            owner: superblock.owner_uid,
            uid,
        });
    }
    let headless = Superblock::choose(&copies).is_err();
    Ok(Some(Looked {
        superblock,
        headless,
    }))
}

/// A lost superblock, with the files that stand in the way of a new one; those that cannot be counted are reported later.
fn with_dirty(error: CacheDirError, top: &Path) -> CacheDirError {
    match error {
        CacheDirError::Superblock { path, error, .. } => CacheDirError::Superblock {
            path,
            dirty: dirty_files(top).map_or(0, |files| files.len()),
            error,
        },
        other => other,
    }
}

fn refuse_link(dir: &File, path: &Path) -> Result<(), CacheDirError> {
    match kind(dir, CHUNKS_NAME) {
        Some(FileType::Symlink) => Err(CacheDirError::Link(path.join(CHUNKS_NAME))),
        _ => Ok(()),
    }
}

/// What lies in the directory under this name, if anything does.
fn kind(dir: &File, name: &str) -> Option<FileType> {
    let found = rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    found
        .ok()
        .map(|found| FileType::from_raw_mode(found.st_mode))
}

fn dir_holds(dir: &File, name: &str) -> bool {
    kind(dir, name).is_some()
}

/// What the superblock's sectors say. `ours` says whether the directory looks like larder's work otherwise.
fn judge(
    copies: &[Sector; 2],
    backup: Option<&(Sector, u64)>,
    ours: bool,
    path: &Path,
) -> Result<Superblock, CacheDirError> {
    let claimed = copies.iter().find_map(Superblock::claimed_major);
    let backup = backup.map(|(sector, offset)| (sector, *offset));
    let foreign = Superblock::foreign_major(copies, backup.map(|(sector, _)| sector));
    let chosen = Superblock::choose_or_backup(copies, backup);
    let superblock = chosen.map_err(|error| match foreign.or(claimed) {
        Some(major) if major != FORMAT_MAJOR => CacheDirError::Version {
            path: path.into(),
            major,
            known: FORMAT_MAJOR,
        },
        None if !ours => CacheDirError::ForeignIndex(path.into()),
        _ => CacheDirError::Superblock {
            path: path.into(),
            dirty: 0,
            error,
        },
    })?;
    match superblock.features.verdict() {
        FeatureVerdict::Refused(bits) => Err(CacheDirError::Features {
            path: path.into(),
            bits,
        }),
        _ => Ok(superblock),
    }
}
