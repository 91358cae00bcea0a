//! Reading every present block and comparing it with its checksum, at the speed of the disk.
//!
//! Threads take slots in their order, so that neighbouring files are read at about the same time, and adjacent blocks
//! in one read. Invariants:
//!
//! * A slot is read by the record that the scan saw, or not at all: a daemon may be at work beside.
//! * A block that looks wrong is read again, and its sector after it. Only if that is still the scan's is the block bad:
//!   a sector that reads the same is the same, and a daemon that refills a slot writes the sector before the bytes.
//! * Beside a daemon nothing is read through memory: what the daemon finds there it takes for bytes that it has checked.
//! * Each thread holds one piece of at most 1 MiB. An observer that says no is heard after at most one piece.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use parking_lot::Mutex;

use super::facts::{CacheFacts, SlotFact};
use super::{CheckError, Disk, Observer, Phase, Step};
use crate::format::{Geometry, SECTOR_LEN, SlotRecord, block_crc};
use crate::storage::{ChunkFile, Storage};
use crate::units::{BlockMask, Uuid};

/// Adjacent blocks are read in pieces of at most this many bytes; the largest block has as many.
const PIECE: u64 = 1 << 20;
/// A thread takes so many neighbouring slots at once.
const BATCH: usize = 8;
/// So many unreadable blocks are a dying disk, not damage that forgetting blocks could mend.
const UNREADABLE_MAX: u64 = 1024;
/// The observer is called this often while threads read.
const PAUSE: Duration = Duration::from_millis(50);

/// Notes the blocks whose bytes do not give their checksum. With one job it reads on this thread.
///
/// Errors: the index cannot be read any more, the disk is dying, or the observer ended it.
pub(super) fn blocks(
    disk: Disk<'_>,
    jobs: usize,
    facts: &mut CacheFacts,
    observe: Observer<'_>,
) -> Result<(), CheckError> {
    let work = Work::new(disk, facts);
    let ended = match jobs {
        0 | 1 => match work.run(&mut || observe(work.step())) {
            ControlFlow::Continue(()) => observe(work.step()),
            ended => ended,
        },
        jobs => work.spread(jobs, observe)?,
    };
    let (blocks, bytes) = (work.blocks.load(Relaxed), work.bytes.load(Relaxed));
    let (bad, error) = (work.bad.into_inner(), work.error.into_inner());
    if let Some(error) = error {
        return Err(error.into());
    }
    if ended.is_break() {
        return Err(CheckError::Cancelled);
    }
    for (n, blocks) in bad {
        if let Some(slot) = facts.slots.get_mut(n) {
            slot.bad_blocks = slot.bad_blocks.with(blocks);
        }
    }
    (facts.blocks_read, facts.bytes_read) = (blocks, bytes);
    Ok(())
}

/// What the threads share.
struct Work<'a> {
    storage: &'a dyn Storage,
    /// A daemon may be at work beside.
    live: bool,
    uuid: Uuid,
    geometry: Geometry,
    slots: &'a [SlotFact],
    /// The bytes of all present blocks.
    total: u64,
    /// The first slot that no thread has taken.
    next: AtomicUsize,
    /// Bytes that are done with, those of slots that have changed included.
    done: AtomicU64,
    blocks: AtomicU64,
    bytes: AtomicU64,
    unreadable: AtomicU64,
    stop: AtomicBool,
    bad: Mutex<Vec<(usize, BlockMask)>>,
    /// The first failure that is none of a single block.
    error: Mutex<Option<io::Error>>,
}

/// A slot that is being read.
struct Tenant<'a> {
    fact: &'a SlotFact,
    record: SlotRecord,
    file: ChunkFile,
}

impl Tenant<'_> {
    /// Where adjacent blocks lie in the file, in bytes.
    fn bytes(&self, blocks: &Range<u32>) -> Range<u64> {
        let size = self.record.chunk.block_size();
        let valid = u64::from(self.record.valid_len);
        u64::from(blocks.start) * size..(u64::from(blocks.end) * size).min(valid)
    }

    /// Whether these are the bytes of this block.
    fn holds(&self, block: u32, bytes: &[u8]) -> bool {
        let len = self
            .record
            .chunk
            .block_len(u64::from(self.record.valid_len), block);
        let crc = block_crc(self.record.tag, self.record.chunk_no, block, bytes);
        bytes.len() as u64 == len && self.record.crc_of(block) == Some(crc)
    }
}

impl<'a> Work<'a> {
    fn new(disk: Disk<'a>, facts: &'a CacheFacts) -> Self {
        Self {
            storage: disk.storage,
            live: disk.live,
            uuid: facts.superblock.uuid,
            geometry: facts.superblock.geometry,
            slots: &facts.slots,
            total: (facts.slots.iter().filter(|slot| slot.is_data()))
                .map(|slot| slot.bytes_of(slot.present))
                .sum(),
            next: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            bad: Mutex::default(),
            error: Mutex::default(),
        }
    }

    fn step(&self) -> Step {
        Step {
            phase: Phase::Blocks,
            done: self.done.load(Relaxed),
            total: self.total,
        }
    }

    /// Reads on `jobs` threads; this one calls the observer. Errors where no thread can be had.
    fn spread(&self, jobs: usize, observe: Observer<'_>) -> io::Result<ControlFlow<()>> {
        std::thread::scope(|scope| {
            let (alive, all_ended) = channel::<()>();
            for n in 0..jobs {
                let alive = alive.clone();
                let thread = std::thread::Builder::new().name(format!("blocks {n}"));
                let spawned = thread.spawn_scoped(scope, move || {
                    let stopped = || {
                        if self.stop.load(Relaxed) {
                            ControlFlow::Break(())
                        } else {
                            ControlFlow::Continue(())
                        }
                    };
                    let _ = self.run(&mut { stopped });
                    drop(alive);
                });
                match spawned {
                    Err(error) if n == 0 => return Err(error),
                    // Fewer threads do as well.
                    Err(_) => break,
                    Ok(_) => {}
                }
            }
            drop(alive);
            let mut verdict = ControlFlow::Continue(());
            loop {
                let ended = all_ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Disconnected);
                if verdict.is_continue() {
                    verdict = observe(self.step());
                }
                if verdict.is_break() {
                    self.stop.store(true, Relaxed);
                }
                if ended {
                    return Ok(verdict);
                }
            }
        })
    }

    /// Takes slots until none is left, or `go_on`, which is called before each read, says no.
    fn run(&self, go_on: &mut dyn FnMut() -> ControlFlow<()>) -> ControlFlow<()> {
        let mut buffer = Vec::new();
        loop {
            let first = self.next.fetch_add(BATCH, Relaxed);
            let batch = self.slots.iter().enumerate().skip(first).take(BATCH);
            if batch.len() == 0 {
                return ControlFlow::Continue(());
            }
            for (n, fact) in batch {
                if let Err(error) = self.slot(n, fact, &mut buffer, go_on)? {
                    self.error.lock().get_or_insert(error);
                    self.stop.store(true, Relaxed);
                    return ControlFlow::Break(());
                }
            }
        }
    }

    fn slot(
        &self,
        n: usize,
        fact: &SlotFact,
        buffer: &mut Vec<u8>,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), io::Result<()>> {
        if !fact.is_data() {
            return ControlFlow::Continue(Ok(()));
        }
        let mut left = fact.bytes_of(fact.present);
        let tenant = match self.tenant(fact) {
            Ok(tenant) => tenant,
            Err(error) => return ControlFlow::Continue(Err(error)),
        };
        if let Some(tenant) = tenant {
            let mut bad = BlockMask::NONE;
            for run in pieces(&tenant.record) {
                go_on()?;
                let len = tenant.bytes(&run);
                let len = len.end - len.start;
                match self.piece(&tenant, &run, buffer) {
                    Ok(wrong) => bad = bad.with(wrong),
                    Err(error) => return ControlFlow::Continue(Err(error)),
                }
                self.blocks
                    .fetch_add(u64::from(run.end - run.start), Relaxed);
                self.bytes.fetch_add(len, Relaxed);
                self.done.fetch_add(len, Relaxed);
                left = left.saturating_sub(len);
            }
            if !bad.is_empty() {
                self.bad.lock().push((n, bad));
            }
        }
        self.done.fetch_add(left, Relaxed);
        ControlFlow::Continue(Ok(()))
    }

    /// The slot as the scan saw it; `None` where it has changed since.
    fn tenant<'f>(&self, fact: &'f SlotFact) -> io::Result<Option<Tenant<'f>>> {
        let offset = self.geometry.slot_offset(fact.slot);
        let mut sector = [0; SECTOR_LEN];
        self.storage.read_index(offset, &mut sector)?;
        if Some(crc32fast::hash(&sector)) != fact.evidence.fingerprint {
            return Ok(None);
        }
        let record = SlotRecord::decode(&sector, self.uuid, offset).ok();
        Ok(record.map(|record| Tenant {
            fact,
            file: ChunkFile {
                slot: fact.slot,
                generation: record.generation,
            },
            record,
        }))
    }

    /// Reads adjacent blocks at once; those of them that are wrong.
    fn piece(
        &self,
        tenant: &Tenant<'_>,
        blocks: &Range<u32>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<BlockMask> {
        let read = self.read(tenant, blocks, buffer);
        let mut rest: &[u8] = if read.is_ok() { buffer } else { &[] };
        let mut suspects = BlockMask::NONE;
        for block in blocks.clone() {
            let bytes = tenant.bytes(&(block..block + 1));
            let len = usize::try_from(bytes.end - bytes.start).unwrap_or_default();
            let (bytes, behind) = rest.split_at(len.min(rest.len()));
            rest = behind;
            if !tenant.holds(block, bytes) {
                suspects = suspects.with(BlockMask::one(block));
            }
        }
        let mut bad = BlockMask::NONE;
        for block in suspects.iter() {
            if self.is_bad(tenant, block, buffer)? {
                bad = bad.with(BlockMask::one(block));
            }
        }
        Ok(bad)
    }

    /// Looks at a block again, and at its sector after it.
    fn is_bad(&self, tenant: &Tenant<'_>, block: u32, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let read = self.read(tenant, &(block..block + 1), buffer);
        if read.is_ok() && tenant.holds(block, buffer) {
            return Ok(false);
        }
        if self.tenant(tenant.fact)?.is_none() {
            return Ok(false);
        }
        match read {
            Err(error) if self.unreadable.fetch_add(1, Relaxed) >= UNREADABLE_MAX => {
                Err(io::Error::new(
                    error.kind(),
                    format!(
                        "more than {UNREADABLE_MAX} blocks cannot be read ({error}): the disk is failing, so move --cache-dir to another disk"
                    ),
                ))
            }
            _ => Ok(true),
        }
    }

    /// Fills the buffer with these blocks, or with less where the file ends before them.
    fn read(
        &self,
        tenant: &Tenant<'_>,
        blocks: &Range<u32>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let bytes = tenant.bytes(blocks);
        let len = usize::try_from(bytes.end - bytes.start).map_err(io::Error::other)?;
        buffer.resize(len, 0);
        let read = if self.live {
            (self.storage).read_chunk_cold(tenant.file, bytes.start, buffer)?
        } else {
            (self.storage).read_chunk(tenant.file, bytes.start, buffer)?
        };
        buffer.truncate(read);
        Ok(())
    }
}

/// The present blocks in runs of adjacent ones, none longer than a piece.
fn pieces(record: &SlotRecord) -> impl Iterator<Item = Range<u32>> {
    let most = u32::try_from(PIECE / record.chunk.block_size())
        .unwrap_or(1)
        .max(1);
    record.present.runs().flat_map(move |run| {
        let starts = run.clone().step_by(most as usize);
        starts.map(move |start| start..(start + most).min(run.end))
    })
}
