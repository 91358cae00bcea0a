//! Reading and writing the fields of one sector.

use crate::units::Uuid;

/// The unit of the index: every record is one sector.
pub const SECTOR_LEN: usize = 512;
/// The bytes of one sector.
pub type Sector = [u8; SECTOR_LEN];

/// One field of a sector: where it lies and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// The name, in capitals with underscores; the specification writes it in small letters.
    pub name: &'static str,
    /// The first byte, counted from the start of the sector.
    pub offset: usize,
    /// The length in bytes.
    pub size: usize,
}

/// Defines the fields of one sector type, each placed right behind the one before it, and checks at compile time that
/// together they fill the sector.
macro_rules! layout {
    ($($name:ident : $size:expr,)*) => {
        layout!(@place 0usize; $($name : $size,)*);
        /// Every field of this sector in order.
        pub(crate) const FIELDS: &[$crate::format::Field] = &[$($name),*];
        const _: () = assert!(0 $(+ $size)* == $crate::format::SECTOR_LEN);
    };
    (@place $offset:expr;) => {};
    (@place $offset:expr; $name:ident : $size:expr, $($rest:tt)*) => {
        const $name: $crate::format::Field =
            $crate::format::Field { name: stringify!($name), offset: $offset, size: $size };
        layout!(@place $offset + $size; $($rest)*);
    };
}
pub(crate) use layout;

/// No sequence number is this high: one that is read can always be raised.
pub(crate) const SEQUENCE_END: u64 = 1 << 63;

/// Where a sector's type is written.
pub(crate) const MAGIC_LEN: usize = 4;
/// Where a sector's checksum is written: every sector type has it behind the magic.
pub(crate) const CRC: Field = Field {
    name: "CRC",
    offset: MAGIC_LEN,
    size: 4,
};

/// What seeds a sector's checksum: the cache that it belongs to and its place in the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SectorSeed {
    /// The cache's uuid; all zeros for the superblock, which carries it.
    pub uuid: Uuid,
    /// The offset in the index file divided by 512.
    pub number: u64,
}

/// Why a sector is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SectorError {
    /// All bytes are zero: a record that was never written.
    #[error("the sector is blank")]
    Blank,
    /// It does not start as its type must.
    #[error("the sector starts with {found:02x?} instead of {expected:02x?}")]
    Magic {
        /// What the type starts with.
        expected: [u8; 4],
        /// What was read.
        found: [u8; 4],
    },
    /// The checksum does not fit the bytes at this place in this cache.
    #[error(
        "checksum mismatch: the sector stores {stored:#010x}, but its bytes give {computed:#010x}"
    )]
    Checksum {
        /// What the sector says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// A field holds what no writer of this version writes.
    #[error("field {field} holds {value}, which is not allowed")]
    Field {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

/// A reader of one sector's fields.
pub(crate) struct SectorReader<'a>(pub(crate) &'a Sector);

impl SectorReader<'_> {
    /// Checks magic and checksum. Errors: blank, magic, checksum.
    pub(crate) fn check(&self, magic: [u8; 4], seed: SectorSeed) -> Result<(), SectorError> {
        if *self.0 == [0; SECTOR_LEN] {
            return Err(SectorError::Blank);
        }
        let found = self.bytes(Field {
            name: "MAGIC",
            offset: 0,
            size: MAGIC_LEN,
        });
        if found != magic {
            return Err(SectorError::Magic {
                expected: magic,
                found,
            });
        }
        let (stored, computed) = (self.u32(CRC), sector_crc(self.0, seed));
        if stored != computed {
            return Err(SectorError::Checksum { stored, computed });
        }
        Ok(())
    }

    pub(crate) fn bytes<const N: usize>(&self, field: Field) -> [u8; N] {
        debug_assert_eq!(field.size, N, "{}", field.name);
        let mut out = [0; N];
        out.iter_mut()
            .zip(self.0.iter().skip(field.offset))
            .for_each(|(to, from)| *to = *from);
        out
    }

    pub(crate) fn slice(&self, field: Field) -> &[u8] {
        self.0
            .get(field.offset..field.offset + field.size)
            .unwrap_or_default()
    }

    pub(crate) fn u8(&self, field: Field) -> u8 {
        u8::from_le_bytes(self.bytes(field))
    }

    pub(crate) fn u16(&self, field: Field) -> u16 {
        u16::from_le_bytes(self.bytes(field))
    }

    pub(crate) fn u32(&self, field: Field) -> u32 {
        u32::from_le_bytes(self.bytes(field))
    }

    pub(crate) fn u64(&self, field: Field) -> u64 {
        u64::from_le_bytes(self.bytes(field))
    }

    pub(crate) fn i64(&self, field: Field) -> i64 {
        i64::from_le_bytes(self.bytes(field))
    }

    /// Errors where a reserved field holds anything but zeros; the value reported is the offset of the first such byte.
    pub(crate) fn zero(&self, field: Field) -> Result<(), SectorError> {
        match self.slice(field).iter().position(|b| *b != 0) {
            None => Ok(()),
            Some(at) => Err(SectorError::Field {
                field: field.name,
                value: at as u64,
            }),
        }
    }
}

/// A writer of one sector's fields; what is not written is zero.
pub(crate) struct SectorWriter(Sector);

impl SectorWriter {
    pub(crate) fn new() -> Self {
        Self([0; SECTOR_LEN])
    }

    pub(crate) fn bytes(&mut self, field: Field, value: &[u8]) -> &mut Self {
        debug_assert!(value.len() <= field.size, "{}", field.name);
        self.0
            .iter_mut()
            .skip(field.offset)
            .take(field.size)
            .zip(value)
            .for_each(|(to, from)| *to = *from);
        self
    }

    pub(crate) fn u8(&mut self, field: Field, value: u8) -> &mut Self {
        self.bytes(field, &value.to_le_bytes())
    }

    pub(crate) fn u16(&mut self, field: Field, value: u16) -> &mut Self {
        self.bytes(field, &value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, field: Field, value: u32) -> &mut Self {
        self.bytes(field, &value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, field: Field, value: u64) -> &mut Self {
        self.bytes(field, &value.to_le_bytes())
    }

    pub(crate) fn i64(&mut self, field: Field, value: i64) -> &mut Self {
        self.bytes(field, &value.to_le_bytes())
    }

    /// Writes magic and checksum: the sector is then complete.
    pub(crate) fn seal(&mut self, magic: [u8; 4], seed: SectorSeed) -> Sector {
        self.bytes(
            Field {
                name: "MAGIC",
                offset: 0,
                size: MAGIC_LEN,
            },
            &magic,
        );
        let crc = sector_crc(&self.0, seed);
        self.u32(CRC, crc);
        self.0
    }
}

/// Writes the checksum that fits the sector's bytes, whatever they say: fuzzers and tests of bad fields get past the
/// checksum with it.
#[doc(hidden)]
pub fn reseal(sector: &mut Sector, seed: SectorSeed) {
    let crc = sector_crc(sector, seed);
    for (to, from) in sector.iter_mut().skip(CRC.offset).zip(crc.to_le_bytes()) {
        *to = from;
    }
}

/// CRC-32 (IEEE) over uuid, sector number, the magic and all that follows the checksum itself.
fn sector_crc(sector: &Sector, seed: SectorSeed) -> u32 {
    let (magic, rest) = sector.split_at(MAGIC_LEN);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seed.uuid.0);
    hasher.update(&seed.number.to_le_bytes());
    hasher.update(magic);
    hasher.update(rest.get(CRC.size..).unwrap_or_default());
    hasher.finalize()
}
