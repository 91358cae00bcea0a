//! The inline answer: bytes that are cached, in memory and checked are copied on the thread that asked, without
//! waiting.
//!
//! A refused read may have begun to bring any page into memory: no block is verified when it is looked at again.

use std::cell::RefCell;

use crate::engine::config::cache::Verify;
use crate::engine::index::slot::{Slot, SlotState};
use crate::engine::index::slots::Lookup;
use crate::engine::placement::extent::{of_blocks, of_bytes};
use crate::engine::placement::layout::Layout;
use crate::engine::read::reads::Reads;
use crate::format::block_crc;
use crate::runtime::test_faults::{Rule, is_broken};
use crate::storage::{NowRead, Storage};
use crate::units::offset_in;
use crate::units::{BlockMask, ByteRange, ChunkSize};

/// The largest block there is: what is in memory is checked on the spot, which takes no longer than handing it over.
const INLINE_CHECK_MAX: usize = 1 << 20;

impl Reads {
    /// Copies `range` into `buf` if every block of it is at hand.
    pub(super) fn copy_now(&self, layout: &Layout, range: ByteRange, buf: &mut [u8]) -> Option<()> {
        let tag = layout.tag()?;
        let (mut at, mut rest) = (range.start, buf);
        while at < range.end {
            let chunk_no = at / layout.chunk.bytes();
            let end = range.end.min((chunk_no + 1) * layout.chunk.bytes());
            let (part, tail) = rest.split_at_mut(offset_in(ByteRange::new(at, end), end));
            let Lookup::Found(slot) = self.index.slots.find_now(tag, chunk_no) else {
                return None;
            };
            self.copy_chunk_now(&slot, at - chunk_no * layout.chunk.bytes(), part)?;
            (at, rest) = (end, tail);
        }
        Some(())
    }

    /// Copies bytes from `start` of one chunk. The slot's state stays locked meanwhile: nothing else can bring
    /// unchecked pages in between the look at the verified bits and the read. The read does not wait.
    fn copy_chunk_now(&self, slot: &Slot, start: u64, buf: &mut [u8]) -> Option<()> {
        let wanted = blocks_in_chunk(slot.chunk, ByteRange::at(start, buf.len() as u64));
        let mut state = slot.state.lock();
        let retired = state.retired && !is_broken(Rule::InlineSeesRetired);
        if retired || state.suspect || !state.present.holds(wanted) {
            return None;
        }
        // Where every read is checked, nothing counts as verified.
        let believed = match self.services.config.verify {
            Verify::First => state.verified,
            Verify::Always => BlockMask::NONE,
        };
        if believed.holds(wanted) {
            self.read_verified(slot, &mut state, start, buf)?;
            slot.note_read(&mut state, wanted, &self.index.priorities);
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
        slot.note_read(&mut state, wanted, &self.index.priorities);
        Some(())
    }

    fn read_verified(
        &self,
        slot: &Slot,
        state: &mut SlotState,
        start: u64,
        buf: &mut [u8],
    ) -> Option<()> {
        let extent = of_bytes(slot, ByteRange::at(start, buf.len() as u64));
        let storage = &self.index.storage;
        let got = match storage.read_chunk_now(extent.file, extent.offset, buf) {
            Ok(NowRead::Bytes(n)) => n,
            Ok(NowRead::Refused | NowRead::Unsupported) | Err(_) => 0,
        };
        if got == buf.len() {
            return Some(());
        }
        // The refused read has started to bring pages in that larder has not checked, and not only those that it was
        // asked for.
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
        let crc = self.index.checksum_now(slot, state, n)?;
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(INLINE_CHECK_MAX, 0);
            let whole = scratch.get_mut(..len)?;
            let extent = of_blocks(slot, n..n + 1);
            let storage = &self.index.storage;
            match storage.read_chunk_now(extent.file, extent.offset, whole) {
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
            self.services.counters.blocks_checked.add(1);
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
