//! Floor 1: the bytes of a cache directory's index, and nothing else. No I/O, no clock, no unsafe.
//!
//! `format-spec.md` is the one description; `tests/it/spec.rs` holds its tables against the constants here.
//! Everything is a self-describing 512-byte sector; integers are little-endian. Invariants:
//!
//! * No checksum spans more than one sector.
//! * A sector's checksum is seeded with the cache's uuid and the sector's number, so that a sector that was written to
//!   the wrong place, or that another cache left behind, does not pass.
//! * A sector of zeros is a free record that was never used; no other record type has a zero magic.
//! * Reserved bytes are zero and are checked: what is not zero there was written by a version that knows more.

#![deny(clippy::indexing_slicing)]

mod blob;
mod checksum;
mod features;
mod geometry;
mod heap;
mod segment;
mod session;
mod slot;
mod superblock;
mod tag;
mod wire;

pub use blob::{BlobKind, BlobRecord, INLINE_LEN, PackRef};
pub use checksum::block_crc;
#[cfg(feature = "testing")]
pub(crate) use checksum::unsafe_variant;
pub use features::{FeatureVerdict, Features};
pub use geometry::{Geometry, GeometryError};
pub use heap::{HEAP_PAYLOAD_LEN, HeapCell, HeapKind};
pub use segment::SegmentHeader;
pub use session::{Session, SessionState};
pub use slot::{SlotFlags, SlotKind, SlotRecord};
pub use superblock::{FORMAT_MAJOR, FORMAT_MINOR, Superblock};
pub use tag::{
    blob_key, blob_segment_hash, decode_validator, encode_validator, slot_hash, version_tag,
};
pub use wire::{Field, SECTOR_LEN, Sector, SectorError, SectorSeed, reseal};

/// The tables of the format by the name of their section in `format-spec.md`, for the test that compares the two.
pub const TABLES: &[(&str, &[Field])] = &[
    ("Superblock", superblock::FIELDS),
    ("Session", session::FIELDS),
    ("Segment header", segment::FIELDS),
    ("Slot record", slot::FIELDS),
    ("Blob record", blob::FIELDS),
    ("Heap cell", heap::FIELDS),
];
