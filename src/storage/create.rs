//! Writing a new index.
//!
//! It is written in full under another name, synced and renamed: a cut in between leaves no half cache, and no later
//! write to it has to allocate, so that a full disk cannot stop the index. All three copies of the superblock are in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags};

use super::error::CacheDirError;
use super::layout::{INDEX_NAME, INDEX_NEW_NAME};
use crate::format::{FORMAT_MINOR, Features, Geometry, GeometryError, Superblock};
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
    let free = rustix::fs::fstatvfs(dir).map_or(0, |v| v.f_bavail.saturating_mul(v.f_frsize));
    match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::NOSPC.raw_os_error() => CacheDirError::NoSpace {
            path: PathBuf::from(path),
            needed: geometry.index_len(),
            free,
        },
        _ => CacheDirError::io("write the index", path.join(INDEX_NAME))(error),
    }
}

/// Removes an index that was not finished.
pub(super) fn remove_unfinished(dir: &File) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, INDEX_NEW_NAME, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
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
    // A disk that cannot take the index is not asked to: until it says no, everybody else on it would run out of space.
    let disk = rustix::fs::fstatvfs(dir)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < total {
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
