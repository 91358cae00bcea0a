//! Comparing blocks with their checksums.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use crate::engine::health::verdict::{Access, Failure};
use crate::engine::index::slot::Slot;
use crate::engine::placement::extent::{Extent, of_blocks};
use crate::engine::proof::cache_proof::Proof;
use crate::format::block_crc;
use crate::storage::{DiskOp, Storage};
use crate::units::offset_in;
use crate::units::{BlockMask, ByteRange};

/// The most that one read from disk asks for.
const READ_MAX: u64 = 1 << 20;

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

impl Proof {
    /// Reads runs of blocks and compares each with its checksum: those that fit, and those that do not.
    pub(crate) fn compare(
        &self,
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
                self.compare_run(slot, first..end, crcs, from, &mut found);
                first = end;
            }
        }
        let checked = found.good.len() as u64;
        self.services.counters.blocks_checked.add(checked);
        found
    }

    fn compare_run(
        &self,
        slot: &Slot,
        run: Range<u32>,
        crcs: &[u32; 64],
        from: ReadFrom,
        found: &mut Compared,
    ) {
        let extent = of_blocks(slot, run.clone());
        let bytes = match self.read(extent, from) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.index.storage.report(DiskOp::ReadChunk, &error);
                found.failed = true;
                if Failure::of(&error, Access::Read).spares_blocks() {
                    found.unread = found.unread.with(BlockMask::span(run));
                    return;
                }
                // What cannot be read is written again, which mends a bad sector.
                Bytes::new()
            }
        };
        found.read += bytes.len() as u64;
        let got = ByteRange::at(extent.offset, bytes.len() as u64);
        for n in run {
            let block = of_blocks(slot, n..n + 1);
            let span = ByteRange::at(block.offset, block.len as u64);
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
    }

    fn read(&self, extent: Extent, from: ReadFrom) -> io::Result<Bytes> {
        let (storage, Extent { file, offset, len }) = (&self.index.storage, extent);
        let mut buffer = vec![0; len];
        let got = match from {
            ReadFrom::Memory => storage.read_chunk(file, offset, &mut buffer)?,
            ReadFrom::Disk => storage.read_chunk_cold(file, offset, &mut buffer)?,
        };
        buffer.truncate(got);
        Ok(buffer.into())
    }
}
