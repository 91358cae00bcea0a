//! Chunk sizes and the arithmetic of blocks within a blob.

use serde::{Deserialize, Serialize};

use super::ByteRange;

/// Every chunk has this many blocks, whatever its size, so that presence is one `u64`.
pub const BLOCKS_PER_CHUNK: u64 = 64;

/// A chunk size: a power of two from 64 KiB to 64 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "u64", try_from = "u64")]
pub struct ChunkSize(u8);

/// A number that is no chunk size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chunk size {0} is not a power of two from 64 KiB (65536) to 64 MiB (67108864)")]
pub struct BadChunkSize(pub u64);

impl From<ChunkSize> for u64 {
    fn from(size: ChunkSize) -> Self {
        size.bytes()
    }
}

impl TryFrom<u64> for ChunkSize {
    type Error = BadChunkSize;

    fn try_from(bytes: u64) -> Result<Self, BadChunkSize> {
        Self::from_bytes(bytes)
    }
}

impl ChunkSize {
    /// The smallest chunk, 64 KiB, with blocks of 1 KiB rounded up to the 4 KiB floor: see [`ChunkSize::block_size`].
    pub const MIN: Self = Self(16);
    /// The largest chunk, 64 MiB, with blocks of 1 MiB.
    pub const MAX: Self = Self(26);
    /// The default for large blobs, 4 MiB, with blocks of 64 KiB.
    pub const DEFAULT: Self = Self(22);

    /// The chunk size of 2^`log2` bytes, if it is one.
    pub fn from_log2(log2: u8) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0)
            .contains(&log2)
            .then_some(Self(log2))
    }

    /// The chunk size of exactly `bytes` bytes.
    pub fn from_bytes(bytes: u64) -> Result<Self, BadChunkSize> {
        let log2 = u8::try_from(bytes.trailing_zeros()).map_err(|_| BadChunkSize(bytes))?;
        match Self::from_log2(log2) {
            Some(size) if bytes.is_power_of_two() => Ok(size),
            _ => Err(BadChunkSize(bytes)),
        }
    }

    /// The smallest chunk size that holds `bytes` bytes in one chunk; [`ChunkSize::MAX`] where none does.
    pub fn covering(bytes: u64) -> Self {
        (Self::MIN.0..=Self::MAX.0)
            .map(Self)
            .find(|size| size.bytes() >= bytes)
            .unwrap_or(Self::MAX)
    }

    /// The exponent: 16 to 26.
    pub fn log2(self) -> u8 {
        self.0
    }

    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        1 << self.0
    }

    /// The bytes of one block: a 64th of the chunk, but at least 4 KiB. Chunks below 256 KiB therefore use fewer than
    /// 64 blocks: 16 at 64 KiB, 32 at 128 KiB.
    pub fn block_size(self) -> u64 {
        (self.bytes() / BLOCKS_PER_CHUNK).max(4096)
    }

    /// How many blocks a full chunk has: 64, or fewer below 256 KiB.
    pub fn blocks_per_chunk(self) -> u64 {
        self.bytes() / self.block_size()
    }

    /// The bytes of chunk `chunk_no` that a blob of `blob_size` bytes fills; 0 beyond its end.
    pub fn valid_len(self, blob_size: u64, chunk_no: u64) -> u64 {
        let start = chunk_no.saturating_mul(self.bytes());
        blob_size.saturating_sub(start).min(self.bytes())
    }

    /// The bytes of block `block` of a chunk that holds `valid_len` bytes; 0 beyond its end.
    pub fn block_len(self, valid_len: u64, block: u32) -> u64 {
        let start = u64::from(block) * self.block_size();
        valid_len.saturating_sub(start).min(self.block_size())
    }

    /// How many blocks `len` bytes touch when they start at a block's first byte.
    pub fn blocks_in(self, len: u64) -> u64 {
        len.div_ceil(self.block_size())
    }

    /// The blocks (counted over the whole blob) that the bytes of `range` touch, as a half-open range.
    pub fn blocks_of(self, range: ByteRange) -> std::ops::Range<u64> {
        if range.is_empty() {
            return 0..0;
        }
        range.start / self.block_size()..range.end.div_ceil(self.block_size())
    }

    /// The chunk and the block within it of a block counted over the whole blob.
    pub fn locate(self, blob_block: u64) -> (u64, u32) {
        let per_chunk = self.blocks_per_chunk();
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 64")]
        let block = (blob_block % per_chunk) as u32;
        (blob_block / per_chunk, block)
    }
}

impl std::fmt::Display for ChunkSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            log2 @ 0..20 => write!(f, "{}K", 1u64 << (log2 - 10)),
            log2 => write!(f, "{}M", 1u64 << (log2 - 20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_within_bounds() {
        assert_eq!(ChunkSize::from_bytes(4 << 20), Ok(ChunkSize::DEFAULT));
        for bad in [0, 1, 65535, 65537, 32768, 128 << 20, u64::MAX] {
            assert_eq!(ChunkSize::from_bytes(bad), Err(BadChunkSize(bad)));
        }
        assert_eq!(ChunkSize::covering(0), ChunkSize::MIN);
        assert_eq!(ChunkSize::covering(65537).bytes(), 131_072);
        assert_eq!(ChunkSize::covering(u64::MAX), ChunkSize::MAX);
        assert_eq!(ChunkSize::MIN.to_string(), "64K");
        assert_eq!(ChunkSize::MAX.to_string(), "64M");
    }

    #[test]
    fn blocks_have_a_floor_of_4_kib() {
        assert_eq!(
            (
                ChunkSize::MIN.block_size(),
                ChunkSize::MIN.blocks_per_chunk()
            ),
            (4096, 16)
        );
        assert_eq!(ChunkSize::DEFAULT.block_size(), 65536);
        assert_eq!(ChunkSize::MAX.block_size(), 1 << 20);
    }

    #[test]
    fn lengths_end_with_the_blob() {
        let size = ChunkSize::MIN;
        assert_eq!(size.valid_len(65536 + 5000, 0), 65536);
        assert_eq!(size.valid_len(65536 + 5000, 1), 5000);
        assert_eq!(size.valid_len(65536 + 5000, 2), 0);
        assert_eq!(size.block_len(5000, 0), 4096);
        assert_eq!(size.block_len(5000, 1), 904);
        assert_eq!(size.block_len(5000, 2), 0);
        assert_eq!(size.locate(17), (1, 1));
    }
}
