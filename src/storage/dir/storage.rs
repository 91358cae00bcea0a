//! The real disk behind [`Storage`].

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::cache_dir::{CacheDir, read_only};
use super::chunk_dirs::{list_leaf, stat_chunk};
use super::direct_read::{ALIGN, read_direct};
use super::lock::IndexMark;
use super::page_cache::is_in_memory;
use super::paths::INDEX_NAME;
use crate::format::Superblock;
use crate::storage::api::{ChunkFile, ChunkStat, NowRead, Space, Storage};
use crate::units::SlotId;

const STAT_BLOCK: u64 = 512;

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
        self.nowait.read(&self.index, offset, buf)
    }

    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.may_write()?;
        within_index(self.superblock(), offset, data.len())?;
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
            Ok(open) => self.nowait.read(&open, offset, buf),
            Err(answer) => Ok(answer),
        }
    }

    fn read_chunk_held(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        match self.files.get(file) {
            Some(open) if is_in_memory(&*open, offset, buf.len()) == Some(true) => {
                self.nowait.read(&open, offset, buf)
            }
            _ => Ok(NowRead::Refused),
        }
    }

    fn read_chunk_cold(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match read_direct(self.dir(), &self.place(file.slot), offset, buf) {
            Ok(Some(len)) => Ok(len),
            Ok(None) => self.read_chunk(file, offset, buf),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
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
        list_leaf(self.dir(), &self.superblock().geometry, from)
    }

    fn stat_chunk(&self, slot: SlotId) -> io::Result<Option<ChunkStat>> {
        stat_chunk(self.dir(), &self.superblock().geometry, slot)
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
        Ok(rustix::fs::syncfs(self.dir())?)
    }

    fn space(&self) -> io::Result<Space> {
        let disk = rustix::fs::fstatvfs(self.dir())?;
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
        if removed(self.dir())? || removed(&self.index)? {
            return Err(Errno::NOENT.into());
        }
        let mut head = [0; ALIGN];
        match read_direct(self.dir(), INDEX_NAME, 0, &mut head)? {
            Some(_) => Ok(()),
            None => self.read_index(0, &mut head),
        }
    }
}

/// Reads and writes of the index lie within it, so that nothing can make it grow.
fn within_index(superblock: &Superblock, offset: u64, len: usize) -> io::Result<()> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= superblock.geometry.index_len() => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{len} bytes at offset {offset} are outside the index"),
        )),
    }
}

/// The bytes that a file takes on disk.
fn allocated(file: &File) -> io::Result<u64> {
    let blocks = rustix::fs::fstat(file)?.st_blocks;
    Ok(u64::try_from(blocks).unwrap_or_default() * STAT_BLOCK)
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
