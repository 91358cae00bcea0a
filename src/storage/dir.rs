//! The real disk: a cache directory.
//!
//! Invariants:
//!
//! * Every path is reached from the directory's own descriptor, so that a directory that is renamed or mounted over
//!   while the cache is open stays the one that was locked.
//! * No file is ever mapped: a disk error is an error value, never a signal.
//! * Chunk descriptors are `FADV_RANDOM`, so that the kernel brings in no block that was not asked for: verified means
//!   "in the page cache since it was checked".
//! * No lock is held over a system call.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, AtFlags, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::below::{open_below, open_below_now};
use super::descriptors::{Descriptors, patiently, raise_descriptor_limit};
use super::host::HostIdentity;
use super::in_memory::is_in_memory;
use super::layout::{CHUNKS_NAME, chunk_path, parents};
use super::lock::{IndexMark, Lock};
use super::preallocation::preallocates;
use super::resize::chunks_name;
use super::thread_io::blocks_read;
use super::{ChunkFile, Extent, NowRead, Space, Storage};
use crate::format::Superblock;
use crate::units::SlotId;

const STAT_BLOCK: u64 = 512;

/// A cache directory that is open; its lock is held until this is dropped.
#[derive(Debug)]
pub struct CacheDir {
    path: PathBuf,
    dir: File,
    index: File,
    /// The name of the directory of the chunk files.
    chunks: &'static str,
    superblock: Superblock,
    read_only: bool,
    /// The index is shorter than its geometry says, and was opened to be checked all the same.
    cut: bool,
    host: HostIdentity,
    lock: Option<Lock>,
    files: Descriptors,
    /// Set once the file system said that it cannot read without waiting, so that it is not asked for ever.
    always_waits: AtomicBool,
    /// A write beyond the end of a file takes more space than it was given.
    preallocates: bool,
    /// Nobody has touched the index since it was sealed.
    sealed: bool,
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
        let always_waits = AtomicBool::new(false);
        // With the lock held, what an interrupted resize left was settled.
        let chunks = match lock {
            Some(_) => CHUNKS_NAME,
            None => chunks_name(&dir),
        };
        let path = path.into();
        let preallocates = preallocates(&dir);
        let left = lock.as_ref().and_then(|lock| lock.left);
        let sealed = left.is_some_and(|left| IndexMark::of(&index).is_ok_and(|is| is == left));
        let whole = superblock.geometry.index_len();
        let cut = index.metadata().is_ok_and(|index| index.len() < whole);
        let opened = Self {
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
            always_waits,
            preallocates,
            sealed,
        };
        // Whether this file system can read without waiting is known before the first reader asks: one that cannot is not
        // to be asked to open files on a reader's thread either.
        drop(opened.read_now(&opened.index, 0, &mut [0]));
        opened
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

    /// The machine's identity, as it was at opening, under the process that asks.
    pub fn host(&self) -> HostIdentity {
        HostIdentity {
            pid: std::process::id(),
            ..self.host
        }
    }

    /// Tells in the lock file which mount points this process serves. It is to be called again after a fork, since the
    /// process id is told as well.
    pub fn set_mounts(&self, mounts: &[PathBuf]) -> io::Result<()> {
        match &self.lock {
            Some(lock) => lock.write(&self.host, mounts, None),
            None => Err(read_only()),
        }
    }

    /// Whether this holds the cache's lock, so that nobody else changes it.
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
        let (needed, free) = (len - at, self.space()?.free_bytes);
        if needed > free {
            return Err(io::Error::other(format!(
                "{needed} bytes are missing and the disk has {free} left; where the index never was that long, remove the cache directory and mount again"
            )));
        }
        while let Some(piece) = zeros.get(
            ..usize::try_from(len - at)
                .unwrap_or(zeros.len())
                .min(zeros.len()),
        ) && !piece.is_empty()
        {
            self.index.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// The directory's descriptor.
    pub(super) fn dir(&self) -> &File {
        &self.dir
    }

    /// The path of a slot's file below the directory.
    pub(super) fn place(&self, slot: SlotId) -> String {
        let place = chunk_path(&self.superblock.geometry, slot);
        place.replacen(CHUNKS_NAME, self.chunks, 1)
    }

    /// The name of the directory of the chunk files: another one than usual while a resize is not finished and nobody
    /// holds the lock who could.
    pub(super) fn chunks(&self) -> &'static str {
        self.chunks
    }

    /// Opens a chunk file. Short of descriptors, it gives up cached ones, and waits.
    pub(super) fn open_chunk(&self, path: &str, flags: OFlags) -> io::Result<File> {
        // The time of a read is of no use, and noting it can wait for a disk that hangs. Only an owner may leave it out.
        let open = || match open_below(&self.dir, path, flags | OFlags::NOATIME) {
            Err(Errno::PERM) => open_below(&self.dir, path, flags),
            other => other,
        };
        let file = patiently(|| self.files.shrink(), open)?;
        // A file system without advice reads ahead at worst.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Random);
        Ok(file)
    }

    /// The open file of a slot in this tenancy; `None` where it does not exist.
    fn existing(&self, file: ChunkFile) -> io::Result<Option<Arc<File>>> {
        if let Some(open) = self.files.get(file) {
            return Ok(Some(open));
        }
        let place = self.place(file.slot);
        let opened = match self.read_only {
            true => self.open_chunk(&place, OFlags::RDONLY),
            false => self.open_chunk(&place, OFlags::RDWR),
        };
        match opened {
            Ok(open) if self.read_only || !is_shared(&open)? => Ok(Some(self.keep(file, open))),
            // A write must not find it open.
            Ok(open) => Ok(Some(Arc::new(open))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if !self.read_only && is_refused_writing(&error) => {
                let open = self.open_chunk(&place, OFlags::RDONLY)?;
                Ok(Some(Arc::new(open)))
            }
            Err(error) => Err(error),
        }
    }

    /// The open file of a slot in this tenancy, if it can be had without waiting. `Err` says what the reader is told.
    fn existing_now(&self, file: ChunkFile) -> Result<Arc<File>, NowRead> {
        if self.always_waits.load(Ordering::Relaxed) {
            return Err(NowRead::Unsupported);
        }
        if let Some(open) = self.files.get(file) {
            return Ok(open);
        }
        let access = match self.read_only {
            true => OFlags::RDONLY,
            false => OFlags::RDWR,
        };
        let flags = access | OFlags::NOATIME;
        let open = match open_below_now(&self.dir, &self.place(file.slot), flags) {
            Ok(open) => open,
            Err(Errno::NOENT) => return Err(NowRead::Bytes(0)),
            // Whatever the matter is, a thread of the disk pool finds it out.
            Err(_) => return Err(NowRead::Refused),
        };
        let _ = rustix::fs::fadvise(&open, 0, None, Advice::Random);
        match self.read_only || is_shared(&open).is_ok_and(|shared| !shared) {
            true => Ok(self.keep(file, open)),
            false => Ok(Arc::new(open)),
        }
    }

    /// The open file of a slot in this tenancy, made where it does not exist, with the directories above it. A file that
    /// has a second name (a backup made with hard links) is left to it: what this tenancy had in it is a miss from now on.
    fn existing_or_new(&self, file: ChunkFile) -> io::Result<Arc<File>> {
        if let Some(open) = self.files.get(file) {
            return Ok(open);
        }
        let path = self.place(file.slot);
        let flags = OFlags::RDWR | OFlags::CREATE;
        let mut open = match self.open_chunk(&path, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                for parent in parents(&path) {
                    match rustix::fs::mkdirat(&self.dir, parent, Mode::RWXU) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                self.open_chunk(&path, flags)
            }
            other => other,
        }?;
        if is_shared(&open)? {
            self.unlink(&path)?;
            open = self.open_chunk(&path, flags)?;
        }
        Ok(self.keep(file, open))
    }

    /// Removes a file below the directory, through no link.
    fn unlink(&self, path: &str) -> Result<(), Errno> {
        let Some((parent, name)) = path.rsplit_once('/') else {
            return rustix::fs::unlinkat(&self.dir, path, AtFlags::empty());
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let open = || open_below(&self.dir, parent, flags);
        let parent = patiently(|| self.files.shrink(), open)?;
        rustix::fs::unlinkat(parent, name, AtFlags::empty())
    }

    fn keep(&self, file: ChunkFile, open: File) -> Arc<File> {
        let open = Arc::new(open);
        self.files.insert(file, Arc::clone(&open));
        open
    }

    fn read_now(&self, file: &File, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        if self.always_waits.load(Ordering::Relaxed) {
            return Ok(NowRead::Unsupported);
        }
        // The read itself would begin to bring in what is missing, and wait for that where the disk hangs.
        if is_in_memory(file, offset, buf.len()) == Some(false) {
            return Ok(NowRead::Refused);
        }
        loop {
            let flags = ReadWriteFlags::NOWAIT;
            let before = blocks_read();
            match rustix::io::preadv2(file, &mut [IoSliceMut::new(buf)], offset, flags) {
                // It found nothing in memory, but the disk was quick: these bytes were not there before.
                Ok(_) if blocks_read() != before => return Ok(NowRead::Refused),
                Ok(len) => return Ok(NowRead::Bytes(len)),
                Err(Errno::AGAIN) => return Ok(NowRead::Refused),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.always_waits.store(true, Ordering::Relaxed);
                    return Ok(NowRead::Unsupported);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn may_write(&self) -> io::Result<()> {
        if self.read_only {
            Err(read_only())
        } else {
            Ok(())
        }
    }

    /// Reads and writes of the index lie within it, so that nothing can make it grow.
    fn within_index(&self, offset: u64, len: usize) -> io::Result<()> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.superblock.geometry.index_len() => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{len} bytes at offset {offset} are outside the index"),
            )),
        }
    }
}

/// The bytes that a file takes on disk.
fn allocated(file: &File) -> io::Result<u64> {
    let blocks = rustix::fs::fstat(file)?.st_blocks;
    Ok(u64::try_from(blocks).unwrap_or_default() * STAT_BLOCK)
}

impl AsFd for CacheDir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl Storage for CacheDir {
    fn index_len(&self) -> io::Result<u64> {
        Ok(self.index.metadata()?.len())
    }

    /// Behind the end of an index that was cut there are zeros, as there will be once it is mended.
    fn read_index(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if !self.cut {
            return self.index.read_exact_at(buf, offset);
        }
        let done = read_up_to(&self.index, offset, buf)?;
        buf.get_mut(done..).unwrap_or_default().fill(0);
        Ok(())
    }

    fn read_index_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        self.read_now(&self.index, offset, buf)
    }

    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.may_write()?;
        self.within_index(offset, data.len())?;
        self.index.write_all_at(data, offset)
    }

    fn sync_index(&self) -> io::Result<()> {
        self.index.sync_data()
    }

    fn read_chunk(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match self.existing(file)? {
            Some(open) => read_up_to(&open, offset, buf),
            None => Ok(0),
        }
    }

    fn read_chunk_now(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        match self.existing_now(file) {
            Ok(open) => self.read_now(&open, offset, buf),
            Err(answer) => Ok(answer),
        }
    }

    fn read_chunk_held(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        match self.files.get(file) {
            Some(open) if is_in_memory(&*open, offset, buf.len()) == Some(true) => {
                self.read_now(&open, offset, buf)
            }
            _ => Ok(NowRead::Refused),
        }
    }

    fn read_chunk_cold(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.read_direct(file, offset, buf)
    }

    fn lend(&self, file: ChunkFile) -> io::Result<OwnedFd> {
        self.lend_chunk(file)
    }

    fn write_chunk(&self, file: ChunkFile, offset: u64, data: &[u8]) -> io::Result<u64> {
        self.may_write()?;
        let open = self.existing_or_new(file)?;
        // What lies within the file takes what is written and no more.
        let end = offset + data.len() as u64;
        if self.preallocates && open.metadata()?.len() < end {
            open.set_len(end)?;
        }
        open.write_all_at(data, offset)?;
        allocated(&open)
    }

    fn cut_chunk(&self, file: ChunkFile, len: u64) -> io::Result<u64> {
        self.may_write()?;
        let open = self.existing_or_new(file)?;
        if open.metadata()?.len() > len {
            open.set_len(len)?;
        }
        allocated(&open)
    }

    fn remove_chunk(&self, slot: SlotId) -> io::Result<()> {
        self.may_write()?;
        self.files.remove(slot);
        match self.unlink(&self.place(slot)) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn list_chunks(&self, from: SlotId) -> io::Result<(Vec<SlotId>, Option<SlotId>)> {
        self.list_leaf(from)
    }

    fn chunk_extent(&self, slot: SlotId) -> io::Result<Option<Extent>> {
        self.extent(slot)
    }

    fn is_sealed(&self) -> bool {
        self.sealed
    }

    fn seal(&self) -> io::Result<()> {
        match &self.lock {
            Some(lock) => lock.write(&self.host, &[], Some(IndexMark::of(&self.index)?)),
            None => Err(read_only()),
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.dir)?)
    }

    fn space(&self) -> io::Result<Space> {
        let disk = rustix::fs::fstatvfs(&self.dir)?;
        Ok(Space {
            total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
            free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
            total_files: disk.f_files,
            free_files: disk.f_favail,
        })
    }

    fn probe(&self) -> io::Result<()> {
        // A directory or file that was removed has no name left, whatever its descriptor still does.
        let removed = |file: &File| Ok::<_, Errno>(rustix::fs::fstat(file)?.st_nlink == 0);
        if removed(&self.dir)? || removed(&self.index)? {
            return Err(Errno::NOENT.into());
        }
        self.read_index_direct()
    }
}

/// Whether a file has another name as well, under which somebody wants it to stay as it is.
fn is_shared(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_nlink > 1)
}

/// Whether a file may perhaps be read although it was not opened for writing as well.
fn is_refused_writing(error: &io::Error) -> bool {
    let refused = [Errno::PERM, Errno::ACCESS, Errno::ROFS, Errno::TXTBSY];
    Errno::from_io_error(error).is_some_and(|error| refused.contains(&error))
}

/// Reads until the buffer is full or the file ends; how much that was.
fn read_up_to(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(len) => done += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn read_only() -> io::Error {
    Errno::ROFS.into()
}
