//! Filling: blocks that came from the remote go to their slot.
//!
//! The order is the proof: the sector that names the new tenant, with nothing present, is written before
//! the first byte of data; a block's bit and checksum are set after its bytes were written, and reach the index with
//! the next flush. Nothing here is synced: whatever a power cut keeps of it, a block counts only if its checksum fits.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::error::ReadError;
use crate::engine::fill::fills::Fills;
use crate::engine::flight::blocks::{JobId, block_span};
use crate::engine::flight::fetch_budget::Charge;
use crate::engine::flight::read_op::Answers;
use crate::engine::index::slot::{Slot, Tenancy, Witness};
use crate::engine::placement::extent::of_blocks;
use crate::engine::placement::layout::Layout;
use crate::engine::space::room::Room;
use crate::engine::version::object::Object;
use crate::format::block_crc;
use crate::runtime::executor::{Job, Lane};
use crate::runtime::test_faults::{Rule, is_broken};
use crate::storage::{DiskOp, Storage};
use crate::units::offset_in;
use crate::units::{BlockMask, ByteRange};

/// Whole blocks that have come for an object.
pub(crate) struct Landed<'a> {
    pub(crate) object: &'a Arc<Object>,
    pub(crate) layout: &'a Arc<Layout>,
    /// The job that they came by.
    pub(crate) job: JobId,
    /// Where they lie in the object.
    pub(crate) range: ByteRange,
    pub(crate) bytes: &'a Bytes,
    /// The blocks that readers have had.
    pub(crate) asked: &'a [u64],
}

/// Hands whole blocks to the disk pool, chunk by chunk. A full lane drops them: they are then fetched again when they
/// are asked for.
pub(crate) fn submit(fills: &Arc<Fills>, landed: &Landed<'_>, charge: &Arc<Charge>) {
    let (layout, storage) = (landed.layout, &fills.index.storage);
    let per_chunk = layout.chunk.blocks_per_chunk();
    let mut blocks = layout.chunk.blocks_of(landed.range);
    while blocks.start < blocks.end {
        let chunk_no = blocks.start / per_chunk;
        let end = blocks.end.min((chunk_no + 1) * per_chunk);
        let ours = blocks.start..end;
        let first = block_span(layout.chunk, layout.size, ours.start).start;
        let last = block_span(layout.chunk, layout.size, ours.end - 1).end;
        let part = offset_in(landed.range, first)..offset_in(landed.range, last);
        let bytes = landed.bytes.slice(part);
        let bypassed = storage.bypasses_writes();
        if bypassed {
            storage.fill_bypassed();
        }
        let entered = !bypassed
            && !fills.budget.is_overdrawn()
            && fills.queue.enter(bytes.len() as u64, fills.services.now());
        let asked = landed.asked.iter().copied();
        let fill = Fill {
            fills: Arc::clone(fills),
            object: Arc::clone(landed.object),
            layout: Arc::clone(layout),
            job: landed.job,
            chunk_no,
            bytes,
            asked: asked.filter(|n| ours.contains(n)).collect(),
            blocks: ours,
            entered,
            written: false,
            _charge: Arc::clone(charge),
        };
        let run: Job = Box::new(move || fill.run());
        // A refused job is dropped, and its fill lets go of the blocks.
        if entered && let Err(refused) = fills.services.submit(Lane::Write, run) {
            storage.queue_is_full();
            drop(refused);
        }
        blocks.start = end;
    }
}

/// Some blocks of one chunk on their way to disk. However it ends, the blocks are no longer on their way.
struct Fill {
    fills: Arc<Fills>,
    object: Arc<Object>,
    layout: Arc<Layout>,
    job: JobId,
    chunk_no: u64,
    blocks: Range<u64>,
    /// Those of them that readers have had.
    asked: Vec<u64>,
    bytes: Bytes,
    /// It was counted into the queue.
    entered: bool,
    written: bool,
    _charge: Arc<Charge>,
}

impl Fill {
    fn run(mut self) {
        self.written = self.write().is_some();
    }

    /// The slot and room for what it may grow; `None` where the blocks find no place, or the disk is not to be asked.
    fn place(&self) -> Option<(Arc<Slot>, Room<'_>)> {
        let (fills, storage) = (&*self.fills, &self.fills.index.storage);
        if fills.index.file.read_only || fills.services.is_closed() {
            return None;
        }
        if storage.bypasses_writes() {
            storage.fill_bypassed();
            return None;
        }
        if !fills.space.is_counted_for_fill() {
            return None;
        }
        let len = self.bytes.len() as u64;
        let (slot, room) = fills.space.slot_for(&self.layout, self.chunk_no, len)?;
        // A disk that has no space is not asked for more for a while; what needs none goes on.
        if room.may_grow() && !storage.may_grow() {
            storage.fill_bypassed();
            return None;
        }
        Some((slot, room))
    }

    /// Writes the blocks; `None` where that is not to be, or the disk fails.
    fn write(&self) -> Option<()> {
        let fills = &*self.fills;
        let (slot, mut room) = self.place()?;
        let mut tenancy = slot.tenancy.lock();
        if slot.state.lock().retired && !is_broken(Rule::FillSeesRetired) {
            return None;
        }
        if *tenancy == Tenancy::Pending {
            fills.begin_tenancy(&slot, &mut room)?;
            *tenancy = Tenancy::Begun;
        }
        fills.proof.make_trusted(&slot)?;
        fills.index.load_checksums(&slot)?;
        let blocks = self.blocks_in_chunk();
        let mask = BlockMask::span(blocks.clone());
        let (absent, witness) = {
            let state = slot.state.lock();
            (mask.without(state.present), state.witness(BlockMask::NONE))
        };
        if absent.is_empty() {
            return Some(());
        }
        let crcs = self.checksums(&slot, blocks.start);
        let extent = of_blocks(&slot, blocks.clone());
        #[cfg(feature = "testing")]
        fills.vouch_too_early(&slot, mask);
        let storage = &fills.index.storage;
        let taken = match storage.write_chunk(extent.file, extent.offset, &self.bytes) {
            Ok(taken) => u32::try_from(taken.div_ceil(4096)).unwrap_or(u32::MAX),
            Err(error) => {
                storage.report(DiskOp::WriteChunk, &error);
                fills.reckon(&slot, self.bytes.len() as u64);
                return None;
            }
        };
        if fills.space.limits.wrote(self.bytes.len() as u64) {
            fills.space.ask_space();
        }
        let before = self.vouch(&slot, &crcs, taken, (mask, absent), witness);
        fills.index.slots.account(&slot, before, taken);
        fills.index.dirty.note(&slot);
        Some(())
    }

    /// Notes what was written: checksums first, then that the blocks are present. Only what was `absent` is vouched
    /// for: a block that was present already may have been read in the meantime. Returns what the file took before, in
    /// pages.
    fn vouch(
        &self,
        slot: &Slot,
        crcs: &[u32],
        taken: u32,
        (written, absent): (BlockMask, BlockMask),
        witness: Witness,
    ) -> u32 {
        let mut state = slot.state.lock();
        let before = std::mem::replace(&mut state.alloc_4k, taken);
        if taken > before {
            self.fills.index.storage.grew();
        }
        let base = self.blocks_in_chunk().start;
        if let Some(held) = &mut state.crcs {
            for (crc, place) in crcs.iter().zip(held.iter_mut().skip(base as usize)) {
                *place = *crc;
            }
        }
        state.present = state.present.with(written);
        let per_chunk = self.layout.chunk.blocks_per_chunk();
        for block in &self.asked {
            let n = u32::try_from(block % per_chunk).unwrap_or_default();
            state.read = state.read.with(BlockMask::one(n));
        }
        state.verify(absent, witness);
        before
    }

    /// The blocks by their numbers within the chunk.
    fn blocks_in_chunk(&self) -> Range<u32> {
        let first = self.blocks.start;
        let base = u32::try_from(first % self.layout.chunk.blocks_per_chunk()).unwrap_or_default();
        base..base + u32::try_from(self.blocks.end - first).unwrap_or_default()
    }

    fn checksums(&self, slot: &Slot, base: u32) -> Vec<u32> {
        let size = usize::try_from(self.layout.chunk.block_size()).unwrap_or(usize::MAX);
        let blocks = self.bytes.chunks(size).zip(base..);
        blocks
            .map(|(bytes, n)| block_crc(slot.tag, slot.chunk_no, n, bytes))
            .collect()
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        let services = &self.fills.services;
        if self.written {
            let blocks = self.blocks.end - self.blocks.start;
            services.counters.blocks_filled.add(blocks);
        } else {
            services.counters.fills_dropped.add(1);
        }
        let mut answers = Answers::default();
        // Landed blocks have no waiters: no read gets this error.
        let error = ReadError::Closed;
        let mut flight = self.object.flight.lock();
        flight.leave(self.blocks.clone(), self.job, &error, &mut answers);
        drop(flight);
        answers.give();
        let (bytes, now) = (self.bytes.len() as u64, services.now());
        if self.entered {
            self.fills.queue.leave(bytes, now, self.written);
        }
    }
}
