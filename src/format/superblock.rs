//! The superblock: what the whole index depends on.
//!
//! Two copies at the head are written alternately; the valid one with the higher sequence number holds. A third, the
//! backup, lies in the last page of the index and counts where neither of them holds. A superblock is parsed
//! first and trusted only after [`Superblock::decode`] has checked every field against the others.

use super::features::Features;
use super::geometry::Geometry;
use super::wire::{
    SEQUENCE_END, Sector, SectorError, SectorReader, SectorSeed, SectorWriter, layout,
};
use crate::units::{ChunkSize, Uuid};

/// The major version of the format: another major version is not opened.
pub const FORMAT_MAJOR: u16 = 1;
/// The minor version of the format: it informs, and decides nothing (feature words do).
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
    /// Rises with each rewrite; its lowest bit is the number of the copy.
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
        self.sealed(self.offset())
    }

    /// The sector of this superblock's backup, for [`Geometry::backup_offset`].
    pub fn encode_backup(&self) -> Sector {
        self.sealed(self.geometry.backup_offset())
    }

    fn sealed(&self, offset: u64) -> Sector {
        SectorWriter::new()
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
            .seal(MAGIC_BYTES, Self::seed(offset))
    }

    /// Whether all of it is known here: the reserved fields of a newer minor version would be lost by a rewrite.
    pub fn may_be_rewritten(&self) -> bool {
        is_known(self.minor)
    }

    /// What is to be written over copy `copy` so that it says the same and outranks this one. A sequence number that
    /// cannot be raised begins at its first number again: the other copy then goes on to hold.
    #[must_use]
    pub fn next_for(&self, copy: u32) -> Self {
        let raised = self.sequence + 1;
        let raised = raised + u64::from(raised & 1 != u64::from(copy & 1));
        let sequence = if raised < SEQUENCE_END {
            raised
        } else {
            u64::from(copy & 1)
        };
        Self { sequence, ..*self }
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
        let found = Self::decode_at(sector, Geometry::superblock_offset(copy))?;
        if found.copy() == copy & 1 {
            Ok(found)
        } else {
            Err(bad_sequence(found.sequence))
        }
    }

    /// Reads the backup at `offset`. Its sequence may be that of either copy; its own geometry must place it there.
    /// Errors: as [`Superblock::decode`].
    pub fn decode_backup(sector: &Sector, offset: u64) -> Result<Self, SectorError> {
        let found = Self::decode_at(sector, offset)?;
        if found.geometry.backup_offset() == offset {
            Ok(found)
        } else {
            Err(SectorError::Field {
                field: N_SLOTS.name,
                value: u64::from(found.geometry.n_slots()),
            })
        }
    }

    fn decode_at(sector: &Sector, offset: u64) -> Result<Self, SectorError> {
        let read = SectorReader(sector);
        read.check(MAGIC_BYTES, Self::seed(offset))?;
        let exact = |field: super::Field, value: u64, expected: u64| {
            if value == expected {
                Ok(())
            } else {
                Err(SectorError::Field {
                    field: field.name,
                    value,
                })
            }
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
        if is_known(minor) {
            read.zero(RESERVED_A)?;
            read.zero(RESERVED_B)?;
        }
        let sequence = read.u64(SEQUENCE);
        if sequence >= SEQUENCE_END {
            return Err(bad_sequence(sequence));
        }
        let uuid = Uuid(read.bytes(UUID));
        // It would seed every checksum as if there were none.
        if uuid == Uuid::default() {
            return Err(SectorError::Field {
                field: UUID.name,
                value: 0,
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
            uuid,
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
    /// where neither is valid, and where the checksum of one fits and it is of another major version.
    pub fn choose(copies: &[Sector; 2]) -> Result<Self, SectorError> {
        let [a, b] = copies;
        match (Self::decode(a, 0), Self::decode(b, 1)) {
            (Ok(a), Ok(b)) => Ok(if a.sequence > b.sequence { a } else { b }),
            (Err(error), _) | (_, Err(error)) if is_foreign(&error) => Err(error),
            (Ok(only), Err(_)) | (Err(_), Ok(only)) => Ok(only),
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// As [`Superblock::choose`]; where neither copy is valid, the backup, given as its sector and offset, holds, unless
    /// one of the copies claims to be of another major version. A backup of another major version whose checksum fits
    /// lets no copy hold.
    pub fn choose_or_backup(
        copies: &[Sector; 2],
        backup: Option<(&Sector, u64)>,
    ) -> Result<Self, SectorError> {
        let backed = backup.map(|(sector, offset)| Self::decode_backup(sector, offset));
        if let Some(Err(error)) = backed.as_ref().map(Result::as_ref)
            && is_foreign(error)
        {
            return Err(error.clone());
        }
        Self::choose(copies).or_else(|error| match (backed, Self::foreign_major(copies, None)) {
            (Some(Ok(backup)), None) => Ok(backup),
            _ => Err(error),
        })
    }

    /// The other major version that one of the copies, or the backup, claims to be of. It counts where no superblock
    /// holds: such a cache is not to be touched.
    pub fn foreign_major(copies: &[Sector; 2], backup: Option<&Sector>) -> Option<u16> {
        let claims = copies.iter().chain(backup).filter_map(Self::claimed_major);
        claims.into_iter().find(|major| *major != FORMAT_MAJOR)
    }

    /// The major version that a sector claims, if it starts as a superblock of any version does.
    pub fn claimed_major(sector: &Sector) -> Option<u16> {
        let read = SectorReader(sector);
        (read.bytes(MAGIC) == MAGIC_BYTES && read.bytes(TEXT) == *TEXT_BYTES)
            .then(|| read.u16(MAJOR))
    }

    fn seed(offset: u64) -> SectorSeed {
        Geometry::seed(Uuid::default(), offset)
    }
}

#[expect(
    clippy::absurd_extreme_comparisons,
    reason = "the rule holds for every minor version, though the first is 0"
)]
fn is_known(minor: u16) -> bool {
    minor <= FORMAT_MINOR
}

/// Whether a superblock was refused for its major version: its checksum fits then.
fn is_foreign(error: &SectorError) -> bool {
    matches!(error, SectorError::Field { field, .. } if *field == MAJOR.name)
}

fn bad_sequence(value: u64) -> SectorError {
    SectorError::Field {
        field: SEQUENCE.name,
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sequence: u64) -> Superblock {
        Superblock {
            minor: FORMAT_MINOR,
            uuid: Uuid([7; 16]),
            sequence,
            features: Features::default(),
            geometry: Geometry::new(16, 16, 16, 1).unwrap(),
            owner_uid: 1,
            capacity: 1 << 24,
            created_at: 2,
        }
    }

    #[test]
    fn the_backup_holds_where_neither_copy_does() {
        let (old, new) = (sample(4), sample(5));
        let offset = new.geometry.backup_offset();
        let (backup, blank) = (new.encode_backup(), [0; 512]);
        assert_eq!(Superblock::decode_backup(&backup, offset), Ok(new));
        let choose = |copies| Superblock::choose_or_backup(&copies, Some((&backup, offset)));
        assert_eq!(choose([blank, blank]), Ok(new));
        assert_eq!(choose([old.encode(), blank]), Ok(old), "a copy outranks it");
        let mut newer = old.encode();
        newer[MAJOR.offset] = 2;
        assert!(choose([newer, blank]).is_err(), "not ours to replace");
        assert_eq!(Superblock::foreign_major(&[blank, newer], None), Some(2));
        assert!(Superblock::choose_or_backup(&[blank; 2], None).is_err());
    }

    #[test]
    fn another_major_version_lets_nothing_of_this_one_hold() {
        let (old, new) = (sample(4), sample(5));
        let offset = new.geometry.backup_offset();
        let major_two = |mut sector: Sector, offset| {
            sector[MAJOR.offset] = 2;
            super::super::reseal(&mut sector, Superblock::seed(offset));
            sector
        };
        let (first, second) = (old.encode(), new.encode());
        let (backup, blank) = (new.encode_backup(), [0; 512]);
        let newer = major_two(backup, offset);
        assert_eq!(
            Superblock::foreign_major(&[blank; 2], Some(&newer)),
            Some(2)
        );
        assert_eq!(
            Superblock::foreign_major(&[first, second], Some(&backup)),
            None
        );
        for copies in [[blank, blank], [first, blank], [first, second]] {
            let found = Superblock::choose_or_backup(&copies, Some((&newer, offset)));
            assert!(is_foreign(&found.unwrap_err()));
        }
        let other = major_two(second, 4096);
        let found = Superblock::choose_or_backup(&[first, other], Some((&backup, offset)));
        assert!(is_foreign(&found.unwrap_err()));
        let mut torn = other;
        torn[511] ^= 1;
        let found = Superblock::choose_or_backup(&[first, torn], Some((&backup, offset)));
        assert_eq!(found, Ok(old), "damage is not another version");
    }

    #[test]
    fn a_uuid_of_zeros_is_none() {
        let unnamed = Superblock {
            uuid: Uuid::default(),
            ..sample(6)
        };
        let (offset, holder) = (unnamed.geometry.backup_offset(), sample(5));
        let bad = |found: Result<Superblock, SectorError>| {
            let error = found.unwrap_err();
            matches!(error, SectorError::Field { field: "UUID", .. })
        };
        assert!(bad(Superblock::decode(&unnamed.encode(), 0)));
        assert!(bad(Superblock::decode_backup(
            &unnamed.encode_backup(),
            offset
        )));
        let copies = [unnamed.encode(), holder.encode()];
        assert_eq!(Superblock::choose(&copies), Ok(holder));
    }

    #[test]
    fn a_backup_counts_only_where_its_geometry_places_it() {
        let here = sample(0);
        let elsewhere = here.geometry.backup_offset() + 4096;
        let moved = here.sealed(elsewhere);
        let error = Superblock::decode_backup(&moved, elsewhere).unwrap_err();
        assert!(matches!(
            error,
            SectorError::Field {
                field: "N_SLOTS",
                ..
            }
        ));
        assert!(Superblock::decode_backup(&here.encode(), 0).is_err());
        for bit in 0..512 * 8 {
            let mut bad = here.encode_backup();
            bad[bit / 8] ^= 1 << (bit % 8);
            let found = Superblock::decode_backup(&bad, here.geometry.backup_offset());
            assert!(found.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_replaces_a_copy_has_its_parity_and_outranks_the_others() {
        for sequence in [0, 1, 6, 7] {
            for copy in [0, 1] {
                let next = sample(sequence).next_for(copy);
                assert!(next.copy() == copy && next.sequence > sequence);
                assert!(next.sequence <= sequence + 2);
            }
        }
        let highest = sample(SEQUENCE_END - 1);
        assert_eq!([0, 1].map(|copy| highest.next_for(copy).sequence), [0, 1]);
    }
}
