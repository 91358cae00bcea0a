//! Filling: blocks that came from the remote go to their slot.
//!
//! The order is the proof (decision 5): the sector that names the new tenant, with nothing present, is written before
//! the first byte of data; a block's bit and checksum are set after its bytes were written, and reach the index with the
//! next flush. Nothing here is synced: whatever a power cut keeps of it, a block counts only if its checksum fits.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::api::blob::{Blob, Plan};
use crate::engine::api::cache::Cache;
use crate::engine::error::ReadError;
use crate::engine::flight::blocks::{JobId, block_span};
use crate::engine::flight::read_op::{Answers, offset_in};
use crate::engine::index::slot::{Slot, Tenancy};
use crate::engine::proof::verify;
use crate::engine::space::allocation::Room;
use crate::engine::transfer::fetch_budget::Budget;
use crate::format::{SlotFlags, block_crc};
use crate::runtime::executor::{Job, Lane};
use crate::runtime::test_faults::{Rule, is_broken};
use crate::units::{BlockMask, ByteRange};

/// Hands `bytes`, the whole blocks of `range`, to the disk pool, chunk by chunk; readers have had those in `asked`. A full
/// lane drops them: they are then fetched again when they are asked for.
pub(crate) fn submit(
    blob: &Arc<Blob>,
    plan: &Arc<Plan>,
    job: JobId,
    (range, bytes): (ByteRange, &Bytes),
    asked: &[u64],
    budget: &Arc<Budget>,
) {
    let per_chunk = plan.chunk.blocks_per_chunk();
    let mut blocks = plan.chunk.blocks_of(range);
    while blocks.start < blocks.end {
        let chunk_no = blocks.start / per_chunk;
        let end = blocks.end.min((chunk_no + 1) * per_chunk);
        let ours = blocks.start..end;
        let first = block_span(plan.chunk, plan.size, ours.start).start;
        let last = block_span(plan.chunk, plan.size, ours.end - 1).end;
        let bytes = bytes.slice(offset_in(range, first)..offset_in(range, last));
        let cache = blob.cache();
        let now = cache.ground.clock.monotonic();
        let bypassed = cache.watched.bypasses_writes();
        if bypassed {
            cache.watched.fill_bypassed();
        }
        let entered =
            !bypassed && !cache.gate.is_overdrawn() && cache.backlog.enter(bytes.len() as u64, now);
        let fill = Fill {
            blob: Arc::clone(blob),
            plan: Arc::clone(plan),
            job,
            chunk_no,
            bytes,
            asked: asked.iter().copied().filter(|n| ours.contains(n)).collect(),
            blocks: ours,
            entered,
            written: false,
            _budget: Arc::clone(budget),
        };
        let run: Job = Box::new(move || fill.run());
        // A refused job is dropped, and its fill lets go of the blocks.
        if entered && let Err(refused) = cache.ground.executor.submit(Lane::Write, run) {
            cache.watched.queue_is_full();
            drop(refused);
        }
        blocks.start = end;
    }
}

/// Some blocks of one chunk on their way to disk. However it ends, the blocks are no longer on their way.
struct Fill {
    blob: Arc<Blob>,
    plan: Arc<Plan>,
    job: JobId,
    chunk_no: u64,
    blocks: Range<u64>,
    /// Those of them that readers have had.
    asked: Vec<u64>,
    bytes: Bytes,
    /// It was counted into the backlog.
    entered: bool,
    written: bool,
    _budget: Arc<Budget>,
}

impl Fill {
    fn run(mut self) {
        self.written = self.write().is_some();
    }

    /// The slot and room for what it may grow; `None` where the blocks find no place, or the disk is not to be asked.
    fn place(&self) -> Option<(Arc<Slot>, Room<'_>)> {
        let cache = self.blob.cache();
        if cache.disk.read_only || cache.is_closed() {
            return None;
        }
        if cache.watched.bypasses_writes() {
            cache.watched.fill_bypassed();
            return None;
        }
        if !cache.is_counted_for_fill() {
            return None;
        }
        let len = self.bytes.len() as u64;
        let (slot, room) = cache.slot_for(&self.plan, self.chunk_no, len)?;
        // A disk that has no space is not asked for more for a while; what needs none goes on.
        if room.may_grow() && !cache.watched.may_grow() {
            cache.watched.fill_bypassed();
            return None;
        }
        Some((slot, room))
    }

    /// Writes the blocks; `None` where that is not to be, or the disk fails.
    fn write(&self) -> Option<()> {
        let cache = self.blob.cache();
        let (slot, mut room) = self.place()?;
        let mut tenancy = slot.tenancy.lock();
        if slot.state.lock().retired && !is_broken(Rule::FillSeesRetired) {
            return None;
        }
        if *tenancy == Tenancy::Unfounded {
            cache.found(&slot, &mut room)?;
            *tenancy = Tenancy::Founded;
        }
        verify::make_trusted(cache, &slot)?;
        cache.load_crcs(&slot)?;
        let (per_chunk, first) = (self.plan.chunk.blocks_per_chunk(), self.blocks.start);
        let base = u32::try_from(first % per_chunk).unwrap_or_default();
        let count = u32::try_from(self.blocks.end - first).unwrap_or_default();
        let mask = BlockMask::span(base..base + count);
        let (absent, witness) = {
            let state = slot.state.lock();
            (mask.without(state.present), state.witness(BlockMask::NONE))
        };
        if absent.is_empty() {
            return Some(());
        }
        let crcs = self.checksums(&slot, base);
        let offset = u64::from(base) * self.plan.chunk.block_size();
        #[cfg(feature = "testing")]
        cache.vouch_too_early(&slot, mask);
        let taken = match cache
            .ground
            .storage
            .write_chunk(slot.file(), offset, &self.bytes)
        {
            Ok(taken) => u32::try_from(taken.div_ceil(4096)).unwrap_or(u32::MAX),
            Err(error) => {
                cache.disk_failed("writing a chunk", &error);
                cache.reckon(&slot, self.bytes.len() as u64);
                return None;
            }
        };
        if cache.limits.wrote(self.bytes.len() as u64) {
            cache.ask_space();
        }
        let mut state = slot.state.lock();
        let before = std::mem::replace(&mut state.alloc_4k, taken);
        if taken > before {
            cache.watched.grew();
        }
        if let Some(held) = &mut state.crcs {
            for (crc, place) in crcs.iter().zip(held.iter_mut().skip(base as usize)) {
                *place = *crc;
            }
        }
        state.present = state.present.with(mask);
        for block in &self.asked {
            let n = u32::try_from(block % per_chunk).unwrap_or_default();
            state.read = state.read.with(BlockMask::one(n));
        }
        // Only what was absent is vouched for: a block that was present already may have been read in the meantime.
        state.verify(absent, witness);
        drop(state);
        cache.slots.account(&slot, before, taken);
        cache.flusher.note(&slot);
        Some(())
    }

    fn checksums(&self, slot: &Slot, base: u32) -> Vec<u32> {
        let size = usize::try_from(self.plan.chunk.block_size()).unwrap_or(usize::MAX);
        let blocks = self.bytes.chunks(size).zip(base..);
        blocks
            .map(|(bytes, n)| block_crc(slot.tag, slot.chunk_no, n, bytes))
            .collect()
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        let cache = self.blob.cache();
        match self.written {
            true => cache
                .counters
                .blocks_filled
                .add(self.blocks.end - self.blocks.start),
            false => cache.counters.fills_dropped.add(1),
        }
        let mut answers = Answers::default();
        // Landed blocks have no waiters: nobody gets this error.
        let error = ReadError::Closed;
        let mut flight = self.blob.flight.lock();
        flight.leave(self.blocks.clone(), self.job, &error, &mut answers);
        drop(flight);
        answers.give();
        let (bytes, now) = (self.bytes.len() as u64, cache.ground.clock.monotonic());
        if self.entered {
            cache.backlog.leave(bytes, now, self.written);
        }
    }
}

impl Cache {
    /// The deliberately unsafe variant `bits-first`: the index says that blocks are present which are not yet written. The
    /// pause is that of a slow disk; without it a kill in between is too rare to wait for.
    #[cfg(feature = "testing")]
    fn vouch_too_early(&self, slot: &Slot, blocks: BlockMask) {
        if crate::format::unsafe_variant::is_bits_first() {
            let mut record = slot.record(&slot.state.lock(), &[0; 64]);
            record.present = record.present.with(blocks);
            let _ = self.disk.write_slot(slot.id, &record);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Writes the sector that names the slot's new tenant, with nothing present. A file that was once handed to
    /// passthrough is unlinked first: a mapping may still show it. One that is longer than the chunk is cut.
    fn found(&self, slot: &Arc<Slot>, room: &mut Room<'_>) -> Option<()> {
        let (tainted, before) = {
            let state = slot.state.lock();
            (state.flags.has(SlotFlags::TAINTED), state.alloc_4k)
        };
        let (doing, after) = match tainted {
            true => {
                let gone = self.ground.storage.remove_chunk(slot.id).map(|()| 0);
                ("unlinking a chunk file", gone)
            }
            // Of one class and dense it is as long as the chunk, and nothing is cut.
            false if before > 0 => {
                let cut = self
                    .ground
                    .storage
                    .cut_chunk(slot.file(), u64::from(slot.valid_len));
                ("cutting a chunk file", cut)
            }
            false => ("", Ok(u64::from(before) << 12)),
        };
        let after = match after {
            Ok(bytes) => u32::try_from(bytes.div_ceil(4096)).unwrap_or(u32::MAX),
            Err(error) => {
                self.disk_failed(doing, &error);
                self.forget_slot(slot);
                return None;
            }
        };
        if tainted {
            self.counters.files_unlinked.add(1);
            slot.state.lock().flags = SlotFlags::default();
        }
        if before != after {
            room.keep(u64::from(before.saturating_sub(after)) << 12);
            slot.state.lock().alloc_4k = after;
            self.counters.files_cut.add(u64::from(!tainted));
            self.slots.account(slot, before, after);
        }
        self.counters.files_created.add(u64::from(after == 0));
        let record = slot.record(&slot.state.lock(), &[0; 64]);
        if let Err(error) = self.disk.write_slot(slot.id, &record) {
            self.disk_failed("writing a slot's sector", &error);
            self.forget_slot(slot);
            return None;
        }
        Some(())
    }

    /// Accounts for the file of a slot after a write of so many bytes failed: a part of it may have landed. Called with the
    /// tenancy locked.
    fn reckon(&self, slot: &Arc<Slot>, bytes: u64) {
        let pages = |bytes: u64| u32::try_from(bytes.div_ceil(4096)).unwrap_or(u32::MAX);
        let storage = &self.ground.storage;
        // Nothing is longer than the chunk: this only asks.
        let asked = storage.cut_chunk(slot.file(), u64::from(slot.valid_len));
        let mut state = slot.state.lock();
        let before = state.alloc_4k;
        let most = before.saturating_add(pages(bytes));
        state.alloc_4k = asked.map_or(most, pages);
        let after = state.alloc_4k;
        drop(state);
        self.slots.account(slot, before, after);
        self.flusher.note(slot);
        // Whoever filled the disk is noticed at once.
        self.ask_space();
    }

    /// Has the checksums of a slot in memory, so that some can be added. Drops the slot where its sector is not the one
    /// that is known. Called with the tenancy locked.
    pub(crate) fn load_crcs(&self, slot: &Arc<Slot>) -> Option<()> {
        {
            let mut state = slot.state.lock();
            if state.crcs.is_some() {
                return Some(());
            }
            if state.present.is_empty() {
                state.crcs = Some(Box::new([0; 64]));
                return Some(());
            }
        }
        let record = verify::read_record(self, slot)?;
        let mut state = slot.state.lock();
        state.crcs.get_or_insert_with(|| Box::new(record.crcs));
        Some(())
    }
}
