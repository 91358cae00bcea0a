//! The inline answer: bytes that are cached, in memory and checked are copied on the thread that asked, without waiting.
//!
//! A refused read may have begun to bring any page into memory: no block is verified when anybody looks again.

use std::cell::RefCell;

use crate::engine::api::blob::{Blob, Plan};
use crate::engine::config::Verify;
use crate::engine::flight::read_op::offset_in;
use crate::engine::index::slot::{Slot, SlotState};
use crate::engine::index::slots::Lookup;
use crate::format::block_crc;
use crate::runtime::test_faults::{Rule, is_broken};
use crate::storage::NowRead;
use crate::units::{BlockMask, ByteRange, ChunkSize};

/// The largest block there is: what is in memory is checked on the spot, which takes no longer than handing it over.
const INLINE_CHECK_MAX: usize = 1 << 20;

impl Blob {
    /// Copies `range` into `buf` if every block of it is at hand.
    pub(crate) fn copy_now(&self, plan: &Plan, range: ByteRange, buf: &mut [u8]) -> Option<()> {
        let tag = plan.tag()?;
        let (mut at, mut rest) = (range.start, buf);
        while at < range.end {
            let chunk_no = at / plan.chunk.bytes();
            let end = range.end.min((chunk_no + 1) * plan.chunk.bytes());
            let (part, tail) = rest.split_at_mut(offset_in(ByteRange::new(at, end), end));
            let Lookup::Found(slot) = self.cache().slots.find_now(tag, chunk_no) else {
                return None;
            };
            self.copy_chunk_now(&slot, at - chunk_no * plan.chunk.bytes(), part)?;
            (at, rest) = (end, tail);
        }
        Some(())
    }

    /// Copies bytes from `start` of one chunk. The slot's state stays locked meanwhile: nobody else can bring unchecked
    /// pages in between the look at the verified bits and the read. The read does not wait.
    fn copy_chunk_now(&self, slot: &Slot, start: u64, buf: &mut [u8]) -> Option<()> {
        let wanted = blocks_in_chunk(slot.chunk, ByteRange::at(start, buf.len() as u64));
        let mut state = slot.state.lock();
        let retired = state.retired && !is_broken(Rule::InlineSeesRetired);
        if retired || state.suspect || !state.present.holds(wanted) {
            return None;
        }
        // Where every read is checked, nothing counts as verified.
        let believed = match self.cache().config.verify {
            Verify::First => state.verified,
            Verify::Always => BlockMask::NONE,
        };
        if believed.holds(wanted) {
            self.read_verified(slot, &mut state, start, buf)?;
            slot.note_read(&mut state, wanted, &self.cache().standing);
            return Some(());
        }
        for n in wanted.iter() {
            let block = ByteRange::at(
                u64::from(n) * slot.chunk.block_size(),
                slot.block_len(n) as u64,
            );
            let part = block.clip(ByteRange::at(start, buf.len() as u64));
            let place = buf.get_mut(offset_in(ByteRange::at(start, 0), part.start)..)?;
            let place = place.get_mut(..offset_in(part, part.end))?;
            match believed.has(n) {
                true => self.read_verified(slot, &mut state, part.start, place)?,
                false => {
                    self.check_now(slot, &mut state, n, offset_in(block, part.start), place)?
                }
            }
        }
        slot.note_read(&mut state, wanted, &self.cache().standing);
        Some(())
    }

    fn read_verified(
        &self,
        slot: &Slot,
        state: &mut SlotState,
        start: u64,
        buf: &mut [u8],
    ) -> Option<()> {
        let got = match self
            .cache()
            .ground
            .storage
            .read_chunk_now(slot.file(), start, buf)
        {
            Ok(NowRead::Bytes(n)) => n,
            Ok(NowRead::Refused | NowRead::Unsupported) | Err(_) => 0,
        };
        if got == buf.len() {
            return Some(());
        }
        // The refused read has started to bring pages in that nobody checked, and not only those that it was asked for.
        state.doubt();
        None
    }

    /// Checks one block whose pages are in memory, and copies the part of it from `from` on.
    fn check_now(
        &self,
        slot: &Slot,
        state: &mut SlotState,
        n: u32,
        from: usize,
        place: &mut [u8],
    ) -> Option<()> {
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let len = slot.block_len(n);
        if len > INLINE_CHECK_MAX || state.checking.has(n) {
            return None;
        }
        let crc = match &state.crcs {
            Some(crcs) => *crcs.get(n as usize)?,
            None => {
                let record = self.cache().disk.read_slot_now(slot.id)?;
                record.crc_of(n).filter(|_| slot.owns(state, &record))?
            }
        };
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(INLINE_CHECK_MAX, 0);
            let whole = scratch.get_mut(..len)?;
            let start = u64::from(n) * slot.chunk.block_size();
            match self
                .cache()
                .ground
                .storage
                .read_chunk_now(slot.file(), start, whole)
            {
                Ok(NowRead::Bytes(got)) if got == len => {}
                _ => {
                    state.doubt();
                    return None;
                }
            }
            if block_crc(slot.tag, slot.chunk_no, n, whole) != crc {
                return None;
            }
            place.copy_from_slice(whole.get(from..from + place.len())?);
            let witness = state.witness(BlockMask::NONE);
            state.verify(BlockMask::one(n), witness);
            self.cache().counters.blocks_checked.add(1);
            Some(())
        })
    }
}

/// The blocks of a chunk that the bytes of `range` (within the chunk) touch.
fn blocks_in_chunk(chunk: ChunkSize, range: ByteRange) -> BlockMask {
    let blocks = chunk.blocks_of(range);
    let bound = |n: u64| u32::try_from(n).unwrap_or(64).min(64);
    BlockMask::span(bound(blocks.start)..bound(blocks.end))
}
