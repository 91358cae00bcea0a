//! The disk of the shuttle's worlds: a crash store at each of whose operations the scheduler may go on with somebody else,
//! and which keeps descriptors by slot and generation as the real directory does.
//!
//! An open file that is unlinked lives on: whoever reads through a stale descriptor reads the former tenant's bytes.

use std::io;
use std::sync::Arc;

use hashbrown::HashMap;
use larder::storage::{ChunkFile, NowRead, Space, Storage};
use larder::testing::CrashStore;
use larder::units::SlotId;
use parking_lot::Mutex;
use shuttle::rand::RngCore;

use super::point;

/// The disk.
pub(super) struct Disk {
    pub(super) store: Arc<CrashStore>,
    files: Mutex<Files>,
}

/// Every file ever made has a number of its own, by which the store knows it.
#[derive(Default)]
struct Files {
    made: u32,
    names: HashMap<SlotId, ChunkFile>,
    /// As `storage/descriptors.rs` keeps them: an insert never replaces a newer generation.
    open: HashMap<SlotId, (u32, ChunkFile)>,
}

/// Whether the scheduler may be asked: not with anything locked or borrowed that is not the engine's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    Switch,
    Not,
}

impl May {
    fn point(self) {
        if self == Self::Switch {
            point();
        }
    }
}

/// A disk that is slow now and then: all others may come far meanwhile.
fn slow() {
    if shuttle::rand::thread_rng().next_u64().is_multiple_of(4) {
        for _ in 0..shuttle::rand::thread_rng().next_u64() % 100 {
            shuttle::thread::yield_now();
        }
    }
}

impl Disk {
    pub(super) fn new(store: CrashStore) -> Self {
        Self {
            store: Arc::new(store),
            files: Mutex::default(),
        }
    }

    fn get(&self, file: ChunkFile) -> Option<ChunkFile> {
        let files = self.files.lock();
        let (generation, open) = files.open.get(&file.slot)?;
        (*generation == file.generation).then_some(*open)
    }

    fn keep(&self, file: ChunkFile, open: ChunkFile) -> ChunkFile {
        let mut files = self.files.lock();
        let newer =
            |kept: u32| kept != file.generation && kept.wrapping_sub(file.generation) < 1 << 31;
        if !files
            .open
            .get(&file.slot)
            .is_some_and(|(kept, _)| newer(*kept))
        {
            files.open.insert(file.slot, (file.generation, open));
        }
        open
    }

    fn existing(&self, file: ChunkFile, may: May) -> Option<ChunkFile> {
        self.get(file).or_else(|| {
            let open = self.files.lock().names.get(&file.slot).copied()?;
            may.point();
            Some(self.keep(file, open))
        })
    }

    fn existing_or_new(&self, file: ChunkFile) -> ChunkFile {
        self.get(file).unwrap_or_else(|| {
            let open = {
                let files = &mut *self.files.lock();
                *files.names.entry(file.slot).or_insert_with(|| {
                    files.made += 1;
                    ChunkFile {
                        slot: SlotId(files.made),
                        generation: 0,
                    }
                })
            };
            point();
            self.keep(file, open)
        })
    }

    /// Drops descriptors, as a process that runs short of them does.
    pub(super) fn forget_descriptors(&self) {
        self.files.lock().open.clear();
    }
}

impl Storage for Disk {
    fn index_len(&self) -> io::Result<u64> {
        self.store.index_len()
    }
    fn read_index(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        point();
        self.store.read_index(offset, buf)
    }
    fn read_index_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        point();
        self.store.read_index_now(offset, buf)
    }
    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        point();
        self.store.write_index(offset, data)
    }
    fn sync_index(&self) -> io::Result<()> {
        self.store.sync_index()
    }
    fn read_chunk(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        point();
        let Some(open) = self.existing(file, May::Switch) else {
            return Ok(0);
        };
        slow();
        // Page by page, as the kernel copies them.
        let (mut at, mut got) = (offset, 0);
        for page in buf.chunks_mut(4096) {
            point();
            let read = self.store.read_chunk(open, at, page)?;
            (at, got) = (at + read as u64, got + read);
            if read < page.len() {
                break;
            }
        }
        slow();
        Ok(got)
    }
    fn read_chunk_now(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        // The engine's inline check holds a buffer of its thread meanwhile, and all tasks share one thread.
        match self.existing(file, May::Not) {
            Some(open) => self.store.read_chunk_now(open, offset, buf),
            None => Ok(NowRead::Bytes(0)),
        }
    }
    fn read_chunk_cold(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        point();
        match self.existing(file, May::Switch) {
            Some(open) => self.store.read_chunk_cold(open, offset, buf),
            None => Ok(0),
        }
    }
    fn write_chunk(&self, file: ChunkFile, offset: u64, data: &[u8]) -> io::Result<u64> {
        slow();
        let open = self.existing_or_new(file);
        let (mut at, mut taken) = (offset, 0);
        for page in data.chunks(4096) {
            point();
            taken = self.store.write_chunk(open, at, page)?;
            at += page.len() as u64;
        }
        slow();
        Ok(taken)
    }
    fn cut_chunk(&self, file: ChunkFile, len: u64) -> io::Result<u64> {
        let open = self.existing_or_new(file);
        point();
        self.store.cut_chunk(open, len)
    }
    fn remove_chunk(&self, slot: SlotId) -> io::Result<()> {
        self.files.lock().open.remove(&slot);
        point();
        self.files.lock().names.remove(&slot);
        Ok(())
    }
    fn sync_all(&self) -> io::Result<()> {
        self.store.sync_all()
    }
    fn space(&self) -> io::Result<Space> {
        self.store.space()
    }
}
