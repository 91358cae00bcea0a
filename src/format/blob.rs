//! The blob record: the one thing that binds a key to a version, its size and its chunk size.

use super::geometry::Geometry;
use super::wire::{Sector, SectorError, SectorReader, SectorWriter, layout};
use crate::units::{BlobKey, ChunkSize, Stamp, Tag, Timestamp, Uuid};

const MAGIC_BYTES: [u8; 4] = *b"LdBL";

/// The bytes of a blob record's inline area, for name, validator, extended attributes and link target together.
pub const INLINE_LEN: usize = 320;

layout! {
    MAGIC: 4,
    CRC: 4,
    KIND: 1,
    CHUNK_LOG2: 1,
    VALIDATOR_CLASS: 1,
    PIN_PRIORITY: 1,
    FLAGS: 4,
    STAMP: 8,
    KEY: 16,
    TAG: 16,
    SIZE: 8,
    INO: 8,
    MTIME_SECS: 8,
    CTIME_SECS: 8,
    MTIME_NANOS: 4,
    CTIME_NANOS: 4,
    MODE: 4,
    UID: 4,
    GID: 4,
    NLINK: 4,
    RDEV: 8,
    VALIDATED_AT: 8,
    HEAP_HEAD: 4,
    PACK_SLOT: 4,
    PACK_FIRST: 1,
    PACK_COUNT: 1,
    RESERVED_A: 2,
    RESERVED_B: 4,
    PACK_STAMP: 8,
    OVERLAY: 8,
    NAME_LEN: 2,
    VALIDATOR_LEN: 2,
    XATTR_LEN: 2,
    LINK_LEN: 2,
    RESERVED_C: 24,
    INLINE: INLINE_LEN,
}

/// Fields that have a name already and no meaning yet, and those that have neither. A record in which one is not zero was
/// written by a version that knows more.
const RESERVED: [super::Field; 6] = [
    PIN_PRIORITY,
    OVERLAY,
    XATTR_LEN,
    RESERVED_A,
    RESERVED_B,
    RESERVED_C,
];

/// What a blob record stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum BlobKind {
    /// Nothing: the record is free.
    Free = 0,
    /// A regular file.
    File = 1,
    /// A directory's listing.
    Dir = 2,
    /// A symbolic link.
    Symlink = 3,
    /// A name that does not exist (reserved).
    Negative = 4,
}

/// Where a small blob's blocks lie in a pack slot (reserved).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackRef {
    /// The pack slot.
    pub slot: u32,
    /// The first block.
    pub first: u8,
    /// How many blocks.
    pub count: u8,
    /// The pack's stamp when the blocks were written: proof that they still belong to this blob.
    pub stamp: Stamp,
}

/// One blob's record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobRecord {
    /// What it stands for.
    pub kind: BlobKind,
    /// The chunk size of this version.
    pub chunk: ChunkSize,
    /// The class of the validator as on disk ([`crate::units::ValidatorClass`]); 0 for none.
    pub validator_class: u8,
    /// Flag bits; none are defined in version 1.0.
    pub flags: u32,
    /// When it was written, as a stamp: of two records of one key the higher holds.
    pub stamp: Stamp,
    /// The key.
    pub key: BlobKey,
    /// The version that the key is bound to.
    pub tag: Tag,
    /// The blob's size in bytes.
    pub size: u64,
    /// The remote's inode number, where it has one that persists; otherwise 0.
    pub ino: u64,
    /// The mtime as the remote listed it.
    pub mtime: Timestamp,
    /// The ctime as the remote listed it.
    pub ctime: Timestamp,
    /// File type and permission bits as in stat(2).
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The number of links at the remote.
    pub nlink: u32,
    /// The device number of a device node.
    pub rdev: u64,
    /// When the remote last confirmed it, in seconds since 1970.
    pub validated_at: u64,
    /// The first heap cell of what does not fit inline.
    pub heap_head: Option<u32>,
    /// Where the blocks lie if the blob is packed (reserved).
    pub pack: Option<PackRef>,
    /// The object's name, or empty where it does not fit.
    pub name: Box<[u8]>,
    /// The encoded validator (see [`super::encode_validator`]), or empty where it does not fit.
    pub validator: Box<[u8]>,
    /// The target of a symbolic link.
    pub link: Box<[u8]>,
}

impl BlobRecord {
    /// A record that no file uses.
    pub fn free() -> Self {
        Self {
            kind: BlobKind::Free,
            chunk: ChunkSize::MIN,
            validator_class: 0,
            flags: 0,
            stamp: Stamp::default(),
            key: BlobKey::default(),
            tag: Tag::default(),
            size: 0,
            ino: 0,
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            mode: 0,
            uid: 0,
            gid: 0,
            nlink: 0,
            rdev: 0,
            validated_at: 0,
            heap_head: None,
            pack: None,
            name: Box::default(),
            validator: Box::default(),
            link: Box::default(),
        }
    }

    /// The sector of this record at `offset` of the index of cache `uuid`. What of the inline parts does not fit into
    /// [`INLINE_LEN`] bytes is left out whole: the validator goes first, then link and name.
    pub fn encode(&self, uuid: Uuid, offset: u64) -> Sector {
        let mut room = INLINE_LEN;
        let mut fits = |part: &[u8]| {
            if part.len() <= room {
                room -= part.len();
                part.to_vec()
            } else {
                Vec::new()
            }
        };
        let (validator, link) = (fits(&self.validator), fits(&self.link));
        let name = fits(&self.name);
        let len = |part: &[u8]| u16::try_from(part.len()).unwrap_or_default();
        let pack = self.pack;
        SectorWriter::new()
            .u8(KIND, self.kind as u8)
            .u8(CHUNK_LOG2, self.chunk.log2())
            .u8(VALIDATOR_CLASS, self.validator_class)
            .u32(FLAGS, self.flags)
            .u64(STAMP, self.stamp.0)
            .bytes(KEY, &self.key.0)
            .bytes(TAG, &self.tag.0)
            .u64(SIZE, self.size)
            .u64(INO, self.ino)
            .i64(MTIME_SECS, self.mtime.secs)
            .i64(CTIME_SECS, self.ctime.secs)
            .u32(MTIME_NANOS, self.mtime.nanos)
            .u32(CTIME_NANOS, self.ctime.nanos)
            .u32(MODE, self.mode)
            .u32(UID, self.uid)
            .u32(GID, self.gid)
            .u32(NLINK, self.nlink)
            .u64(RDEV, self.rdev)
            .u64(VALIDATED_AT, self.validated_at)
            .u32(HEAP_HEAD, self.heap_head.map_or(0, |n| n + 1))
            .u32(PACK_SLOT, pack.map_or(0, |p| p.slot + 1))
            .u8(PACK_FIRST, pack.map_or(0, |p| p.first))
            .u8(PACK_COUNT, pack.map_or(0, |p| p.count))
            .u64(PACK_STAMP, pack.map_or(0, |p| p.stamp.0))
            .u16(NAME_LEN, len(&name))
            .u16(VALIDATOR_LEN, len(&validator))
            .u16(LINK_LEN, len(&link))
            .bytes(INLINE, &[name, validator, link].concat())
            .seal(MAGIC_BYTES, Geometry::seed(uuid, offset))
    }

    /// Reads the record at `offset` of the index of cache `uuid`.
    ///
    /// Errors: blank (a record that was never used), magic, checksum, or a field.
    pub fn decode(sector: &Sector, uuid: Uuid, offset: u64) -> Result<Self, SectorError> {
        let read = SectorReader(sector);
        read.check(MAGIC_BYTES, Geometry::seed(uuid, offset))?;
        RESERVED
            .into_iter()
            .try_for_each(|field| read.zero(field))?;
        let kind = match read.u8(KIND) {
            0 => BlobKind::Free,
            1 => BlobKind::File,
            2 => BlobKind::Dir,
            3 => BlobKind::Symlink,
            4 => BlobKind::Negative,
            other => return Err(bad(KIND, u64::from(other))),
        };
        let log2 = read.u8(CHUNK_LOG2);
        let class = read.u8(VALIDATOR_CLASS);
        let nanos = |field| match read.u32(field) {
            n if n < 1_000_000_000 => Ok(n),
            n => Err(bad(field, u64::from(n))),
        };
        let pack = decode_pack(&read)?;
        let [name, validator, link] = decode_inline(&read)?;
        Ok(Self {
            kind,
            chunk: ChunkSize::from_log2(log2).ok_or_else(|| bad(CHUNK_LOG2, u64::from(log2)))?,
            validator_class: if class <= 6 {
                class
            } else {
                return Err(bad(VALIDATOR_CLASS, u64::from(class)));
            },
            flags: match read.u32(FLAGS) {
                0 => 0,
                flags => return Err(bad(FLAGS, u64::from(flags))),
            },
            stamp: Stamp(read.u64(STAMP)),
            key: BlobKey(read.bytes(KEY)),
            tag: Tag(read.bytes(TAG)),
            size: read.u64(SIZE),
            ino: read.u64(INO),
            mtime: Timestamp {
                secs: read.i64(MTIME_SECS),
                nanos: nanos(MTIME_NANOS)?,
            },
            ctime: Timestamp {
                secs: read.i64(CTIME_SECS),
                nanos: nanos(CTIME_NANOS)?,
            },
            mode: read.u32(MODE),
            uid: read.u32(UID),
            gid: read.u32(GID),
            nlink: read.u32(NLINK),
            rdev: read.u64(RDEV),
            validated_at: read.u64(VALIDATED_AT),
            heap_head: read.u32(HEAP_HEAD).checked_sub(1),
            pack,
            name,
            validator,
            link,
        })
    }
}

fn bad(field: super::Field, value: u64) -> SectorError {
    SectorError::Field {
        field: field.name,
        value,
    }
}

/// The pack reference; without a pack slot its other fields have nothing to say and are zero.
fn decode_pack(read: &SectorReader<'_>) -> Result<Option<PackRef>, SectorError> {
    let Some(slot) = read.u32(PACK_SLOT).checked_sub(1) else {
        for field in [PACK_FIRST, PACK_COUNT, PACK_STAMP] {
            read.zero(field)?;
        }
        return Ok(None);
    };
    Ok(Some(PackRef {
        slot,
        first: read.u8(PACK_FIRST),
        count: read.u8(PACK_COUNT),
        stamp: Stamp(read.u64(PACK_STAMP)),
    }))
}

/// Name, validator and link target; what is left of the inline area is zero.
fn decode_inline(read: &SectorReader<'_>) -> Result<[Box<[u8]>; 3], SectorError> {
    let mut rest = read.slice(INLINE);
    let mut take = |field| {
        let len = read.u16(field);
        let (part, behind) = rest
            .split_at_checked(usize::from(len))
            .ok_or_else(|| bad(field, u64::from(len)))?;
        rest = behind;
        Ok(Box::<[u8]>::from(part))
    };
    let parts = [take(NAME_LEN)?, take(VALIDATOR_LEN)?, take(LINK_LEN)?];
    if rest.iter().any(|b| *b != 0) {
        return Err(bad(INLINE, rest.len() as u64));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample() -> BlobRecord {
        BlobRecord {
            kind: BlobKind::File,
            chunk: ChunkSize::MIN,
            validator_class: 2,
            flags: 0,
            stamp: Stamp::new(1, 2),
            key: BlobKey([3; 16]),
            tag: Tag([4; 16]),
            size: 1 << 40,
            ino: 99,
            mtime: Timestamp {
                secs: -5,
                nanos: 999_999_999,
            },
            ctime: Timestamp { secs: 5, nanos: 0 },
            mode: 0o100_644,
            uid: 1,
            gid: 2,
            nlink: 3,
            rdev: 0,
            validated_at: 1_700_000_000,
            heap_head: Some(7),
            pack: Some(PackRef {
                slot: 1,
                first: 2,
                count: 3,
                stamp: Stamp(4),
            }),
            name: b"a/b".as_slice().into(),
            validator: [1, 2, 3].as_slice().into(),
            link: b"target".as_slice().into(),
        }
    }

    #[test]
    fn round_trip_and_every_flipped_bit_is_seen() {
        let (uuid, offset) = (Uuid([9; 16]), 4096);
        let sector = sample().encode(uuid, offset);
        assert_eq!(BlobRecord::decode(&sector, uuid, offset), Ok(sample()));
        for bit in 0..512 * 8 {
            let mut bad = sector;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(BlobRecord::decode(&bad, uuid, offset).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_free_record_is_one() {
        let sector = BlobRecord::free().encode(Uuid([9; 16]), 512);
        let read = BlobRecord::decode(&sector, Uuid([9; 16]), 512);
        assert_eq!(read, Ok(BlobRecord::free()));
    }

    #[test]
    fn a_name_that_does_not_fit_is_left_out_whole() {
        let mut record = sample();
        record.name = vec![b'n'; INLINE_LEN].into();
        let sector = record.encode(Uuid::default(), 0);
        let read = BlobRecord::decode(&sector, Uuid::default(), 0).unwrap();
        assert!(read.name.is_empty());
        assert_eq!((read.validator, read.link), (record.validator, record.link));
    }
}
