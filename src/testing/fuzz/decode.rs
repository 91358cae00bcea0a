//! The target `decode`: every decoder of the format on arbitrary bytes.
//!
//! Held here: no bytes make a decoder panic; a record that is accepted says of itself what its sector says, so that
//! encoding it gives the same bytes; an accepted geometry can be computed with.

use crate::format::{
    BlobRecord, FORMAT_MINOR, Geometry, HeapCell, SECTOR_LEN, Sector, SectorError, SectorSeed,
    SegmentHeader, Session, SlotRecord, Superblock, decode_validator, encode_validator, reseal,
};
use crate::units::{SlotId, Uuid};

const UUID: Uuid = Uuid(*b"larder fuzz uuid");
/// A place in the index for the records whose place does not follow from what they say.
const OFFSET: u64 = 65536;

/// The target `decode`: every decoder on up to 512 bytes, which zeros fill up, once as they are and once with the magic
/// and the checksum of each type put in their places.
pub fn decode(data: &[u8]) {
    let mut sector = [0; SECTOR_LEN];
    sector
        .iter_mut()
        .zip(data)
        .for_each(|(to, from)| *to = *from);
    for (magic, seed, check) in types() {
        check(&sector);
        let mut sealed = sector;
        if let Some(head) = sealed.first_chunk_mut() {
            *head = magic;
        }
        reseal(&mut sealed, seed);
        check(&sealed);
    }
    if let Some(validator) = decode_validator(data) {
        assert_eq!(encode_validator(&validator), data);
    }
}

type Check = fn(&Sector);

/// Each type's magic, the seed of its checksum and its check.
fn types() -> [([u8; 4], SectorSeed, Check); 8] {
    let (superblock, session) = (Geometry::superblock_offset, Geometry::session_offset);
    let no_uuid = Uuid::default();
    [
        (*b"LdSB", Geometry::seed(no_uuid, superblock(0)), |s| {
            superblocks(s, 0)
        }),
        (*b"LdSB", Geometry::seed(no_uuid, superblock(1)), |s| {
            superblocks(s, 1)
        }),
        (*b"LdSE", Geometry::seed(UUID, session(0)), |s| {
            sessions(s, 0)
        }),
        (*b"LdSE", Geometry::seed(UUID, session(1)), |s| {
            sessions(s, 1)
        }),
        (
            *b"LdSG",
            Geometry::seed(UUID, Geometry::segment_header_offset(0)),
            segments,
        ),
        (*b"LdSL", Geometry::seed(UUID, OFFSET), slots),
        (*b"LdBL", Geometry::seed(UUID, OFFSET), blobs),
        (*b"LdHC", Geometry::seed(UUID, OFFSET), heap),
    ]
}

fn same(what: &str, encoded: Sector, sector: &Sector) {
    let differs = encoded.iter().zip(sector).position(|(a, b)| a != b);
    assert_eq!(
        differs, None,
        "a {what} that was accepted is written differently"
    );
}

fn superblocks(sector: &Sector, copy: u32) {
    Superblock::claimed_major(sector);
    let Ok(superblock) = Superblock::decode(sector, copy) else {
        return;
    };
    superblock.features.verdict();
    let geometry = superblock.geometry;
    let last = SlotId(geometry.n_slots() - 1);
    assert!(geometry.slot_offset(last) < geometry.index_len());
    assert!(geometry.blob_offset(geometry.n_blobs() - 1) < geometry.index_len());
    assert!(geometry.segment_of(u64::MAX) < geometry.segments());
    // A newer minor version may use bytes that this one does not know and therefore does not keep.
    #[expect(
        clippy::absurd_extreme_comparisons,
        reason = "the rule holds for every minor version, though the first is 0"
    )]
    let known = superblock.minor <= FORMAT_MINOR;
    if known {
        same("superblock", superblock.encode(), sector);
    }
}

fn sessions(sector: &Sector, copy: u32) {
    if let Ok(session) = Session::decode(sector, UUID, copy) {
        same("session", session.encode(UUID), sector);
    }
}

fn segments(sector: &Sector) {
    if let Ok(header) = SegmentHeader::decode(sector, UUID, 0) {
        same("segment header", header.encode(UUID), sector);
    }
}

fn slots(sector: &Sector) {
    match SlotRecord::decode(sector, UUID, OFFSET) {
        Err(SectorError::Blank) => assert!(sector.iter().all(|b| *b == 0)),
        Err(_) => {}
        Ok(slot) => {
            let crcs = (0..64).filter(|n| slot.crc_of(*n).is_some()).count();
            assert_eq!(crcs, slot.present.count() as usize);
            same("slot", slot.encode(UUID, OFFSET), sector);
        }
    }
}

fn blobs(sector: &Sector) {
    if let Ok(blob) = BlobRecord::decode(sector, UUID, OFFSET) {
        decode_validator(&blob.validator);
        same("blob", blob.encode(UUID, OFFSET), sector);
    }
}

fn heap(sector: &Sector) {
    if let Ok(cell) = HeapCell::decode(sector, UUID, OFFSET) {
        same("heap cell", cell.encode(UUID, OFFSET), sector);
    }
}
