//! The segment header: counts that inform, and prove nothing.

use super::geometry::Geometry;
use super::wire::{Sector, SectorError, SectorReader, SectorWriter, layout};
use crate::units::{Stamp, Uuid};

const MAGIC_BYTES: [u8; 4] = *b"LdSG";

layout! {
    MAGIC: 4,
    CRC: 4,
    SEGMENT: 4,
    USED_SLOTS: 4,
    USED_BLOBS: 4,
    HAND: 4,
    ALLOCATED: 8,
    STAMP: 8,
    RESERVED: 472,
}

/// The counts of one segment when it was last written; an unclean stop leaves them a little old.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SegmentHeader {
    /// The segment's number.
    pub segment: u32,
    /// Slots that hold a chunk.
    pub used_slots: u32,
    /// Blob records in use.
    pub used_blobs: u32,
    /// Where the search for a reusable slot goes on.
    pub hand: u32,
    /// Bytes on disk of the segment's chunk files, those of free slots included.
    pub allocated: u64,
    /// When it was written, as a stamp.
    pub stamp: Stamp,
}

impl SegmentHeader {
    /// The sector of this header in cache `uuid`.
    pub fn encode(&self, uuid: Uuid) -> Sector {
        let offset = Geometry::segment_header_offset(self.segment);
        SectorWriter::new()
            .u32(SEGMENT, self.segment)
            .u32(USED_SLOTS, self.used_slots)
            .u32(USED_BLOBS, self.used_blobs)
            .u32(HAND, self.hand)
            .u64(ALLOCATED, self.allocated)
            .u64(STAMP, self.stamp.0)
            .seal(MAGIC_BYTES, Geometry::seed(uuid, offset))
    }

    /// Reads the header of segment `segment`. Errors: blank (a new cache), magic, checksum, or a field.
    pub fn decode(sector: &Sector, uuid: Uuid, segment: u32) -> Result<Self, SectorError> {
        let read = SectorReader(sector);
        read.check(
            MAGIC_BYTES,
            Geometry::seed(uuid, Geometry::segment_header_offset(segment)),
        )?;
        read.zero(RESERVED)?;
        let found = read.u32(SEGMENT);
        if found != segment {
            return Err(SectorError::Field {
                field: SEGMENT.name,
                value: u64::from(found),
            });
        }
        Ok(Self {
            segment,
            used_slots: read.u32(USED_SLOTS),
            used_blobs: read.u32(USED_BLOBS),
            hand: read.u32(HAND),
            allocated: read.u64(ALLOCATED),
            stamp: Stamp(read.u64(STAMP)),
        })
    }
}
