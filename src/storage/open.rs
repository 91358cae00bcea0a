//! Opening a cache directory: every reason to refuse is looked for before anything is touched.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::create::{CreateOptions, Progress, create_index, remove_leftover};
use super::dir::CacheDir;
use super::error::CacheDirError;
use super::host::HostIdentity;
use super::layout::{CHUNKS_NAME, INDEX_NAME};
use super::lock::{LOCK_NAME, Lock, Taken};
use super::refuse::{foreign_name, network_fs};
use crate::format::{FORMAT_MAJOR, FeatureVerdict, Geometry, SECTOR_LEN, Superblock};

impl CacheDir {
    /// Opens the cache in `path` and locks it, making directory and index where there are none. An existing cache keeps
    /// its own capacity and geometry ([`CacheDir::superblock`] tells). `progress` is called while a new index is
    /// written.
    ///
    /// Errors: see [`CacheDirError`]; in a directory that is refused nothing was touched.
    pub fn open_or_create(
        path: &Path,
        options: &CreateOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, CacheDirError> {
        refuse_network(&nearest(path)?, path)?;
        if !path.exists() {
            options.geometry()?;
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(CacheDirError::io("make the directory", path))?;
        }
        let dir = open_dir(path)?;
        refuse_owner(&dir, path)?;
        if look(&dir, path)?.is_none() {
            options.geometry()?;
            refuse_strangers(path)?;
        }
        let (host, lock) = lock(&dir, path)?;
        remove_leftover(&dir).map_err(CacheDirError::io("remove an unfinished index in", path))?;
        // Another process may have made the cache while this one waited for the lock.
        if look(&dir, path)?.is_none() {
            dir.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .map_err(CacheDirError::io("set the permissions of", path))?;
            create_index(&dir, path, options, progress)?;
        }
        Self::build(path, dir, host, Some(lock))
    }

    /// Opens the cache in `path` and locks it. Errors: see [`CacheDirError`].
    pub fn open(path: &Path) -> Result<Self, CacheDirError> {
        let dir = open_dir(path)?;
        refuse_network(&dir, path)?;
        refuse_owner(&dir, path)?;
        if look(&dir, path)?.is_none() {
            return Err(CacheDirError::NoCache(path.into()));
        }
        let (host, lock) = lock(&dir, path)?;
        remove_leftover(&dir).map_err(CacheDirError::io("remove an unfinished index in", path))?;
        Self::build(path, dir, host, Some(lock))
    }

    /// Opens the cache in `path` for looking only, without its lock: beside a daemon that works on it, what is read may
    /// change between two reads. Whoever may read the files may do so.
    pub fn open_unlocked(path: &Path) -> Result<Self, CacheDirError> {
        let dir = open_dir(path)?;
        let host = HostIdentity::read(&dir);
        Self::build(path, dir, host, None)
    }

    fn build(
        path: &Path,
        dir: File,
        host: HostIdentity,
        lock: Option<Lock>,
    ) -> Result<Self, CacheDirError> {
        let superblock = look(&dir, path)?.ok_or_else(|| CacheDirError::NoCache(path.into()))?;
        let frozen = !matches!(superblock.features.verdict(), FeatureVerdict::Full);
        let read_only = frozen || lock.is_none();
        let index = open_index(&dir, read_only)
            .map_err(CacheDirError::io("open", path.join(INDEX_NAME)))?
            .ok_or_else(|| CacheDirError::NoCache(path.into()))?;
        Ok(Self::from_parts(
            path, dir, index, superblock, read_only, host, lock,
        ))
    }
}

fn open_dir(path: &Path) -> Result<File, CacheDirError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(dir) => Ok(File::from(dir)),
        Err(rustix::io::Errno::NOTDIR) => Err(CacheDirError::NotADirectory(path.into())),
        Err(rustix::io::Errno::NOENT) => Err(CacheDirError::Missing(path.into())),
        Err(error) => Err(CacheDirError::io("open", path)(error.into())),
    }
}

/// The directory `path`, or the nearest one above it that exists.
fn nearest(path: &Path) -> Result<File, CacheDirError> {
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

fn refuse_network(dir: &File, path: &Path) -> Result<(), CacheDirError> {
    match network_fs(dir).map_err(CacheDirError::io("ask for the file system of", path))? {
        Some(fs) => Err(CacheDirError::NetworkFs {
            path: path.into(),
            fs,
        }),
        None => Ok(()),
    }
}

fn refuse_owner(dir: &File, path: &Path) -> Result<(), CacheDirError> {
    let owner = dir
        .metadata()
        .map_err(CacheDirError::io("stat", path))?
        .uid();
    let uid = rustix::process::geteuid().as_raw();
    match owner == uid {
        true => Ok(()),
        false => Err(CacheDirError::Owner {
            path: path.into(),
            owner,
            uid,
        }),
    }
}

fn refuse_strangers(path: &Path) -> Result<(), CacheDirError> {
    let entries = std::fs::read_dir(path).map_err(CacheDirError::io("list", path))?;
    let names: Vec<String> = entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
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

fn lock(dir: &File, path: &Path) -> Result<(HostIdentity, Lock), CacheDirError> {
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
    match rustix::fs::openat(dir, INDEX_NAME, flags, Mode::empty()) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads the index's superblock and judges it; `None` where there is no index. Touches nothing.
fn look(dir: &File, path: &Path) -> Result<Option<Superblock>, CacheDirError> {
    let index_path = path.join(INDEX_NAME);
    let Some(index) = open_index(dir, true).map_err(CacheDirError::io("open", &index_path))? else {
        return Ok(None);
    };
    let stat = index
        .metadata()
        .map_err(CacheDirError::io("stat", &index_path))?;
    if !stat.is_file() {
        return Err(CacheDirError::ForeignIndex(index_path));
    }
    let mut copies = [[0; SECTOR_LEN]; 2];
    for (copy, sector) in (0..).zip(&mut copies) {
        // A shorter file leaves zeros, which are no superblock.
        match index.read_exact_at(sector, Geometry::superblock_offset(copy)) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(CacheDirError::io("read", &index_path)(error));
            }
            _ => {}
        }
    }
    let ours = dir_holds(dir, LOCK_NAME) || dir_holds(dir, CHUNKS_NAME);
    let superblock = judge(&copies, ours, &index_path)?;
    let (actual, expected) = (stat.len(), superblock.geometry.index_len());
    if actual != expected {
        return Err(CacheDirError::Length {
            path: index_path,
            actual,
            expected,
        });
    }
    let uid = rustix::process::geteuid().as_raw();
    // Root may look at anything; what it may open for work is asked of the directory's owner.
    if superblock.owner_uid != uid && uid != 0 {
        return Err(CacheDirError::Owner {
            path: index_path,
            owner: superblock.owner_uid,
            uid,
        });
    }
    Ok(Some(superblock))
}

fn dir_holds(dir: &File, name: &str) -> bool {
    rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// What two superblock sectors say. `ours` tells whether the directory looks like larder's work otherwise.
fn judge(
    copies: &[[u8; SECTOR_LEN]; 2],
    ours: bool,
    path: &Path,
) -> Result<Superblock, CacheDirError> {
    let claimed = copies.iter().filter_map(Superblock::claimed_major).max();
    let superblock = Superblock::choose(copies).map_err(|error| match claimed {
        Some(major) if major != FORMAT_MAJOR => CacheDirError::Version {
            path: path.into(),
            major,
            known: FORMAT_MAJOR,
        },
        None if !ours => CacheDirError::ForeignIndex(path.into()),
        _ => CacheDirError::Superblock {
            path: path.into(),
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
