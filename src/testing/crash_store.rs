//! A cache disk in memory that can lose, tear, reorder, refuse and lie. Without faults it is plain memory.
//!
//! The fault model:
//!
//! * **Power cut.** Every change since the last sync may be kept, dropped, or torn at 512 bytes, and the changes may land
//!   in any order, so that of two overlapping writes either may win. A file's existence, its size and its bytes persist
//!   independently: a size without its data reads as zeros, data without its size is cut off, a lost create leaves no
//!   file, a lost unlink brings the old file back. What was written back but not synced is no safer than the rest.
//! * **Page cache.** A read is answered from resident pages or else from the disk, whose bytes then become resident. A
//!   page can be evicted at any time ([`CrashStore::evict`]); a dirty one is written back before. A read that may not
//!   wait gives only what is resident, and in half of all cases has loaded the rest behind the caller's back.
//! * **Failed writeback.** A dirty page is dropped instead, and the disk's older bytes, a previous tenant's perhaps, are
//!   what the next reader sees. Only a later [`Storage::sync_all`] reports it.
//! * **A lying disk.** A page can come wrong from the disk once, and differently the next time.
//! * **Errors.** EIO of reads and writes, in which a prefix of the data may have landed; ENOSPC of whatever needs new
//!   space; a disk that dies after a number of operations.
//!
//! Everything follows from the seed, provided that one thread at a time uses the store.

mod files;

use std::collections::BTreeMap;
use std::io;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::fates::{Change, Durable, Fate, INDEX};
use super::faults::Faults;
use super::mem_file::MemFile;
use super::rng::Rng;
use crate::format::{FORMAT_MINOR, Features, Geometry, Superblock};
use crate::storage::{ChunkFile, ChunkStat, NowRead, Space, Storage};
use crate::units::{SlotId, Uuid};

/// The store. See the head of this file for what it can do.
#[derive(Debug)]
pub struct CrashStore {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    index: MemFile,
    names: BTreeMap<SlotId, u64>,
    files: BTreeMap<u64, MemFile>,
    next_file: u64,
    durable: Durable,
    log: Vec<Change>,
    faults: Faults,
    space: Space,
    rng: Rng,
    operations: u64,
}

impl CrashStore {
    /// A new cache of this geometry, durable, its uuid and all later choices made from the seed.
    pub fn format(geometry: Geometry, capacity: u64, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut uuid = Uuid::default();
        rng.fill(&mut uuid.0);
        let first = Superblock {
            minor: FORMAT_MINOR,
            uuid,
            sequence: 0,
            features: Features::default(),
            geometry,
            owner_uid: rustix::process::geteuid().as_raw(),
            capacity,
            created_at: 0,
        };
        let len = usize::try_from(geometry.index_len()).unwrap_or_default();
        let mut index = MemFile::on_disk(vec![0; len]);
        for superblock in [
            first,
            Superblock {
                sequence: 1,
                ..first
            },
        ] {
            let offset = usize::try_from(superblock.offset()).unwrap_or_default();
            index.write(offset, &superblock.encode(), 0, &mut rng);
            let backup = usize::try_from(geometry.backup_offset()).unwrap_or_default();
            index.write(backup, &superblock.encode_backup(), 0, &mut rng);
        }
        index.flush(false);
        let files = [(INDEX, index.disk_image())].into();
        Self::from_durable(
            Durable {
                names: BTreeMap::new(),
                files,
            },
            rng,
        )
    }

    fn from_durable(mut durable: Durable, rng: Rng) -> Self {
        let mut files: BTreeMap<_, _> = durable
            .files
            .iter()
            .map(|(n, f)| (*n, MemFile::on_disk(f.clone())))
            .collect();
        let index = files.remove(&INDEX).unwrap_or_default();
        let next_file = durable.files.last_key_value().map_or(INDEX, |(n, _)| *n) + 1;
        let names = durable.names.clone();
        durable.files.entry(INDEX).or_default();
        let space = Space {
            total_bytes: 1 << 50,
            free_bytes: 1 << 50,
            total_files: 0,
            free_files: 0,
        };
        let (log, faults, operations) = (Vec::new(), Faults::default(), 0);
        let state = State {
            index,
            names,
            files,
            next_file,
            durable,
            log,
            faults,
            space,
            rng,
            operations,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Changes what goes wrong from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state.lock().faults);
    }

    /// What [`Storage::space`] shall say.
    pub fn set_space(&self, space: Space) {
        self.state.lock().space = space;
    }

    /// How many changes are not durable: a write, a change of size, a create and an unlink count one each.
    pub fn pending(&self) -> usize {
        self.state.lock().log.len()
    }

    /// Drops each resident page of every file, index included, in half of all cases; dirty ones are written back.
    pub fn evict(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        self.state.lock().evict(|| rng.chance(128));
    }

    /// Drops every page; dirty ones are written back.
    pub fn evict_all(&self) {
        self.state.lock().evict(|| true);
    }

    /// The disk after a power cut at this moment, all fates and the order of the changes drawn from the seed. This store
    /// goes on unharmed, so that one moment can be cut in many ways.
    pub fn crash(&self, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut order: Vec<_> = (0..self.pending()).collect();
        if rng.chance(128) {
            rng.shuffle(&mut order);
        }
        // Some cuts lose nearly all, some nearly nothing; random subsets in between find what either extreme hides.
        let [keep, tear] = [(); 2].map(|()| u16::try_from(rng.below(257)).unwrap_or_default());
        let mut draw = rng.fork();
        let after = self.crash_in_order(order, |_| match (draw.chance(keep), draw.chance(tear)) {
            (true, false) => Fate::Keep,
            (false, false) => Fate::Drop,
            (_, true) => Fate::Tear(draw.next_u64()),
        });
        after.state.lock().rng = rng.fork();
        after
    }

    /// The disk after a power cut at this moment in which each pending change (counted from 0, oldest first) meets this
    /// fate, applied in program order. For exhaustive enumeration.
    pub fn crash_with(&self, fate: impl FnMut(usize) -> Fate) -> Self {
        self.crash_in_order(0..self.pending(), fate)
    }

    /// As [`CrashStore::crash_with`], with the changes landing in this order.
    pub fn crash_in_order(
        &self,
        order: impl IntoIterator<Item = usize>,
        fate: impl FnMut(usize) -> Fate,
    ) -> Self {
        let state = self.state.lock();
        Self::from_durable(
            state.durable.after(&state.log, order, fate),
            state.rng.clone(),
        )
    }
}

impl State {
    /// Counts an operation and lets it fail with this chance.
    fn operation(&mut self, errors: u16) -> io::Result<()> {
        self.operations += 1;
        let dead = match &mut self.faults.operations_left {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        };
        if dead || self.rng.chance(errors) {
            Err(Errno::IO.into())
        } else {
            Ok(())
        }
    }

    fn writeback_fails(faults: &Faults, slot: SlotId) -> bool {
        faults.failing_writeback.contains(&slot.0)
    }

    fn evict(&mut self, mut choose: impl FnMut() -> bool) {
        self.index
            .evict(self.faults.failing_index_writeback, &mut choose);
        for (slot, file) in &self.names {
            if let Some(file) = self.files.get_mut(file) {
                file.evict(Self::writeback_fails(&self.faults, *slot), &mut choose);
            }
        }
    }

    fn sync_index(&mut self) -> io::Result<()> {
        let lost = self.index.flush(self.faults.failing_index_writeback);
        self.durable.files.insert(INDEX, self.index.disk_image());
        self.log.retain(|change| !change.is_index());
        if lost { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn sync_chunks(&mut self) -> io::Result<()> {
        let mut lost = false;
        self.durable.names = self.names.clone();
        self.durable.files.retain(|file, _| *file == INDEX);
        for (slot, number) in &self.names {
            if let Some(file) = self.files.get_mut(number) {
                lost |= file.flush(Self::writeback_fails(&self.faults, *slot));
                self.durable.files.insert(*number, file.disk_image());
            }
        }
        self.log.retain(Change::is_index);
        if lost { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn file(&mut self, slot: SlotId) -> Option<&mut MemFile> {
        self.files.get_mut(self.names.get(&slot)?)
    }

    /// Writes to a file and logs it. Errs with ENOSPC after what fits.
    fn write(&mut self, number: u64, offset: usize, data: &[u8]) -> io::Result<()> {
        let file = match number {
            INDEX => &mut self.index,
            _ => self.files.entry(number).or_default(),
        };
        let fits = if self.faults.full {
            file.allocated_prefix(offset, data.len())
        } else {
            data.len()
        };
        let written = data.get(..fits).unwrap_or_default();
        let old_len = file.len();
        file.write(offset, written, self.faults.lies, &mut self.rng);
        if file.len() > old_len {
            self.log.push(Change::Grow {
                file: number,
                len: file.len(),
            });
        }
        if fits > 0 {
            self.log.push(Change::Write {
                file: number,
                offset,
                data: written.to_vec(),
            });
        }
        if fits == data.len() {
            Ok(())
        } else {
            Err(Errno::NOSPC.into())
        }
    }

    /// The number of a slot's file, made where there is none.
    fn create(&mut self, slot: SlotId) -> io::Result<u64> {
        if let Some(file) = self.names.get(&slot) {
            return Ok(*file);
        }
        if self.faults.full {
            return Err(Errno::NOSPC.into());
        }
        let file = self.next_file;
        self.next_file += 1;
        self.names.insert(slot, file);
        self.files.insert(file, MemFile::default());
        self.log.push(Change::Create { slot, file });
        Ok(file)
    }

    /// Cuts a slot's file, if there is one; the bytes that it takes then.
    fn cut(&mut self, slot: SlotId, len: usize) -> u64 {
        let Some(number) = self.names.get(&slot) else {
            return 0;
        };
        let Some(file) = self.files.get_mut(number) else {
            return 0;
        };
        if file.cut(len) {
            self.log.push(Change::Cut { file: *number, len });
        }
        file.allocated()
    }

    fn remove(&mut self, slot: SlotId) {
        if let Some(file) = self.names.remove(&slot) {
            self.files.remove(&file);
            self.log.push(Change::Unlink { slot, file });
        }
    }
}

/// Reads from memory alone.
fn read_now(
    file: &mut MemFile,
    offset: usize,
    buf: &mut [u8],
    faults: &Faults,
    rng: &mut Rng,
) -> NowRead {
    if rng.chance(faults.refuse_now) {
        return NowRead::Refused;
    }
    if rng.chance(faults.reads_around) && file.read_around(faults.lies, rng) {
        return NowRead::Refused;
    }
    if faults.unaccounted && rng.chance(128) {
        return NowRead::Bytes(file.read(offset, buf, faults.lies, rng));
    }
    file.read_now(offset, buf, faults.lies, rng)
        .map_or(NowRead::Refused, NowRead::Bytes)
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| Errno::INVAL.into())
}

impl Storage for CrashStore {
    fn index_len(&self) -> io::Result<u64> {
        Ok(self.state.lock().index.len() as u64)
    }

    fn read_index(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let state = &mut *self.state.lock();
        state.operation(state.faults.read_errors)?;
        let len = state
            .index
            .read(place(offset)?, buf, state.faults.lies, &mut state.rng);
        if len == buf.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn read_index_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        let state = &mut *self.state.lock();
        state.operation(state.faults.read_errors)?;
        let State {
            index, faults, rng, ..
        } = state;
        Ok(read_now(index, place(offset)?, buf, faults, rng))
    }

    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let at = place(offset)?;
        if at
            .checked_add(data.len())
            .is_none_or(|end| end > state.index.len())
        {
            return Err(Errno::INVAL.into());
        }
        state.operation(0)?;
        if state.rng.chance(state.faults.write_errors) {
            let landed = state.rng.index(data.len() + 1);
            state.write(INDEX, at, data.get(..landed).unwrap_or_default())?;
            return Err(Errno::IO.into());
        }
        state.write(INDEX, at, data)
    }

    fn sync_index(&self) -> io::Result<()> {
        let state = &mut *self.state.lock();
        state.operation(state.faults.write_errors)?;
        state.sync_index()
    }

    fn read_chunk(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = &mut *self.state.lock();
        state.operation(state.faults.read_errors)?;
        let (faults, mut rng) = (state.faults.clone(), state.rng.fork());
        let at = place(offset)?;
        let Some(open) = state.file(file.slot) else {
            return Ok(0);
        };
        if rng.chance(faults.reads_around) {
            open.read_around(faults.lies, &mut rng);
        }
        Ok(open.read(at, buf, faults.lies, &mut rng))
    }

    fn read_chunk_now(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        let state = &mut *self.state.lock();
        state.operation(state.faults.read_errors)?;
        let (faults, mut rng) = (state.faults.clone(), state.rng.fork());
        let at = place(offset)?;
        Ok(state.file(file.slot).map_or(NowRead::Bytes(0), |open| {
            read_now(open, at, buf, &faults, &mut rng)
        }))
    }

    fn read_chunk_cold(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        // Some file systems read through the page cache whatever they are asked.
        if self.state.lock().rng.chance(64) {
            return self.read_chunk(file, offset, buf);
        }
        let state = &mut *self.state.lock();
        state.operation(state.faults.read_errors)?;
        let fails = State::writeback_fails(&state.faults, file.slot);
        let at = place(offset)?;
        let got = state
            .file(file.slot)
            .map_or(0, |open| open.read_cold(at, buf, fails));
        if got > 0 && state.rng.chance(state.faults.lies) {
            let place = state.rng.index(got);
            buf.iter_mut()
                .skip(place)
                .take(1)
                .for_each(|byte| *byte ^= 1);
        }
        Ok(got)
    }

    fn write_chunk(&self, file: ChunkFile, offset: u64, data: &[u8]) -> io::Result<u64> {
        let state = &mut *self.state.lock();
        let at = place(offset)?;
        state.operation(0)?;
        let number = state.create(file.slot)?;
        if state.rng.chance(state.faults.write_errors) {
            let landed = state.rng.index(data.len() + 1);
            state.write(number, at, data.get(..landed).unwrap_or_default())?;
            return Err(Errno::IO.into());
        }
        state.write(number, at, data)?;
        Ok(state.file(file.slot).map_or(0, |open| open.allocated()))
    }

    fn cut_chunk(&self, file: ChunkFile, len: u64) -> io::Result<u64> {
        let state = &mut *self.state.lock();
        let len = place(len)?;
        state.operation(state.faults.write_errors)?;
        Ok(state.cut(file.slot, len))
    }

    fn remove_chunk(&self, slot: SlotId) -> io::Result<()> {
        let state = &mut *self.state.lock();
        state.operation(state.faults.write_errors)?;
        state.remove(slot);
        Ok(())
    }

    fn list_chunks(&self, from: SlotId) -> io::Result<(Vec<SlotId>, Option<SlotId>)> {
        self.list(from)
    }

    fn stat_chunk(&self, slot: SlotId) -> io::Result<Option<ChunkStat>> {
        self.stat(slot)
    }

    /// Anything may have happened to it: every opening counts the files.
    fn is_sealed(&self) -> bool {
        false
    }

    fn sync_all(&self) -> io::Result<()> {
        let state = &mut *self.state.lock();
        state.operation(state.faults.write_errors)?;
        let chunks = state.sync_chunks();
        state.sync_index().and(chunks)
    }

    fn space(&self) -> io::Result<Space> {
        Ok(self.state.lock().space)
    }
}
