//! An open cache directory.
//!
//! Invariants:
//!
//! * Every path is reached from the directory's own descriptor, so that a directory that is renamed or mounted over
//!   while the cache is open stays the one that was locked.
//! * No file is ever mapped: a disk error is an error value, never a signal.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::descriptors::{Descriptors, raise_descriptor_limit};
use super::host_identity::HostIdentity;
use super::lock::{IndexMark, Lock};
use super::nowait::NoWait;
use super::paths::{CHUNKS_NAME, chunk_path};
use super::preallocation::preallocates;
use super::recover::{chunks_name, is_unsettled};
use crate::format::Superblock;
use crate::units::SlotId;

/// A cache directory that is open; its lock is held until this is dropped.
#[derive(Debug)]
pub struct CacheDir {
    path: PathBuf,
    dir: File,
    pub(super) index: File,
    /// The name of the directory of the chunk files.
    chunks: &'static str,
    superblock: Superblock,
    pub(super) read_only: bool,
    /// The index is shorter than its geometry says, and was opened to be checked all the same.
    pub(super) cut: bool,
    pub(super) host: HostIdentity,
    pub(super) lock: Option<Lock>,
    pub(super) files: Descriptors,
    pub(super) nowait: NoWait,
    /// A write beyond the end of a file takes more space than it was given.
    pub(super) preallocates: bool,
    /// The index was not touched since it was sealed.
    pub(super) sealed: bool,
}

impl CacheDir {
    /// Raises the process's soft limit on open files to its hard limit.
    pub(super) fn from_parts(
        path: &Path,
        dir: File,
        index: File,
        superblock: Superblock,
        read_only: bool,
        host: HostIdentity,
        lock: Option<Lock>,
    ) -> Self {
        let files = Descriptors::new(raise_descriptor_limit().chunks);
        let nowait = NoWait::default();
        // With the lock held, what an interrupted resize left was settled.
        let chunks = if lock.is_some() {
            CHUNKS_NAME
        } else {
            chunks_name(&dir)
        };
        let path = path.into();
        let preallocates = preallocates(&dir);
        let left = lock.as_ref().and_then(|lock| lock.left);
        let sealed = left.is_some_and(|left| IndexMark::of(&index).is_ok_and(|is| is == left));
        let whole = superblock.geometry.index_len();
        let cut = index.metadata().is_ok_and(|index| index.len() < whole);
        // Whether this file system can read without waiting is known before the first reader asks: on one that cannot,
        // no reader's thread opens files either.
        drop(nowait.read(&index, 0, &mut [0]));
        Self {
            path,
            dir,
            index,
            chunks,
            superblock,
            read_only,
            cut,
            host,
            lock,
            files,
            nowait,
            preallocates,
            sealed,
        }
    }

    /// The directory, as it was named at opening.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The superblock, as it was at opening: capacity, geometry and uuid are the cache's own.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Whether nothing may be written: the cache was opened for looking, or it has features that this larder can read
    /// but not write. Every write then errs with `EROFS`.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// The machine's identity, as it was at opening, under the number of the calling process.
    pub fn host(&self) -> HostIdentity {
        HostIdentity {
            pid: std::process::id(),
            ..self.host
        }
    }

    /// Writes to the lock file which mount points this process serves. It is to be called again after a fork, since the
    /// process id stands there as well.
    pub fn set_mounts(&self, mounts: &[PathBuf]) -> io::Result<()> {
        match &self.lock {
            Some(lock) => lock.write(&self.host, mounts, None),
            None => Err(read_only()),
        }
    }

    /// Whether this holds the cache's lock, so that no other process changes it.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Cuts the index to this length, or writes zeros up to it.
    pub(super) fn make_index_long(&self, len: u64) -> io::Result<()> {
        self.may_write()?;
        let (mut at, zeros) = (self.index.metadata()?.len(), vec![0; 1 << 20]);
        if at > len {
            return self.index.set_len(len);
        }
        let (needed, free) = (len - at, free_bytes(&self.dir)?);
        if needed > free {
            return Err(io::Error::other(format!(
                "{needed} bytes are missing and the disk has {free} left; where the index never was that long, remove the cache directory and mount again"
            )));
        }
        while at < len {
            let wanted = usize::try_from(len - at).unwrap_or(zeros.len());
            let piece = zeros.get(..wanted).unwrap_or(&zeros);
            self.index.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Whether something was cut short, a resize for one, which the next one to open the cache with its lock finishes or
    /// takes back.
    pub fn is_unsettled(&self) -> bool {
        is_unsettled(&self.dir)
    }

    /// The directory's descriptor.
    pub(in crate::storage) fn dir(&self) -> &File {
        &self.dir
    }

    /// The path of a slot's file below the directory.
    pub(super) fn place(&self, slot: SlotId) -> String {
        let place = chunk_path(&self.superblock.geometry, slot);
        place.replacen(CHUNKS_NAME, self.chunks, 1)
    }

    /// The name of the directory of the chunk files: another one than usual while a resize is not finished and the lock
    /// is not held, with which it would have been finished.
    pub(super) fn chunks(&self) -> &'static str {
        self.chunks
    }

    pub(super) fn may_write(&self) -> io::Result<()> {
        if self.read_only {
            Err(read_only())
        } else {
            Ok(())
        }
    }
}

impl AsFd for CacheDir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

pub(super) fn read_only() -> io::Error {
    Errno::ROFS.into()
}

/// The bytes that the file system of `dir` has left for this user.
pub(in crate::storage) fn free_bytes(dir: &File) -> io::Result<u64> {
    let disk = rustix::fs::fstatvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
