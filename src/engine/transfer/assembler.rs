//! Cutting the bytes of one answer into whole blocks. Pure.

use bytes::{Bytes, BytesMut};

use crate::engine::flight::blocks::block_span;
use crate::units::offset_in;
use crate::units::{ByteRange, ChunkSize};

/// The bytes of an object as they come, in order, of which those of one range are wanted. The range begins and ends
/// where blocks do, or at the object's end.
pub(super) struct Assembler {
    chunk: ChunkSize,
    /// The object's.
    size: u64,
    range: ByteRange,
    /// The next byte that comes.
    at: u64,
    /// The bytes of a block that is not complete.
    partial: BytesMut,
}

/// Whole blocks, and where the first of them begins in the object.
pub(super) type Run = (u64, Bytes);

impl Assembler {
    /// Takes the bytes of `range`, which come from its start on.
    pub(super) fn new(chunk: ChunkSize, size: u64, range: ByteRange) -> Self {
        Self {
            chunk,
            size,
            range,
            at: range.start,
            partial: BytesMut::new(),
        }
    }

    /// The bytes that are wanted.
    pub(super) fn range(&self) -> ByteRange {
        self.range
    }

    /// The next byte that comes.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Whether all that is wanted has come.
    pub(super) fn is_complete(&self) -> bool {
        self.at >= self.range.end
    }

    /// Wants only this range from now on: another version was found, which may be shorter.
    pub(super) fn want(&mut self, range: ByteRange) {
        self.range = range;
    }

    /// Wants nothing more.
    pub(super) fn want_nothing(&mut self) {
        self.range = ByteRange::at(self.at, 0);
    }

    /// The whole object comes, from its first byte on; `all` of it is wanted, or what was wanted so far.
    pub(super) fn begin_whole(&mut self, all: bool) {
        debug_assert!(self.partial.is_empty(), "nothing was delivered yet");
        self.at = 0;
        if all {
            self.range = ByteRange::new(0, self.size);
        }
    }

    /// The part of `bytes`, the next ones to come, that is wanted, and where it begins.
    pub(super) fn wanted(&mut self, mut bytes: Bytes) -> Run {
        let before = self.range.start.saturating_sub(self.at);
        let skipped = before.min(bytes.len() as u64);
        self.at += skipped;
        drop(bytes.split_to(offset_in(ByteRange::new(0, skipped), skipped)));
        let left = self.range.end.saturating_sub(self.at);
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let start = self.at;
        self.at += bytes.len() as u64;
        (start, bytes)
    }

    /// The whole blocks that these wanted bytes complete: at most the one that was begun before them, and a run of
    /// others.
    pub(super) fn blocks(&mut self, wanted: Run) -> [Option<Run>; 2] {
        let (mut start, mut bytes) = wanted;
        let mut begun = None;
        if !self.partial.is_empty() {
            let first = start - self.partial.len() as u64;
            let block = block_span(self.chunk, self.size, first / self.chunk.block_size());
            let need = offset_in(block, block.end) - self.partial.len();
            let rest = bytes.split_to(need.min(bytes.len()));
            self.partial.extend_from_slice(&rest);
            if self.partial.len() < offset_in(block, block.end) {
                return [None, None];
            }
            begun = Some((first, self.partial.split().freeze()));
            start = block.end;
        }
        let end = if self.is_complete() {
            self.at
        } else {
            self.at - self.at % self.chunk.block_size()
        };
        let run = (start < end).then(|| {
            let whole = bytes.split_to(offset_in(ByteRange::new(start, end), end));
            (start, whole)
        });
        self.partial.extend_from_slice(&bytes);
        [begun, run]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `piece` and returns the runs of blocks that come out.
    fn cut(assembler: &mut Assembler, bytes: &[u8], piece: usize) -> Vec<Run> {
        let mut runs = Vec::new();
        for part in bytes.chunks(piece) {
            let wanted = assembler.wanted(Bytes::copy_from_slice(part));
            runs.extend(assembler.blocks(wanted).into_iter().flatten());
        }
        runs
    }

    fn object(size: usize) -> Vec<u8> {
        (0u8..251).cycle().take(size).collect()
    }

    #[test]
    fn blocks_come_out_whole_and_in_order_however_the_bytes_come() {
        let chunk = ChunkSize::from_bytes(1 << 16).expect("a chunk size");
        let block = usize::try_from(chunk.block_size()).expect("small");
        let size = 5 * block + 100;
        let bytes = object(size);
        for piece in [1, 7, block - 1, block, block + 1, 3 * block, size] {
            for first in [0, 2] {
                let range = ByteRange::new((first * block) as u64, size as u64);
                let mut assembler = Assembler::new(chunk, size as u64, range);
                let mut at = range.start;
                for (start, run) in cut(&mut assembler, &bytes[first * block..], piece) {
                    assert_eq!(start, at, "pieces of {piece}");
                    assert_eq!(start % chunk.block_size(), 0);
                    let from = usize::try_from(start).expect("small");
                    assert_eq!(run, bytes[from..from + run.len()]);
                    at += run.len() as u64;
                }
                assert_eq!(at, size as u64, "pieces of {piece} from block {first}");
                assert!(assembler.is_complete());
            }
        }
    }

    #[test]
    fn of_a_whole_object_only_what_is_wanted_comes_out() {
        let chunk = ChunkSize::from_bytes(1 << 16).expect("a chunk size");
        let block = usize::try_from(chunk.block_size()).expect("small");
        let bytes = object(4 * block);
        let range = ByteRange::new(block as u64, 2 * block as u64);
        for piece in [10, block, 4 * block] {
            let mut assembler = Assembler::new(chunk, bytes.len() as u64, range);
            assembler.begin_whole(false);
            let runs = cut(&mut assembler, &bytes, piece);
            let whole: Vec<u8> = runs.iter().flat_map(|(_, run)| run.to_vec()).collect();
            assert_eq!(whole, bytes[block..2 * block], "pieces of {piece}");
        }
        let mut assembler = Assembler::new(chunk, bytes.len() as u64, range);
        assembler.begin_whole(true);
        let all: usize = cut(&mut assembler, &bytes, 777)
            .iter()
            .map(|(_, run)| run.len())
            .sum();
        assert_eq!(all, bytes.len());
    }
}
