//! Checking: blocks whose bytes are not in memory, or were never checked in this mount, come from disk.
//!
//! The whole block is read once into a buffer, checked, and the readers are answered from that buffer: what the disk
//! would say at a second read does not matter (decision 6). A block that does not pass is forgotten and fetched; a slot
//! that was stamped in another boot is checked whole, and one bad block drops it.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::MutexGuard;

use crate::engine::api::blob::Blob;
use crate::engine::api::cache::Cache;
use crate::engine::flight::blocks::{JobId, Landing, block_span};
use crate::engine::flight::read_op::{Answers, offset_in};
use crate::engine::health::verdict::{Access, Failure};
use crate::engine::index::index_file::Unread;
use crate::engine::index::slot::{Slot, Tenancy, Witness};
use crate::format::{SlotRecord, block_crc};
use crate::runtime::executor::{Job, Lane};
use crate::runtime::test_faults::{Rule, is_broken};
use crate::units::{BlockMask, ByteRange};

/// How long a reader waits for a write to its slot; then the remote is the quicker one.
const WRITE_PATIENCE: Duration = Duration::from_millis(500);
/// The most that one read from disk asks for.
const READ_MAX: u64 = 1 << 20;

/// Hands claimed blocks of a slot to the disk pool. Their waiters are answered from the disk, or else from the remote.
pub(crate) fn submit(blob: &Arc<Blob>, slot: Arc<Slot>, blocks: BlockMask, job: JobId) {
    let check = Check {
        blob: Arc::clone(blob),
        slot,
        blocks,
        job,
        done: false,
    };
    // A refused job is dropped, and the check sends its readers to the remote.
    if !blob.disk_answers() {
        return drop(check);
    }
    let run: Job = Box::new(move || check.run());
    drop(blob.cache().ground.executor.submit(Lane::Read, run));
}

/// Claimed blocks of one slot. However it ends, the claims are given back and the waiters are answered or sent on.
struct Check {
    blob: Arc<Blob>,
    slot: Arc<Slot>,
    blocks: BlockMask,
    job: JobId,
    done: bool,
}

impl Check {
    fn run(mut self) {
        let witness = self.slot.state.lock().witness(self.blocks);
        let good = read_blocks(self.blob.cache(), &self.slot, self.blocks);
        self.end(good, Some(witness));
    }

    fn end(&mut self, good: Vec<(u32, Bytes)>, witness: Option<Witness>) {
        self.done = true;
        let place = {
            let mut state = self.slot.state.lock();
            let place = state.end_checks(self.blocks);
            if let Some(witness) = witness.filter(|_| !state.retired) {
                let passed = good
                    .iter()
                    .fold(BlockMask::NONE, |m, (n, _)| m.with(BlockMask::one(*n)));
                state.verify(passed, witness);
            }
            place
        };
        self.blob.cache().hand_on(&self.slot, place);
        let chunk = self.slot.chunk;
        let base = self.slot.chunk_no * chunk.blocks_per_chunk();
        let chunk_end = self.slot.chunk_no * chunk.bytes() + u64::from(self.slot.valid_len);
        let mut answers = Answers::default();
        let mut failed = self.blocks;
        {
            let mut flight = self.blob.flight.lock();
            for (n, bytes) in &good {
                failed = failed.without(BlockMask::one(*n));
                let block = base + u64::from(*n);
                let span = block_span(chunk, chunk_end, block);
                let landing = flight.land((block, span), self.job, bytes, false, &mut answers);
                if landing != Landing::Unwanted {
                    self.blob.bind(&mut flight);
                    self.blob.cache().counters.hit_bytes.add(span.len());
                }
            }
        }
        answers.give();
        let failed: Vec<u64> = failed.iter().map(|n| base + u64::from(n)).collect();
        // Without a plan the blob was bound anew, and its readers have begun again.
        if let Some(plan) = self.blob.plan() {
            self.blob.fetch_instead(&plan, &failed, self.job);
        }
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        if !self.done {
            self.end(Vec::new(), None);
        }
    }
}

/// Reads and checks blocks of a slot; those that are missing from the answer did not pass.
fn read_blocks(cache: &Arc<Cache>, slot: &Arc<Slot>, blocks: BlockMask) -> Vec<(u32, Bytes)> {
    {
        // A suspect slot is checked whole, once, by whoever comes first.
        let suspect = slot.state.lock().suspect;
        if suspect {
            let Some(_tenancy) = tenancy_of(cache, slot) else {
                return Vec::new();
            };
            if make_trusted(cache, slot).is_none() {
                return Vec::new();
            }
        }
    }
    let Some(crcs) = checksums(cache, slot) else {
        return Vec::new();
    };
    let Compared { good, bad, .. } = compare(cache, slot, blocks, &crcs, ReadFrom::Memory);
    if !bad.is_empty() {
        cache.counters.blocks_bad.add(u64::from(bad.count()));
        // Where somebody writes for ever, the next reader finds them bad once more.
        if let Some(_tenancy) = tenancy_of(cache, slot) {
            forget_held(cache, slot, bad);
        }
    }
    good
}

/// The write lock of a slot, for a reader: not waited for where it is held by a write that does not come back.
fn tenancy_of<'a>(cache: &Cache, slot: &'a Slot) -> Option<MutexGuard<'a, Tenancy>> {
    match cache.watched.bypasses_writes() {
        true => slot.tenancy.try_lock(),
        false => slot.tenancy.try_lock_for(WRITE_PATIENCE),
    }
}

/// The sector of a slot, if it is still the one that is known: tag and stamp equal those in memory. Otherwise the slot
/// is dropped. An error of the disk drops nothing. Called with the tenancy locked: nobody is writing the sector.
pub(crate) fn read_record(cache: &Cache, slot: &Arc<Slot>) -> Option<SlotRecord> {
    match cache.disk.read_slot(slot.id) {
        Ok(record) if slot.owns(&slot.state.lock(), &record) => Some(record),
        Err(Unread::Io(error)) => {
            cache.disk_failed("reading a slot's sector", &error);
            None
        }
        Ok(_) | Err(Unread::NotWhole) => {
            cache.forget_slot(slot);
            None
        }
    }
}

/// The checksums of a slot: those in memory, or those of its sector. A sector that is just being written may look
/// damaged; it is read once more when nobody writes it.
fn checksums(cache: &Cache, slot: &Arc<Slot>) -> Option<Box<[u32; 64]>> {
    if let Some(crcs) = slot.state.lock().crcs.clone() {
        return Some(crcs);
    }
    if let Ok(record) = cache.disk.read_slot(slot.id)
        && slot.owns(&slot.state.lock(), &record)
    {
        return Some(Box::new(record.crcs));
    }
    let _tenancy = tenancy_of(cache, slot)?;
    if let Some(crcs) = slot.state.lock().crcs.clone() {
        return Some(crcs);
    }
    read_record(cache, slot).map(|record| Box::new(record.crcs))
}

/// Checks a suspect slot whole: afterwards it is stamped anew, or dropped. Nothing happens to one that is not suspect.
/// Called with the tenancy locked.
pub(crate) fn make_trusted(cache: &Cache, slot: &Arc<Slot>) -> Option<()> {
    let present = {
        let state = slot.state.lock();
        match (state.retired, state.suspect) {
            (true, _) if !is_broken(Rule::FillSeesRetired) => return None,
            (_, false) => return Some(()),
            (_, true) => state.present,
        }
    };
    let record = read_record(cache, slot)?;
    let (mut bad, mut unread) = (BlockMask::NONE, BlockMask::NONE);
    for run in present.runs() {
        for n in run {
            // Block by block, so that a large chunk does not take its size in memory.
            let found = compare(
                cache,
                slot,
                BlockMask::one(n),
                &record.crcs,
                ReadFrom::Memory,
            );
            bad = bad.with(found.bad);
            unread = unread.with(found.unread);
        }
    }
    // A disk that was not asked has not said anything against it.
    if bad.is_empty() && !unread.is_empty() {
        return None;
    }
    if !bad.is_empty() {
        cache.counters.blocks_bad.add(u64::from(bad.count()));
        cache.forget_slot(slot);
        return None;
    }
    trust(cache, slot, Box::new(record.crcs));
    Some(())
}

/// A suspect slot held against these checksums, whole. Called with the tenancy locked.
pub(crate) fn trust(cache: &Cache, slot: &Arc<Slot>, crcs: Box<[u32; 64]>) {
    let mut state = slot.state.lock();
    state.suspect = false;
    if cache.disk.read_only {
        return;
    }
    // The new stamp is one of this boot; it reaches the sector with the next flush, checksums and all.
    state.stamp = cache.disk.stamp();
    state.crcs = Some(crcs);
    drop(state);
    cache.flusher.note(slot);
}

/// Where the bytes that are checked come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadFrom {
    /// The page cache, which brings in what it does not have.
    Memory,
    /// The disk, as far as that can be had.
    Disk,
}

/// What a comparison found.
#[derive(Default)]
pub(crate) struct Compared {
    pub(crate) good: Vec<(u32, Bytes)>,
    pub(crate) bad: BlockMask,
    /// Blocks that could not be read for a reason that says nothing of them.
    pub(crate) unread: BlockMask,
    /// Bytes that were read.
    pub(crate) read: u64,
    /// A read failed; its blocks are among the bad ones, or unread.
    pub(crate) failed: bool,
}

/// Reads runs of blocks and compares each with its checksum: those that fit, and those that do not.
pub(crate) fn compare(
    cache: &Cache,
    slot: &Slot,
    blocks: BlockMask,
    crcs: &[u32; 64],
    from: ReadFrom,
) -> Compared {
    let per_read = u32::try_from(READ_MAX / slot.chunk.block_size())
        .unwrap_or(1)
        .max(1);
    let mut found = Compared::default();
    for run in blocks.runs() {
        let mut first = run.start;
        while first < run.end {
            let end = run.end.min(first + per_read);
            let bytes = match read_run(cache, slot, first..end, from) {
                Ok(bytes) => bytes,
                Err(error) => {
                    cache.disk_failed("reading a chunk", &error);
                    found.failed = true;
                    if Failure::of(&error, Access::Read).spares_blocks() {
                        found.unread = found.unread.with(BlockMask::span(first..end));
                        first = end;
                        continue;
                    }
                    // What cannot be read is written anew, which mends a bad sector.
                    Bytes::new()
                }
            };
            found.read += bytes.len() as u64;
            let start = u64::from(first) * slot.chunk.block_size();
            let got = ByteRange::at(start, bytes.len() as u64);
            for n in first..end {
                let span = ByteRange::at(
                    u64::from(n) * slot.chunk.block_size(),
                    slot.block_len(n) as u64,
                );
                let block = (got.clip(span) == span)
                    .then(|| bytes.slice(offset_in(got, span.start)..offset_in(got, span.end)));
                let crc = crcs.get(n as usize).copied();
                match block {
                    Some(block) if crc == Some(block_crc(slot.tag, slot.chunk_no, n, &block)) => {
                        found.good.push((n, block));
                    }
                    _ => found.bad = found.bad.with(BlockMask::one(n)),
                }
            }
            first = end;
        }
    }
    cache.counters.blocks_checked.add(found.good.len() as u64);
    found
}

fn read_run(cache: &Cache, slot: &Slot, run: Range<u32>, from: ReadFrom) -> io::Result<Bytes> {
    let start = u64::from(run.start) * slot.chunk.block_size();
    let mut buffer = vec![0; run.map(|n| slot.block_len(n)).sum()];
    let storage = &cache.ground.storage;
    let got = match from {
        ReadFrom::Memory => storage.read_chunk(slot.file(), start, &mut buffer)?,
        ReadFrom::Disk => storage.read_chunk_cold(slot.file(), start, &mut buffer)?,
    };
    buffer.truncate(got);
    Ok(buffer.into())
}

/// Forgets blocks that did not pass. The sector on disk may claim them for a little longer; their checksum still does
/// not fit. Called with the tenancy locked.
pub(crate) fn forget_held(cache: &Cache, slot: &Arc<Slot>, bad: BlockMask) {
    if cache.load_crcs(slot).is_none() {
        return;
    }
    let mut state = slot.state.lock();
    if state.retired {
        return;
    }
    state.present = state.present.without(bad);
    state.verified = state.verified.without(bad);
    drop(state);
    cache.flusher.note(slot);
}
