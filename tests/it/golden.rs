//! A cache that version 1.0 wrote is read by every later version, to the byte.

use std::collections::BTreeMap;

use larder::format::{
    BlobKind, BlobRecord, FeatureVerdict, Features, Geometry, HeapCell, SECTOR_LEN, Sector,
    SectorError, SegmentHeader, Session, SessionState, SlotKind, SlotRecord, Superblock,
    blob_segment_hash, block_crc, reseal, slot_hash,
};
use larder::testing::Rng;
use larder::units::{BlockMask, SlotId, Uuid};

use crate::golden_writer::{
    Blob, FIXTURE, INDEX, blobs, chunk_path, geometry, superblock, superseded, uuid, write,
};
use crate::tree::root;

type Files = BTreeMap<String, Vec<u8>>;

/// The committed copy. With `LARDER_BLESS=1` in the environment it is written first: that is how it was made.
fn committed() -> Files {
    let top = root().join(FIXTURE);
    if std::env::var_os("LARDER_BLESS").is_some() {
        for (path, data) in write() {
            let path = top.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, data).unwrap();
        }
    }
    let mut files = Files::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path
                .strip_prefix(&top)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            files.insert(name, std::fs::read(path).unwrap());
        }
    }
    files
}

fn sector(files: &Files, offset: u64) -> Sector {
    let at = usize::try_from(offset).unwrap();
    files[INDEX][at..at + SECTOR_LEN].try_into().unwrap()
}

#[test]
fn the_writer_of_today_writes_the_committed_bytes() {
    let (committed, written) = (committed(), write());
    assert_eq!(
        committed.keys().collect::<Vec<_>>(),
        written.keys().collect::<Vec<_>>()
    );
    for (path, data) in &written {
        let differs = committed[path].iter().zip(data).position(|(a, b)| a != b);
        assert_eq!(
            differs, None,
            "{path} differs from its committed copy at this byte"
        );
        assert_eq!(committed[path].len(), data.len(), "{path}");
    }
}

#[test]
fn every_sector_is_read_and_written_back_the_same() {
    let files = committed();
    let copies = [0, 1].map(|copy| sector(&files, Geometry::superblock_offset(copy)));
    let found = Superblock::choose(&copies).unwrap();
    assert_eq!(found, superblock(1));
    assert_eq!(found.encode(), copies[1]);
    assert_eq!(found.geometry.index_len(), files[INDEX].len() as u64);

    let copies = [0, 1].map(|copy| sector(&files, Geometry::session_offset(copy)));
    let session = Session::choose(&copies, uuid()).unwrap();
    assert_eq!((session.state, session.epoch), (SessionState::Clean, 3));
    assert_eq!(session.encode(uuid()), copies[0]);

    let mut count = [0; 4];
    for segment in 0..geometry().segments() {
        let bytes = sector(&files, Geometry::segment_header_offset(segment));
        let header = SegmentHeader::decode(&bytes, uuid(), segment).unwrap();
        assert_eq!(header.encode(uuid()), bytes);
        count[0] += header.used_slots;
    }
    for slot in 0..geometry().n_slots() {
        let offset = geometry().slot_offset(SlotId(slot));
        let bytes = sector(&files, offset);
        match SlotRecord::decode(&bytes, uuid(), offset) {
            Ok(record) => {
                assert_eq!(record.encode(uuid(), offset), bytes, "slot {slot}");
                count[1] += u32::from(record.kind == SlotKind::Data);
            }
            Err(error) => assert_eq!(error, SectorError::Blank, "slot {slot}"),
        }
    }
    for blob in 0..geometry().n_blobs() {
        let offset = geometry().blob_offset(blob);
        let bytes = sector(&files, offset);
        match BlobRecord::decode(&bytes, uuid(), offset) {
            Ok(record) => {
                assert_eq!(record.encode(uuid(), offset), bytes, "blob {blob}");
                count[2] += u32::from(record.kind != BlobKind::Free);
            }
            Err(error) => assert_eq!(error, SectorError::Blank, "blob {blob}"),
        }
    }
    for cell in 0..geometry().n_heap() {
        let (segment, n) = (
            cell / geometry().heap_per_segment(),
            cell % geometry().heap_per_segment(),
        );
        let offset = geometry().heap_offset(segment) + u64::from(n) * 512;
        let found = HeapCell::decode(&sector(&files, offset), uuid(), offset);
        assert_eq!(found, Err(SectorError::Blank), "heap cell {cell}");
        count[3] += 1;
    }
    assert_eq!(count, [8, 8, 7, 32]);
}

/// Blocks by chunk and by number in it.
type Blocks = BTreeMap<(u64, u32), Vec<u8>>;

/// What a reader that follows `format-spec.md` finds of a blob: the record of its key and, for each chunk, the blocks
/// whose bit is set and whose bytes fit their checksum.
fn look_up(files: &Files, blob: &Blob) -> (BlobRecord, Blocks) {
    look_for(files, blob).unwrap()
}

/// The same in a directory that may be damaged: nothing where the record is lost.
fn look_for(files: &Files, blob: &Blob) -> Option<(BlobRecord, Blocks)> {
    let segment = geometry().segment_of(blob_segment_hash(blob.key()));
    let record = (0..geometry().blobs_per_segment())
        .map(|n| geometry().blob_table_offset(segment) + u64::from(n) * 512)
        .filter_map(|offset| BlobRecord::decode(&sector(files, offset), uuid(), offset).ok())
        .filter(|record| record.kind != BlobKind::Free && record.key == blob.key())
        .max_by_key(|record| record.stamp)?;
    let mut blocks = BTreeMap::new();
    for chunk_no in blob.chunks.iter().map(|chunk| chunk.number) {
        let segment = geometry().segment_of(slot_hash(record.tag, chunk_no));
        let per_segment = geometry().slots_per_segment();
        let held = (segment * per_segment..(segment + 1) * per_segment)
            .filter_map(|slot| {
                let offset = geometry().slot_offset(SlotId(slot));
                let found = SlotRecord::decode(&sector(files, offset), uuid(), offset).ok()?;
                Some((SlotId(slot), found))
            })
            .filter(|(_, found)| {
                found.kind == SlotKind::Data
                    && (found.tag, found.chunk_no) == (record.tag, chunk_no)
            })
            .max_by_key(|(_, found)| found.stamp);
        let Some((slot, found)) = held else {
            continue;
        };
        for n in found.present.iter() {
            let len = found.chunk.block_len(u64::from(found.valid_len), n);
            let start = u64::from(n) * found.chunk.block_size();
            let range = usize::try_from(start).unwrap()..usize::try_from(start + len).unwrap();
            let bytes = &files[&chunk_path(slot)][range];
            if found.crc_of(n) == Some(block_crc(found.tag, chunk_no, n, bytes)) {
                blocks.insert((chunk_no, n), bytes.to_vec());
            }
        }
    }
    Some((record, blocks))
}

#[test]
fn every_blob_reads_as_it_was_written() {
    let files = committed();
    for blob in blobs() {
        let (record, blocks) = look_up(&files, &blob);
        assert_eq!(&*record.name, blob.name);
        assert_eq!(record.kind, blob.kind);
        assert_eq!((record.size, record.tag), (blob.size, blob.tag()));
        assert_eq!(&*record.link, blob.link);
        let expected: BTreeMap<_, _> = blob
            .chunks
            .iter()
            .flat_map(|chunk| chunk.present.iter().map(move |n| (chunk.number, n)))
            .map(|(chunk_no, n)| ((chunk_no, n), blob.block(chunk_no, n)))
            .collect();
        assert!(blocks == expected, "{}", blob.object());
    }
    let old = superseded();
    assert_ne!(
        old.tag(),
        look_up(&files, &blobs()[0]).0.tag,
        "a new version has a new tag"
    );
}

#[test]
fn one_wrong_byte_in_a_chunk_file_is_one_block_that_is_absent() {
    let mut files = committed();
    let blob = &blobs()[1];
    let whole = look_up(&files, blob).1;
    let path = files
        .iter()
        .find(|(_, data)| data.len() == 65536 && data.starts_with(&whole[&(0, 0)]))
        .map(|(path, _)| path.clone())
        .unwrap();
    files.get_mut(&path).unwrap()[65535] ^= 1;
    let damaged = look_up(&files, blob).1;
    assert!(!damaged.contains_key(&(0, 15)));
    assert_eq!(damaged.len() + 1, whole.len());
}

/// Flips some bits anywhere in a directory and looks everything up; how many blocks are still found, all of them as they
/// were written.
fn after_flips(mut files: Files, seed: u64) -> usize {
    let mut rng = Rng::new(seed);
    let all: usize = files.values().map(Vec::len).sum();
    for _ in 0..1 + rng.below(40) {
        let mut at = rng.index(all);
        for bytes in files.values_mut() {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
                break;
            }
            at -= bytes.len();
        }
    }
    let mut found = 0;
    for blob in blobs() {
        let Some((record, blocks)) = look_for(&files, &blob) else {
            continue;
        };
        assert_eq!(
            (record.size, record.tag),
            (blob.size, blob.tag()),
            "seed {seed}"
        );
        for ((chunk_no, n), bytes) in &blocks {
            assert!(
                *bytes == blob.block(*chunk_no, *n),
                "seed {seed}: wrong bytes"
            );
        }
        found += blocks.len();
    }
    found
}

#[test]
fn flipped_bits_are_never_taken_for_data() {
    let files = committed();
    let whole: usize = blobs()
        .iter()
        .map(|blob| look_up(&files, blob).1.len())
        .sum();
    let lost = (0..400)
        .filter(|seed| after_flips(files.clone(), *seed) < whole)
        .count();
    eprintln!("400 directories with flipped bits, in {lost} blocks were lost, 0 wrong bytes");
    assert!(lost > 200, "the flips hit next to nothing");
}

/// The rig sees: written and read with every checksum taken for right, flipped bits are data.
#[test]
fn flips_catch_the_unsafe_variant() {
    let _unsafe = larder::testing::trust_every_checksum();
    let files = write();
    let run = |seed| std::panic::catch_unwind(|| after_flips(files.clone(), seed));
    let caught = (0..50).find(|seed| run(*seed).is_err());
    eprintln!("the variant that trusts every checksum was caught in run {caught:?}");
    assert!(caught.is_some(), "50 runs, and nothing was seen");
}

/// A copy of superblock B with one field changed and the checksum made to fit.
fn changed(at: usize, value: &[u8]) -> Sector {
    let mut bytes = superblock(1).encode();
    bytes[at..at + value.len()].copy_from_slice(value);
    reseal(
        &mut bytes,
        Geometry::seed(Uuid::default(), Geometry::superblock_offset(1)),
    );
    bytes
}

fn offset_of(name: &str) -> usize {
    let (_, fields) = larder::format::TABLES[0];
    fields
        .iter()
        .find(|field| field.name == name)
        .unwrap()
        .offset
}

#[test]
fn a_newer_major_version_is_told_from_a_foreign_file() {
    let newer = changed(offset_of("MAJOR"), &2u16.to_le_bytes());
    assert_eq!(
        Superblock::choose(&[[0; 512], newer]),
        Err(SectorError::Field {
            field: "MAJOR",
            value: 2
        }),
        "whichever copy tells it"
    );
    let error = Superblock::decode(&newer, 1).unwrap_err();
    assert_eq!(
        error,
        SectorError::Field {
            field: "MAJOR",
            value: 2
        }
    );
    assert_eq!(Superblock::claimed_major(&newer), Some(2));

    let mut foreign = [0x20; 512];
    foreign[..4].copy_from_slice(b"%PDF");
    assert!(matches!(
        Superblock::decode(&foreign, 0),
        Err(SectorError::Magic { .. })
    ));
    assert_eq!(Superblock::claimed_major(&foreign), None);
}

#[test]
fn a_newer_minor_version_is_opened_and_its_reserved_bytes_are_left_alone() {
    let mut newer = changed(offset_of("MINOR"), &1u16.to_le_bytes());
    newer[511] = 1;
    reseal(
        &mut newer,
        Geometry::seed(Uuid::default(), Geometry::superblock_offset(1)),
    );
    assert_eq!(Superblock::decode(&newer, 1).unwrap().minor, 1);
    let today = changed(511, &[1]);
    let error = Superblock::decode(&today, 1).unwrap_err();
    assert!(
        matches!(
            error,
            SectorError::Field {
                field: "RESERVED_B",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn unknown_feature_bits_mean_ignore_read_only_or_refuse() {
    for bit in 0..64 {
        let word = (1u64 << bit).to_le_bytes();
        for (field, expected) in [
            ("COMPAT", FeatureVerdict::Full),
            ("RO_COMPAT", FeatureVerdict::ReadOnly(1 << bit)),
            ("INCOMPAT", FeatureVerdict::Refused(1 << bit)),
        ] {
            let bytes = changed(offset_of(field), &word);
            let features = Superblock::decode(&bytes, 1).unwrap().features;
            assert_eq!(features.verdict(), expected, "{field} bit {bit}");
        }
    }
    let both = Features {
        ro_compat: 1,
        incompat: 2,
        ..Features::default()
    };
    assert_eq!(both.verdict(), FeatureVerdict::Refused(2));
}

#[test]
fn a_sector_of_another_place_or_cache_is_not_believed() {
    let files = committed();
    let offset = (0..geometry().n_slots())
        .map(|slot| geometry().slot_offset(SlotId(slot)))
        .find(|offset| sector(&files, *offset) != [0; 512])
        .unwrap();
    let bytes = sector(&files, offset);
    assert!(SlotRecord::decode(&bytes, uuid(), offset).is_ok());
    for (uuid, offset) in [(uuid(), offset + 512), (Uuid([1; 16]), offset)] {
        let error = SlotRecord::decode(&bytes, uuid, offset).unwrap_err();
        assert!(matches!(error, SectorError::Checksum { .. }), "{error}");
    }
}

#[test]
fn nothing_present_means_nothing_is_read_from_the_file() {
    let files = committed();
    let blob = &blobs()[4];
    assert_eq!(blob.chunks[0].present, BlockMask::NONE);
    assert!(look_up(&files, blob).1.is_empty());
    assert!(
        files.values().any(|data| data == &[0xee; 100]),
        "the file has bytes all the same"
    );
}
