//! The slot record: what one chunk file holds, and the proof of it.
//!
//! Tag, presence and block checksums share one sector, so that neither tearing nor reordering can separate presence from
//! its proof. A record is complete in itself: what it claims is believed block by block, never because of another sector.

use super::geometry::Geometry;
use super::wire::{Sector, SectorError, SectorReader, SectorWriter, layout};
use crate::units::{BlockMask, ChunkSize, Stamp, Tag, Uuid};

const MAGIC_BYTES: [u8; 4] = *b"LdSL";

layout! {
    MAGIC: 4,
    CRC: 4,
    KIND: 1,
    CHUNK_LOG2: 1,
    DEVICE: 2,
    FLAGS: 4,
    STAMP: 8,
    TAG: 16,
    CHUNK_NO: 8,
    PRESENT: 8,
    VALID_LEN: 4,
    BLOB_HINT: 4,
    LAST_USE: 4,
    GENERATION: 4,
    ALLOC_4K: 4,
    RESERVED: 180,
    BLOCK_CRC: 256,
}

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SlotKind {
    /// Nothing, though its file may still lie on disk.
    Free = 0,
    /// A chunk of a file.
    Data = 1,
    /// Blocks of several small files (reserved: no writer of version 1.0 makes one).
    Pack = 2,
    /// A chunk of a directory's listing.
    Dir = 3,
}

/// The flag bits of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SlotFlags(pub u32);

impl SlotFlags {
    /// The file was once handed to FUSE passthrough: it is never written again, only unlinked.
    pub const TAINTED: u32 = 1 << 0;
    /// The file shares extents with another (reserved for sealing).
    pub const REFLINKED: u32 = 1 << 1;
    /// The slot is pinned (reserved).
    pub const PINNED: u32 = 1 << 2;
    /// The blob's validator is weak.
    pub const WEAK_VALIDATOR: u32 = 1 << 3;
    /// The chunk was read again since it came: it is worth more to the choice of victims.
    pub const VISITED: u32 = 1 << 4;
    /// The chunk is in the policy's main queue.
    pub const QUEUE_MAIN: u32 = 1 << 5;
    /// The bytes lie in one file for the whole blob (reserved for sealing).
    pub const SEALED: u32 = 1 << 6;
    const KNOWN: u32 = (1 << 7) - 1;

    /// Whether all bits of `flag` are set.
    pub fn has(self, flag: u32) -> bool {
        self.0 & flag == flag
    }
}

/// One slot's record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotRecord {
    /// What the slot holds.
    pub kind: SlotKind,
    /// The chunk's size; for a free slot that of its last chunk.
    pub chunk: ChunkSize,
    /// The cache disk that holds the file; 0 is the cache directory itself, and the only one in version 1.0.
    pub device: u16,
    /// Flag bits.
    pub flags: SlotFlags,
    /// When this tenancy was written or last proven, as a stamp.
    pub stamp: Stamp,
    /// The version of the blob; zero for a free slot.
    pub tag: Tag,
    /// Which chunk of the blob.
    pub chunk_no: u64,
    /// The blocks that the file holds.
    pub present: BlockMask,
    /// The bytes of the chunk up to the blob's end.
    pub valid_len: u32,
    /// The number of the blob record that named the tag when the slot was filled: a hint that is verified.
    pub blob_hint: Option<u32>,
    /// The last use in minutes since 1970.
    pub last_use: u32,
    /// Rises with every tenancy of the slot.
    pub generation: u32,
    /// What the file takes on disk, in units of 4 KiB.
    pub alloc_4k: u32,
    /// The checksum of each present block (see [`super::block_crc`]); zero for an absent one.
    pub crcs: [u32; 64],
}

impl SlotRecord {
    /// A free slot that remembers its file: what it takes on disk, its generation and whether it is tainted.
    pub fn free(stamp: Stamp, generation: u32, alloc_4k: u32, flags: SlotFlags) -> Self {
        Self {
            kind: SlotKind::Free,
            chunk: ChunkSize::MIN,
            device: 0,
            flags,
            stamp,
            tag: Tag::default(),
            chunk_no: 0,
            present: BlockMask::NONE,
            valid_len: 0,
            blob_hint: None,
            last_use: 0,
            generation,
            alloc_4k,
            crcs: [0; 64],
        }
    }

    /// The checksum of block `block`, if it is present.
    pub fn crc_of(&self, block: u32) -> Option<u32> {
        let crc = self.crcs.get(block as usize)?;
        self.present.has(block).then_some(*crc)
    }

    /// The sector of this record at `offset` of the index of cache `uuid`.
    pub fn encode(&self, uuid: Uuid, offset: u64) -> Sector {
        let mut crcs = [0u8; 256];
        for (to, crc) in crcs.chunks_exact_mut(4).zip(&self.crcs) {
            to.copy_from_slice(&crc.to_le_bytes());
        }
        SectorWriter::new()
            .u8(KIND, self.kind as u8)
            .u8(CHUNK_LOG2, self.chunk.log2())
            .u16(DEVICE, self.device)
            .u32(FLAGS, self.flags.0)
            .u64(STAMP, self.stamp.0)
            .bytes(TAG, &self.tag.0)
            .u64(CHUNK_NO, self.chunk_no)
            .u64(PRESENT, self.present.0)
            .u32(VALID_LEN, self.valid_len)
            .u32(BLOB_HINT, self.blob_hint.map_or(0, |n| n + 1))
            .u32(LAST_USE, self.last_use)
            .u32(GENERATION, self.generation)
            .u32(ALLOC_4K, self.alloc_4k)
            .bytes(BLOCK_CRC, &crcs)
            .seal(MAGIC_BYTES, Geometry::seed(uuid, offset))
    }

    /// Reads the record at `offset` of the index of cache `uuid`.
    ///
    /// Errors: blank (a slot that was never used), magic, checksum, or a field.
    pub fn decode(sector: &Sector, uuid: Uuid, offset: u64) -> Result<Self, SectorError> {
        let read = SectorReader(sector);
        read.check(MAGIC_BYTES, Geometry::seed(uuid, offset))?;
        read.zero(RESERVED)?;
        let bad = |field: super::Field, value: u64| SectorError::Field {
            field: field.name,
            value,
        };
        let kind = match read.u8(KIND) {
            0 => SlotKind::Free,
            1 => SlotKind::Data,
            2 => SlotKind::Pack,
            3 => SlotKind::Dir,
            other => return Err(bad(KIND, u64::from(other))),
        };
        let log2 = read.u8(CHUNK_LOG2);
        let mut crcs = [0u32; 64];
        for (to, from) in crcs.iter_mut().zip(read.slice(BLOCK_CRC).chunks_exact(4)) {
            *to = u32::from_le_bytes(from.try_into().unwrap_or_default());
        }
        let record = Self {
            kind,
            chunk: ChunkSize::from_log2(log2).ok_or_else(|| bad(CHUNK_LOG2, u64::from(log2)))?,
            device: read.u16(DEVICE),
            flags: SlotFlags(read.u32(FLAGS)),
            stamp: Stamp(read.u64(STAMP)),
            tag: Tag(read.bytes(TAG)),
            chunk_no: read.u64(CHUNK_NO),
            present: BlockMask(read.u64(PRESENT)),
            valid_len: read.u32(VALID_LEN),
            blob_hint: read.u32(BLOB_HINT).checked_sub(1),
            last_use: read.u32(LAST_USE),
            generation: read.u32(GENERATION),
            alloc_4k: read.u32(ALLOC_4K),
            crcs,
        };
        record.check()?;
        Ok(record)
    }

    /// Whether the fields agree with one another.
    fn check(&self) -> Result<(), SectorError> {
        let bad = |field: super::Field, value: u64| {
            Err(SectorError::Field {
                field: field.name,
                value,
            })
        };
        if self.flags.0 & !SlotFlags::KNOWN != 0 {
            return bad(FLAGS, u64::from(self.flags.0));
        }
        if self.device != 0 {
            return bad(DEVICE, u64::from(self.device));
        }
        if u64::from(self.valid_len) > self.chunk.bytes() {
            return bad(VALID_LEN, u64::from(self.valid_len));
        }
        if self.chunk_no > u64::MAX >> self.chunk.log2() {
            return bad(CHUNK_NO, self.chunk_no);
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a chunk has at most 64 blocks"
        )]
        let blocks = self.chunk.blocks_in(u64::from(self.valid_len)) as u32;
        if !BlockMask::span(0..blocks).holds(self.present) {
            return bad(PRESENT, self.present.0);
        }
        let absent = self
            .crcs
            .iter()
            .zip(0u32..)
            .find(|(crc, n)| **crc != 0 && !self.present.has(*n));
        if let Some((crc, _)) = absent {
            return bad(BLOCK_CRC, u64::from(*crc));
        }
        if self.kind == SlotKind::Free && (self.tag != Tag::default() || self.valid_len != 0) {
            return bad(KIND, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SlotRecord {
        let mut crcs = [0; 64];
        crcs[3] = 77;
        SlotRecord {
            kind: SlotKind::Data,
            chunk: ChunkSize::DEFAULT,
            device: 0,
            flags: SlotFlags(SlotFlags::TAINTED),
            stamp: Stamp::new(3, 9),
            tag: Tag([7; 16]),
            chunk_no: 12,
            present: BlockMask::one(3),
            valid_len: 300_000,
            blob_hint: Some(0),
            last_use: 1,
            generation: 4,
            alloc_4k: 16,
            crcs,
        }
    }

    #[test]
    fn round_trip_and_every_flipped_bit_is_seen() {
        let (uuid, offset) = (Uuid([9; 16]), 70_000 * 512);
        let record = sample();
        let sector = record.encode(uuid, offset);
        assert_eq!(SlotRecord::decode(&sector, uuid, offset), Ok(record));
        for bit in 0..512 * 8 {
            let mut bad = sector;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SlotRecord::decode(&bad, uuid, offset).is_err(), "bit {bit}");
        }
        assert!(
            SlotRecord::decode(&sector, uuid, offset + 512).is_err(),
            "another place"
        );
        assert!(
            SlotRecord::decode(&sector, Uuid([8; 16]), offset).is_err(),
            "another cache"
        );
        assert_eq!(
            SlotRecord::decode(&[0; 512], uuid, offset),
            Err(SectorError::Blank)
        );
    }

    #[test]
    fn presence_beyond_the_blob_is_refused() {
        let mut record = sample();
        record.present = BlockMask::one(5);
        let sector = record.encode(Uuid::default(), 0);
        let error = SlotRecord::decode(&sector, Uuid::default(), 0);
        assert!(
            matches!(
                error,
                Err(SectorError::Field {
                    field: "PRESENT",
                    ..
                })
            ),
            "{error:?}"
        );
    }
}
