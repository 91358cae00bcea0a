//! The superblock: what the whole index depends on.
//!
//! Two copies are written alternately; the valid one with the higher sequence number holds. A superblock is parsed
//! first and trusted only after [`Superblock::decode`] has checked every field against the others.

use super::features::Features;
use super::geometry::Geometry;
use super::wire::{Reader, SEQUENCE_END, Sector, SectorError, SectorSeed, Writer, layout};
use crate::units::{ChunkSize, Uuid};

/// The major version of the format: another major version is not opened.
pub const FORMAT_MAJOR: u16 = 1;
/// The minor version of the format: it tells, it decides nothing (feature words do).
pub const FORMAT_MINOR: u16 = 0;

const MAGIC_BYTES: [u8; 4] = *b"LdSB";
const TEXT_BYTES: &[u8; 8] = b"larder\n\0";
const CRC_ID_IEEE: u8 = 1;
const TAG_ID_BLAKE3: u8 = 1;

layout! {
    MAGIC: 4,
    CRC: 4,
    TEXT: 8,
    MAJOR: 2,
    MINOR: 2,
    SEGMENTS_LOG2: 1,
    CHUNK_LOG2_MIN: 1,
    CHUNK_LOG2_MAX: 1,
    CRC_ID: 1,
    TAG_ID: 1,
    RESERVED_A: 7,
    UUID: 16,
    SEQUENCE: 8,
    COMPAT: 8,
    RO_COMPAT: 8,
    INCOMPAT: 8,
    N_SLOTS: 4,
    N_BLOBS: 4,
    N_HEAP: 4,
    OWNER_UID: 4,
    CAPACITY: 8,
    CREATED_AT: 8,
    RESERVED_B: 400,
}

/// A superblock that was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// The minor version of the writer.
    pub minor: u16,
    /// The cache's own number.
    pub uuid: Uuid,
    /// Rises with each rewrite; its lowest bit tells the copy.
    pub sequence: u64,
    /// The feature words.
    pub features: Features,
    /// The counts, and the places that follow.
    pub geometry: Geometry,
    /// The user who made it: another user's cache is not opened.
    pub owner_uid: u32,
    /// The size limit in bytes, index included.
    pub capacity: u64,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
}

impl Superblock {
    /// The sector of this superblock, for the copy that its sequence number selects.
    pub fn encode(&self) -> Sector {
        Writer::new()
            .bytes(TEXT, TEXT_BYTES)
            .u16(MAJOR, FORMAT_MAJOR)
            .u16(MINOR, self.minor)
            .u8(SEGMENTS_LOG2, self.geometry.segments_log2())
            .u8(CHUNK_LOG2_MIN, ChunkSize::MIN.log2())
            .u8(CHUNK_LOG2_MAX, ChunkSize::MAX.log2())
            .u8(CRC_ID, CRC_ID_IEEE)
            .u8(TAG_ID, TAG_ID_BLAKE3)
            .bytes(UUID, &self.uuid.0)
            .u64(SEQUENCE, self.sequence)
            .u64(COMPAT, self.features.compat)
            .u64(RO_COMPAT, self.features.ro_compat)
            .u64(INCOMPAT, self.features.incompat)
            .u32(N_SLOTS, self.geometry.n_slots())
            .u32(N_BLOBS, self.geometry.n_blobs())
            .u32(N_HEAP, self.geometry.n_heap())
            .u32(OWNER_UID, self.owner_uid)
            .u64(CAPACITY, self.capacity)
            .u64(CREATED_AT, self.created_at)
            .seal(MAGIC_BYTES, Self::seed(self.copy()))
    }

    /// The copy, 0 or 1, that this sequence number is written to.
    pub fn copy(&self) -> u32 {
        u32::from(self.sequence & 1 == 1)
    }

    /// The offset in the index that this sequence number is written to.
    pub fn offset(&self) -> u64 {
        Geometry::superblock_offset(self.copy())
    }

    /// Reads copy `copy`. The feature words are not judged here: see [`Features::verdict`].
    ///
    /// Errors: blank, magic, checksum, or a field that contradicts the format; an unknown major version is the field
    /// `MAJOR`, and reserved bytes are checked only for a writer of this minor version or an older one.
    pub fn decode(sector: &Sector, copy: u32) -> Result<Self, SectorError> {
        let read = Reader(sector);
        read.check(MAGIC_BYTES, Self::seed(copy))?;
        let exact = |field: super::Field, value: u64, expected: u64| match value == expected {
            true => Ok(()),
            false => Err(SectorError::Field {
                field: field.name,
                value,
            }),
        };
        exact(MAJOR, u64::from(read.u16(MAJOR)), u64::from(FORMAT_MAJOR))?;
        exact(TEXT, read.u64(TEXT), u64::from_le_bytes(*TEXT_BYTES))?;
        exact(
            CHUNK_LOG2_MIN,
            u64::from(read.u8(CHUNK_LOG2_MIN)),
            u64::from(ChunkSize::MIN.log2()),
        )?;
        exact(
            CHUNK_LOG2_MAX,
            u64::from(read.u8(CHUNK_LOG2_MAX)),
            u64::from(ChunkSize::MAX.log2()),
        )?;
        exact(CRC_ID, u64::from(read.u8(CRC_ID)), u64::from(CRC_ID_IEEE))?;
        exact(TAG_ID, u64::from(read.u8(TAG_ID)), u64::from(TAG_ID_BLAKE3))?;
        let minor = read.u16(MINOR);
        #[expect(
            clippy::absurd_extreme_comparisons,
            reason = "the rule holds for every minor version, though the first is 0"
        )]
        let known = minor <= FORMAT_MINOR;
        if known {
            read.zero(RESERVED_A)?;
            read.zero(RESERVED_B)?;
        }
        let sequence = read.u64(SEQUENCE);
        if sequence >= SEQUENCE_END || sequence & 1 != u64::from(copy & 1) {
            return Err(SectorError::Field {
                field: SEQUENCE.name,
                value: sequence,
            });
        }
        let geometry = Geometry::new(
            u64::from(read.u32(N_SLOTS)),
            u64::from(read.u32(N_BLOBS)),
            u64::from(read.u32(N_HEAP)),
            u32::from(read.u8(SEGMENTS_LOG2)),
        )
        .map_err(|_| SectorError::Field {
            field: N_SLOTS.name,
            value: u64::from(read.u32(N_SLOTS)),
        })?;
        Ok(Self {
            minor,
            uuid: Uuid(read.bytes(UUID)),
            sequence,
            features: Features {
                compat: read.u64(COMPAT),
                ro_compat: read.u64(RO_COMPAT),
                incompat: read.u64(INCOMPAT),
            },
            geometry,
            owner_uid: read.u32(OWNER_UID),
            capacity: read.u64(CAPACITY),
            created_at: read.u64(CREATED_AT),
        })
    }

    /// The trusted superblock of an index: the valid copy with the higher sequence number. Errors with copy 0's error
    /// where neither is valid.
    pub fn choose(copies: &[Sector; 2]) -> Result<Self, SectorError> {
        let [a, b] = copies;
        match (Self::decode(a, 0), Self::decode(b, 1)) {
            (Ok(a), Ok(b)) => Ok(if a.sequence > b.sequence { a } else { b }),
            (Ok(only), Err(_)) | (Err(_), Ok(only)) => Ok(only),
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// The major version that a sector claims, if it starts as a superblock of any version does.
    pub fn claimed_major(sector: &Sector) -> Option<u16> {
        let read = Reader(sector);
        (read.bytes(MAGIC) == MAGIC_BYTES && read.bytes(TEXT) == *TEXT_BYTES)
            .then(|| read.u16(MAJOR))
    }

    fn seed(copy: u32) -> SectorSeed {
        Geometry::seed(Uuid::default(), Geometry::superblock_offset(copy))
    }
}
