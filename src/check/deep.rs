//! Reading every present block and comparing it with its checksum.

use std::ops::ControlFlow;

use super::facts::{Facts, SlotFact};
use super::{CheckError, Disk, Observer, Phase, Step};
use crate::format::{SECTOR_LEN, SlotRecord, block_crc};
use crate::storage::ChunkFile;
use crate::units::{BlockMask, Uuid};

/// Notes the blocks whose bytes do not give their checksum.
pub(super) fn blocks(
    disk: Disk<'_>,
    _jobs: usize,
    facts: &mut Facts,
    observe: Observer<'_>,
) -> Result<(), CheckError> {
    let (uuid, geometry) = (facts.superblock.uuid, facts.superblock.geometry);
    let (mut done, total) = (
        0,
        facts
            .slots
            .iter()
            .map(|s| u64::from(s.present.count()))
            .sum(),
    );
    let mut bytes = 0;
    for slot in &mut facts.slots {
        let offset = geometry.slot_offset(slot.slot);
        let mut sector = [0; SECTOR_LEN];
        disk.storage.read_index(offset, &mut sector)?;
        if Some(crc32fast::hash(&sector)) == slot.evidence.fingerprint {
            bytes += slot_blocks(disk, uuid, offset, &sector, slot);
        }
        done += u64::from(slot.present.count());
        let phase = Phase::Blocks;
        if let ControlFlow::Break(()) = observe(Step { phase, done, total }) {
            return Err(CheckError::Cancelled);
        }
    }
    (facts.blocks_read, facts.bytes_read) = (done, bytes);
    Ok(())
}

/// Reads the present blocks of one slot; how many bytes that were.
fn slot_blocks(
    disk: Disk<'_>,
    uuid: Uuid,
    offset: u64,
    sector: &[u8; SECTOR_LEN],
    slot: &mut SlotFact,
) -> u64 {
    let Ok(record) = SlotRecord::decode(sector, uuid, offset) else {
        return 0;
    };
    let file = ChunkFile {
        slot: slot.slot,
        generation: record.generation,
    };
    let (mut bytes, mut buffer) = (0, Vec::new());
    for block in record.present.iter() {
        let len = record.chunk.block_len(u64::from(record.valid_len), block);
        let offset = u64::from(block) * record.chunk.block_size();
        buffer.resize(usize::try_from(len).unwrap_or_default(), 0);
        let read = disk.storage.read_chunk(file, offset, &mut buffer);
        let whole = read.is_ok_and(|read| read == buffer.len());
        let crc = block_crc(record.tag, record.chunk_no, block, &buffer);
        if !whole || record.crc_of(block) != Some(crc) {
            slot.bad_blocks = slot.bad_blocks.with(BlockMask::one(block));
        }
        bytes += len;
    }
    bytes
}
