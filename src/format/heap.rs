//! The heap cell: a link in the chain of what does not fit into a blob record.
//!
//! There is no map of free cells: a cell whose owner does not reach it is free. No writer of version 1.0 uses the heap
//! yet; its place and its cells are fixed so that the first one that does changes nothing else.

use super::geometry::Geometry;
use super::wire::{SECTOR_LEN, Sector, SectorError, SectorReader, SectorWriter, layout};
use crate::units::{BlobKey, Stamp, Uuid};

const MAGIC_BYTES: [u8; 4] = *b"LdHC";
const HEADER_LEN: usize = 40;
/// The payload bytes of one heap cell.
pub const HEAP_PAYLOAD_LEN: usize = SECTOR_LEN - HEADER_LEN;

layout! {
    MAGIC: 4,
    CRC: 4,
    KIND: 1,
    ORDINAL: 1,
    LEN: 2,
    NEXT: 4,
    STAMP: 8,
    OWNER: 16,
    PAYLOAD: HEAP_PAYLOAD_LEN,
}

/// What a heap cell's chain holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum HeapKind {
    /// A long name.
    Name = 1,
    /// Extended attributes.
    Xattr = 2,
    /// The target of a symbolic link.
    Link = 3,
    /// A long validator.
    Validator = 4,
}

/// One heap cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeapCell {
    /// What the chain holds.
    pub kind: HeapKind,
    /// The cell's place in its chain.
    pub ordinal: u8,
    /// The next cell.
    pub next: Option<u32>,
    /// The stamp of the blob record that owns the chain.
    pub stamp: Stamp,
    /// The key of the blob that owns the chain.
    pub owner: BlobKey,
    /// The bytes: at most [`HEAP_PAYLOAD_LEN`].
    pub payload: Box<[u8]>,
}

impl HeapCell {
    /// The sector of this cell at `offset` of the index of cache `uuid`.
    pub fn encode(&self, uuid: Uuid, offset: u64) -> Sector {
        SectorWriter::new()
            .u8(KIND, self.kind as u8)
            .u8(ORDINAL, self.ordinal)
            .u16(LEN, u16::try_from(self.payload.len()).unwrap_or_default())
            .u32(NEXT, self.next.map_or(0, |n| n + 1))
            .u64(STAMP, self.stamp.0)
            .bytes(OWNER, &self.owner.0)
            .bytes(PAYLOAD, &self.payload)
            .seal(MAGIC_BYTES, Geometry::seed(uuid, offset))
    }

    /// Reads the cell at `offset` of the index of cache `uuid`. Errors: blank, magic, checksum, or a field.
    pub fn decode(sector: &Sector, uuid: Uuid, offset: u64) -> Result<Self, SectorError> {
        let read = SectorReader(sector);
        read.check(MAGIC_BYTES, Geometry::seed(uuid, offset))?;
        let bad = |field: super::Field, value: u64| SectorError::Field {
            field: field.name,
            value,
        };
        let kind = match read.u8(KIND) {
            1 => HeapKind::Name,
            2 => HeapKind::Xattr,
            3 => HeapKind::Link,
            4 => HeapKind::Validator,
            other => return Err(bad(KIND, u64::from(other))),
        };
        let len = read.u16(LEN);
        let (payload, rest) = read
            .slice(PAYLOAD)
            .split_at_checked(usize::from(len))
            .ok_or_else(|| bad(LEN, u64::from(len)))?;
        if rest.iter().any(|b| *b != 0) {
            return Err(bad(PAYLOAD, rest.len() as u64));
        }
        Ok(Self {
            kind,
            ordinal: read.u8(ORDINAL),
            next: read.u32(NEXT).checked_sub(1),
            stamp: Stamp(read.u64(STAMP)),
            owner: BlobKey(read.bytes(OWNER)),
            payload: payload.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_bit_is_seen() {
        let cell = HeapCell {
            kind: HeapKind::Link,
            ordinal: 1,
            next: Some(0),
            stamp: Stamp(5),
            owner: BlobKey([1; 16]),
            payload: b"there".as_slice().into(),
        };
        let sector = cell.encode(Uuid([2; 16]), 512);
        assert_eq!(HeapCell::decode(&sector, Uuid([2; 16]), 512), Ok(cell));
        for bit in 0..512 * 8 {
            let mut bad = sector;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                HeapCell::decode(&bad, Uuid([2; 16]), 512).is_err(),
                "bit {bit}"
            );
        }
    }
}
