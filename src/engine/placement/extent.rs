//! Where blocks of a slot lie. Today a slot has one file, which holds its chunk from the first byte on; the rooms that
//! read and write blocks ask here, so that they do not know that.

use std::ops::Range;

use crate::engine::index::slot::Slot;
use crate::storage::ChunkFile;
use crate::units::ByteRange;

/// A run of bytes of one chunk file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    /// The file.
    pub(crate) file: ChunkFile,
    /// Where the bytes begin in it.
    pub(crate) offset: u64,
    /// How many there are.
    pub(crate) len: usize,
}

/// The extent of adjacent blocks of a slot.
pub(crate) fn of_blocks(slot: &Slot, blocks: Range<u32>) -> Extent {
    Extent {
        file: slot.file(),
        offset: u64::from(blocks.start) * slot.chunk.block_size(),
        len: blocks.map(|block| slot.block_len(block)).sum(),
    }
}

/// The extent of bytes of a slot's chunk, counted from the chunk's first byte.
pub(crate) fn of_bytes(slot: &Slot, range: ByteRange) -> Extent {
    Extent {
        file: slot.file(),
        offset: range.start,
        len: usize::try_from(range.len()).unwrap_or(usize::MAX),
    }
}
