//! A new cache: its directory and its index.
//!
//! The index is written in full under another name, synced and renamed: a cut in between leaves no half cache, and no later
//! write to it has to allocate, so that a full disk cannot stop the index. All three copies of the superblock are in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags};

use crate::format::{FORMAT_MINOR, Features, Geometry, GeometryError, Superblock};
use crate::storage::dir::{
    CacheDir, CacheDirError, Demand, INDEX_NAME, INDEX_NEW_NAME, for_chunks, free_bytes, lock,
    look, nearest, open_dir, refuse_network, refuse_owner, refuse_strangers, remove_unfinished,
    settle,
};
use crate::units::Uuid;

/// The zeros are written in pieces of this size, which are also the steps of the progress.
const PIECE: usize = 4 << 20;

/// What a new cache shall be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreateOptions {
    /// The size limit in bytes, index included.
    pub capacity: u64,
    /// How many chunk slots; `None` for as many as suit the size.
    pub slots: Option<u64>,
    /// How many files the cache can know; `None` for as many as suit the size.
    pub files: Option<u64>,
}

/// How far the writing of the index has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The bytes written.
    pub done: u64,
    /// The bytes in all.
    pub total: u64,
}

impl CreateOptions {
    /// The geometry of the cache. Errors where it cannot be, or where the index would eat the cache.
    pub(super) fn geometry(&self) -> Result<Geometry, CacheDirError> {
        let geometry = Geometry::for_capacity(self.capacity, self.slots, self.files)
            .map_err(|error: GeometryError| CacheDirError::Geometry(error))?;
        let index = geometry.index_len();
        if index > self.capacity / 2 {
            return Err(CacheDirError::IndexTooLarge {
                index,
                capacity: self.capacity,
            });
        }
        Ok(geometry)
    }
}

/// Opens the cache in `path` and locks it, making directory and index where there are none. An existing cache keeps
/// its own capacity and geometry (see [`CacheDir::superblock`]). `progress` is called while a new index is
/// written.
///
/// Errors: see [`CacheDirError`]; in a directory that is refused nothing was touched.
pub fn open_or_create(
    path: &Path,
    options: &CreateOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<CacheDir, CacheDirError> {
    refuse_network(&nearest(path)?, path)?;
    if !path.exists() {
        options.geometry()?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(CacheDirError::io("create the directory", path))?;
    }
    let dir = open_dir(path)?;
    refuse_owner(&dir, path)?;
    if look(&dir, path, Demand::Whole)?.is_none() {
        options.geometry()?;
        refuse_strangers(path)?;
    }
    let (host, lock) = lock(&dir, path)?;
    settle(&dir, path).map_err(CacheDirError::io(
        "clean up after an interrupted resize in",
        path,
    ))?;
    // Another process may have made the cache while this one waited for the lock.
    if look(&dir, path, Demand::Whole)?.is_none() {
        dir.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .map_err(CacheDirError::io("set the permissions of", path))?;
        // Chunk files of an index that is gone: no other one can prove what is in them, and none would count them.
        for_chunks(path, &mut |file, _| std::fs::remove_file(path.join(file)))
            .map_err(CacheDirError::io("remove the chunk files of", path))?;
        create_index(&dir, path, options, progress)?;
    }
    CacheDir::build(path, dir, host, Some(lock), Demand::Whole)
}

/// Writes the index of a new cache into the directory `dir`, whose lock is held.
pub(super) fn create_index(
    dir: &File,
    path: &Path,
    options: &CreateOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), CacheDirError> {
    let geometry = options.geometry()?;
    let result = write_index(dir, geometry, options.capacity, progress);
    if let Err(error) = result {
        // The next open removes what cannot be removed now.
        drop(remove_unfinished(dir));
        return Err(not_written(dir, path, geometry, error));
    }
    Ok(())
}

/// Why an index of this geometry was not written.
pub(super) fn not_written(
    dir: &File,
    path: &Path,
    geometry: Geometry,
    error: io::Error,
) -> CacheDirError {
    let free = free_bytes(dir).unwrap_or_default();
    match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::NOSPC.raw_os_error() => CacheDirError::NoSpace {
            path: PathBuf::from(path),
            needed: geometry.index_len(),
            free,
        },
        _ => CacheDirError::io("write the index", path.join(INDEX_NAME))(error),
    }
}

/// Makes a file of zeros under the new index's name, `total` bytes long and with all of them allocated.
pub(super) fn blank_index(
    dir: &File,
    total: u64,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = File::from(rustix::fs::openat(dir, INDEX_NEW_NAME, flags, mode)?);
    // Nothing is allocated on a disk that is too small for the index: until the allocation failed, other programs would
    // find no space there.
    if free_bytes(dir)? < total {
        return Err(rustix::io::Errno::NOSPC.into());
    }
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, total) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    let zeros = vec![0; PIECE];
    let mut done = 0;
    while done < total {
        let len = usize::try_from(total - done).unwrap_or(PIECE).min(PIECE);
        file.write_all_at(zeros.get(..len).unwrap_or(&zeros), done)?;
        done += len as u64;
        progress(Progress { done, total });
    }
    Ok(file)
}

fn write_index(
    dir: &File,
    geometry: Geometry,
    capacity: u64,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<()> {
    let file = blank_index(dir, geometry.index_len(), progress)?;
    let stat = rustix::fs::fstat(&file)?;
    let first = Superblock {
        minor: FORMAT_MINOR,
        uuid: fresh_uuid()?,
        sequence: 0,
        features: Features::default(),
        geometry,
        owner_uid: stat.st_uid,
        capacity,
        // The disk's own clock serves: the moment of the last zero.
        created_at: u64::try_from(stat.st_mtime).unwrap_or_default(),
    };
    for superblock in [
        first,
        Superblock {
            sequence: 1,
            ..first
        },
    ] {
        file.write_all_at(&superblock.encode(), superblock.offset())?;
        file.write_all_at(&superblock.encode_backup(), geometry.backup_offset())?;
    }
    file.sync_all()?;
    rustix::fs::renameat(dir, INDEX_NEW_NAME, dir, INDEX_NAME)?;
    dir.sync_all()
}

fn fresh_uuid() -> io::Result<Uuid> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact_at(&mut bytes, 0)?;
    Ok(Uuid(bytes))
}
