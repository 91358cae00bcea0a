//! [`Storage`], and the values that it takes and gives.

use std::io;
use std::os::fd::OwnedFd;

use crate::units::SlotId;

/// The file of one slot in one tenancy. Descriptors are kept per slot together with the generation that opened them: a
/// reader of an old tenancy that opens its file late can never plant its descriptor in the way of the new tenancy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChunkFile {
    /// The slot.
    pub slot: SlotId,
    /// The slot's generation: it rises with every tenancy.
    pub generation: u32,
}

/// What the disk of the cache directory has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes of the file system in all.
    pub total_bytes: u64,
    /// Bytes free for this user.
    pub free_bytes: u64,
    /// Inodes in all; 0 where the file system does not count them.
    pub total_files: u64,
    /// Inodes free.
    pub free_files: u64,
}

/// What a chunk file is on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkStat {
    /// Its length.
    pub len: u64,
    /// The bytes that it takes.
    pub bytes: u64,
}

/// What a read that must not wait brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NowRead {
    /// This many bytes were in memory and are now in the buffer; fewer than the buffer holds at the file's end, or
    /// where the rest is not in memory (a read of the rest from disk may have been started).
    Bytes(usize),
    /// Nothing is in memory (a read from disk may have been started).
    Refused,
    /// This file system cannot read without waiting: use the disk pool.
    Unsupported,
}

/// The disk beneath a cache. All methods may be called from any thread.
pub trait Storage: Send + Sync + 'static {
    /// The length of the index file in bytes.
    fn index_len(&self) -> io::Result<u64>;

    /// Fills `buf` from the index at `offset`. May wait for the disk.
    fn read_index(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// As [`Storage::read_index`], but only from memory.
    fn read_index_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<NowRead>;

    /// Writes `data` to the index at `offset`.
    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes the index durable (fdatasync).
    fn sync_index(&self) -> io::Result<()>;

    /// Reads from a chunk file; fewer bytes than the buffer holds only at its end, 0 where the file does not exist. May
    /// wait.
    fn read_chunk(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// As [`Storage::read_chunk`], but only from memory (`preadv2` with `RWF_NOWAIT`): a read that had to
    /// bring pages in is refused, even if the disk was quick enough to deliver them. It opens
    /// the file where no descriptor is at hand and that needs no disk either, so that inline answers work right after a
    /// restart. 0 bytes where the file does not exist.
    fn read_chunk_now(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead>;

    /// As [`Storage::read_chunk_now`], but refused where no descriptor is at hand, or where it cannot be known whether
    /// the bytes are in memory without perhaps waiting: for a disk that hangs.
    fn read_chunk_held(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        self.read_chunk_now(file, offset, buf)
    }

    /// As [`Storage::read_chunk`], but from the disk rather than from memory where that can be had, so that what readers use
    /// stays in memory. What was written before and is only in memory so far is seen too. It may go through memory all
    /// the same, and then brings in what it reads.
    fn read_chunk_cold(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.read_chunk(file, offset, buf)
    }

    /// A descriptor of a chunk file, open for reading alone, for a file that the kernel is to read by itself (FUSE
    /// passthrough). It outlives the tenancy: the caller keeps the slot from its next tenant for as long as the
    /// descriptor is in use.
    ///
    /// Errors: `NotFound` where the file does not exist; `Unsupported` where the disk has no descriptors (a store in
    /// memory).
    fn lend(&self, _file: ChunkFile) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes to a chunk file, making it first where it does not exist. Returns the bytes that the file now takes on
    /// disk.
    fn write_chunk(&self, file: ChunkFile, offset: u64, data: &[u8]) -> io::Result<u64>;

    /// Cuts a chunk file to `len` bytes if it is longer; where there is none, there may be an empty one then. Returns the
    /// bytes that it now takes on disk.
    fn cut_chunk(&self, file: ChunkFile, len: u64) -> io::Result<u64>;

    /// Unlinks the file of a slot and drops every descriptor of it; no error where there is none.
    fn remove_chunk(&self, slot: SlotId) -> io::Result<()>;

    /// The slots that have a file in the directory of slot `from`'s file, in no order, and the first slot whose file
    /// lies in the next directory; `None` behind the last. To be begun at slot 0. A store that only this process
    /// reaches lists nothing.
    fn list_chunks(&self, _from: SlotId) -> io::Result<(Vec<SlotId>, Option<SlotId>)> {
        Ok((Vec::new(), None))
    }

    /// What the file of a slot takes; `None` where there is none.
    fn stat_chunk(&self, _slot: SlotId) -> io::Result<Option<ChunkStat>> {
        Ok(None)
    }

    /// Whether the index is as [`Storage::seal`] left it at the last close, not touched since. False where that cannot be
    /// said. A store that only this process reaches always is.
    fn is_sealed(&self) -> bool {
        true
    }

    /// Notes, outside of the index, how the index is now; called when it is written for the last time.
    fn seal(&self) -> io::Result<()> {
        Ok(())
    }

    /// Makes everything durable (syncfs).
    fn sync_all(&self) -> io::Result<()>;

    /// What the disk has left.
    fn space(&self) -> io::Result<Space>;

    /// Reads something of the index from the disk itself, and sees that the cache is still where it was opened: errors
    /// with `NotFound` where it was removed. For asking a disk that failed whether it is well again. May wait.
    fn probe(&self) -> io::Result<()> {
        self.read_index(0, &mut [0; 512])
    }
}
