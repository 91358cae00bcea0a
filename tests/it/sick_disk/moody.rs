//! A disk in memory that errs or hangs on demand.

use std::io;

use larder::storage::{ChunkFile, NowRead, Space, Storage};
use larder::testing::CrashStore;
use larder::units::SlotId;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use crate::world::{TINY_CAPACITY, tiny_geometry};

/// The disk.
pub(super) struct Moody {
    store: CrashStore,
    /// What reads and what writes are answered with.
    pub(super) moods: Mutex<(Option<Errno>, Option<Errno>)>,
    hangs: Mutex<bool>,
    changed: Condvar,
}

impl Moody {
    pub(super) fn new() -> Self {
        Self {
            store: CrashStore::format(tiny_geometry(), TINY_CAPACITY, 1),
            moods: Mutex::default(),
            hangs: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// From now on no operation is answered, or they are again.
    pub(super) fn hang(&self, hangs: bool) {
        *self.hangs.lock() = hangs;
        self.changed.notify_all();
    }

    fn read(&self) -> io::Result<&CrashStore> {
        self.answer(self.moods.lock().0)
    }

    fn write(&self) -> io::Result<&CrashStore> {
        self.answer(self.moods.lock().1)
    }

    fn answer(&self, error: Option<Errno>) -> io::Result<&CrashStore> {
        let mut hangs = self.hangs.lock();
        while *hangs {
            self.changed.wait(&mut hangs);
        }
        error.map_or(Ok(&self.store), |error| Err(error.into()))
    }
}

impl Storage for Moody {
    fn index_len(&self) -> io::Result<u64> {
        self.read()?.index_len()
    }
    fn read_index(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read()?.read_index(offset, buf)
    }
    /// Like a file system that cannot read without waiting.
    fn read_index_now(&self, _: u64, _: &mut [u8]) -> io::Result<NowRead> {
        Ok(NowRead::Unsupported)
    }
    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write()?.write_index(offset, data)
    }
    fn sync_index(&self) -> io::Result<()> {
        self.write()?.sync_index()
    }
    fn read_chunk(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.read()?.read_chunk(file, offset, buf)
    }
    fn read_chunk_now(&self, _: ChunkFile, _: u64, _: &mut [u8]) -> io::Result<NowRead> {
        Ok(NowRead::Unsupported)
    }
    fn write_chunk(&self, file: ChunkFile, offset: u64, data: &[u8]) -> io::Result<u64> {
        self.write()?.write_chunk(file, offset, data)
    }
    fn cut_chunk(&self, file: ChunkFile, len: u64) -> io::Result<u64> {
        self.write()?.cut_chunk(file, len)
    }
    fn remove_chunk(&self, slot: SlotId) -> io::Result<()> {
        self.write()?.remove_chunk(slot)
    }
    fn sync_all(&self) -> io::Result<()> {
        self.write()?.sync_all()
    }
    fn space(&self) -> io::Result<Space> {
        self.read()?.space()
    }
}
