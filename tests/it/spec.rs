//! `format-spec.md` against the code: its tables, its value lists, its clauses and its worked examples.
//!
//! The examples are computed here once more from the words of the specification (a checksum bit by bit, BLAKE3 by its
//! own crate), so that neither the code nor the text can be wrong alone.

use std::collections::{BTreeMap, BTreeSet};

use larder::format::{
    BlobKind, HeapKind, SectorError, SessionState, SlotFlags, SlotKind, SlotRecord, TABLES,
    block_crc, encode_validator, slot_hash,
};
use larder::units::{ChunkSize, SlotId, Timestamp, Validator, ValidatorClass};

use crate::golden_writer::{INDEX, REMOTE, blobs, chunk_path, geometry, uuid, write};
use crate::tree::root;

fn text() -> String {
    std::fs::read_to_string(root().join("format-spec.md")).unwrap()
}

/// The lines of the section under a heading of any level, up to the next heading of the same level or a higher one.
fn section(heading: &str) -> Vec<String> {
    let text = text();
    let mut lines = text.lines();
    let found = lines
        .by_ref()
        .find(|line| line.starts_with('#') && line.trim_start_matches('#').trim() == heading)
        .unwrap_or_else(|| panic!("format-spec.md has no section {heading:?}"));
    let level = found.chars().take_while(|c| *c == '#').count();
    let mut fenced = false;
    lines
        .take_while(|line| {
            fenced ^= line.starts_with("```");
            let depth = line.chars().take_while(|c| *c == '#').count();
            fenced || depth == 0 || depth > level
        })
        .map(str::to_owned)
        .collect()
}

/// The rows of the first table in `lines` whose head starts with the column `first`; back quotes are gone.
fn table(lines: &[String], first: &str) -> Vec<Vec<String>> {
    let head = format!("| {first} |");
    lines
        .iter()
        .skip_while(|line| !line.starts_with(&head))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn the_tables_of_the_specification_are_those_of_the_code() {
    for (name, fields) in TABLES {
        let rows = table(&section(name), "offset");
        let written: Vec<_> = rows
            .iter()
            .map(|row| (row[0].clone(), row[1].clone(), row[2].clone()))
            .collect();
        let expected: Vec<_> = fields
            .iter()
            .map(|f| {
                (
                    f.offset.to_string(),
                    f.size.to_string(),
                    f.name.to_lowercase(),
                )
            })
            .collect();
        assert_eq!(written, expected, "{name}");
        assert!(
            rows.iter().all(|row| !row[3].is_empty()),
            "{name}: a field without a meaning"
        );
    }
}

fn listed(heading: &str, first: &str) -> Vec<(String, String)> {
    let rows = table(&section(heading), first);
    rows.iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect()
}

fn pairs<const N: usize>(values: [(u64, &str); N]) -> Vec<(String, String)> {
    values
        .map(|(value, name)| (value.to_string(), name.to_owned()))
        .to_vec()
}

#[test]
fn the_value_lists_are_those_of_the_code() {
    let slot_kinds = [
        (SlotKind::Free as u64, "free"),
        (SlotKind::Data as u64, "data"),
        (SlotKind::Pack as u64, "pack"),
        (SlotKind::Dir as u64, "dir"),
    ];
    assert_eq!(listed("Slot record", "kind"), pairs(slot_kinds));
    let flags = [
        (SlotFlags::TAINTED, "tainted"),
        (SlotFlags::REFLINKED, "reflinked"),
        (SlotFlags::PINNED, "pinned"),
        (SlotFlags::WEAK_VALIDATOR, "weak_validator"),
        (SlotFlags::VISITED, "visited"),
        (SlotFlags::QUEUE_MAIN, "queue_main"),
        (SlotFlags::SEALED, "sealed"),
    ]
    .map(|(flag, name)| (u64::from(flag.trailing_zeros()), name));
    assert_eq!(listed("Slot record", "bit"), pairs(flags));
    let blob_kinds = [
        (BlobKind::Free as u64, "free"),
        (BlobKind::File as u64, "file"),
        (BlobKind::Dir as u64, "dir"),
        (BlobKind::Symlink as u64, "symlink"),
        (BlobKind::Negative as u64, "negative"),
    ];
    assert_eq!(listed("Blob record", "kind"), pairs(blob_kinds));
    let heap_kinds = [
        (HeapKind::Name as u64, "name"),
        (HeapKind::Xattr as u64, "xattr"),
        (HeapKind::Link as u64, "link"),
        (HeapKind::Validator as u64, "validator"),
    ];
    assert_eq!(listed("Heap cell", "kind"), pairs(heap_kinds));
    let states = [
        (SessionState::Open as u64, "open"),
        (SessionState::Clean as u64, "clean"),
    ];
    assert_eq!(listed("Session", "state"), pairs(states));
    let classes = [
        ValidatorClass::Stamp,
        ValidatorClass::Local,
        ValidatorClass::Modified,
        ValidatorClass::WeakEtag,
        ValidatorClass::TimeEtag,
        ValidatorClass::Strong,
    ]
    .map(|class| (class as u64, class.name()));
    assert_eq!(listed("Validators", "class"), pairs(classes));
}

/// What the fields of each class take, by their words: that is what the encoding takes.
#[test]
fn the_fields_of_the_validators_are_those_of_the_code() {
    let time = Timestamp { secs: 1, nanos: 2 };
    let etag = || Box::from(*b"an etag");
    let samples = [
        Validator::Stamp(1),
        Validator::Local {
            ino: 1,
            size: 2,
            mtime: time,
            ctime: time,
        },
        Validator::Modified {
            mtime: time,
            size: 1,
        },
        Validator::WeakEtag {
            etag: etag(),
            size: 1,
        },
        Validator::TimeEtag(etag()),
        Validator::Strong(etag()),
    ];
    let rows = table(&section("Validators"), "class");
    assert_eq!(rows.len(), samples.len());
    for (row, sample) in rows.iter().zip(samples) {
        let taken = |field: &str| match field {
            "number" | "inode number or 0" | "size" => 8,
            "mtime" | "ctime" => 12,
            "ETag" => etag().len(),
            // A stamp, for one, is an epoch and a counter, which no validator is.
            other => panic!("{row:?}: no such field as {other}"),
        };
        let fields: usize = row[2].split(", ").map(taken).sum();
        assert_eq!(encode_validator(&sample).len(), 1 + fields, "{row:?}");
    }
}

#[test]
fn the_chunk_sizes_are_those_of_the_code() {
    let rows = table(&section("Chunks and blocks"), "chunk_log2");
    let expected: Vec<Vec<String>> = (0..=u8::MAX)
        .filter_map(ChunkSize::from_log2)
        .map(|chunk| {
            let numbers = [
                u64::from(chunk.log2()),
                chunk.bytes(),
                chunk.block_size(),
                chunk.blocks_per_chunk(),
            ];
            numbers.map(|n| n.to_string()).to_vec()
        })
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn each_clause_of_a_finding_is_defined_once_and_used_as_defined() {
    let defined: Vec<String> = table(&section("What a checker finds"), "clause")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    let unique: BTreeSet<&String> = defined.iter().collect();
    assert_eq!(unique.len(), defined.len());
    let expected: Vec<&str> = larder::check::Clause::ALL.iter().map(|c| c.id()).collect();
    assert_eq!(defined, expected);
    // What the checker's sources name as a clause must be one.
    for (path, source) in crate::tree::rust_files() {
        if !path.starts_with("src/check/") {
            continue;
        }
        for (at, _) in source.match_indices("\"F-") {
            let clause = source[at + 1..].split('"').next().unwrap();
            assert!(
                defined.iter().any(|d| d == clause),
                "{path}: {clause} is not in the specification"
            );
        }
    }
}

/// CRC-32 as the specification words it, a bit at a time.
fn crc32(parts: &[&[u8]]) -> u32 {
    let mut register = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = register & 1 == 1;
            register >>= 1;
            if carry {
                register ^= 0xEDB8_8320;
            }
        }
    }
    !register
}

/// The keyed hash as the specification words it.
fn hash128(context: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(u64::try_from(part.len()).unwrap().to_le_bytes());
        bytes.extend(*part);
    }
    let key = blake3::derive_key(context, &uuid().0);
    blake3::keyed_hash(&key, &bytes).as_bytes()[..16].to_vec()
}

/// The hash of a slot as the specification words it.
fn placed(tag: &[u8], chunk_no: u64) -> u64 {
    let low = u64::from_le_bytes(tag[..8].try_into().unwrap());
    let mut h = low ^ chunk_no.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for factor in [0xFF51_AFD7_ED55_8CCD, 0xC4CE_B9FE_1A85_EC53] {
        h = (h ^ (h >> 33)).wrapping_mul(factor);
    }
    h ^ (h >> 33)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The slot record of the first chunk of `docs/a.txt` in the golden cache: its number, its offset, its sector.
fn example_slot() -> (SlotId, u64, [u8; 512]) {
    let index = &write()[INDEX];
    let tag = blobs()[0].tag();
    (0..geometry().n_slots())
        .map(SlotId)
        .find_map(|slot| {
            let offset = geometry().slot_offset(slot);
            let at = usize::try_from(offset).unwrap();
            let sector = index[at..at + 512].try_into().unwrap();
            let record = SlotRecord::decode(&sector, uuid(), offset).ok()?;
            (record.tag == tag).then_some((slot, offset, sector))
        })
        .unwrap()
}

/// Every worked example by its name.
fn examples() -> BTreeMap<&'static str, String> {
    identities()
        .into_iter()
        .chain(places())
        .chain(checksums())
        .collect()
}

/// Key and tag of `docs/a.txt`, computed from the words of the specification.
fn key_and_tag() -> (Vec<u8>, Vec<u8>) {
    let blob = &blobs()[0];
    let validator = encode_validator(blob.validator.as_ref().unwrap());
    let key = hash128("larder 1 blob key", &[REMOTE.as_bytes(), b"", blob.name]);
    let tag = hash128(
        "larder 1 version tag",
        &[
            &key,
            &validator,
            &blob.size.to_le_bytes(),
            &[blob.chunk.log2()],
        ],
    );
    assert_eq!((&key[..], &tag[..]), (&blob.key().0[..], &blob.tag().0[..]));
    (key, tag)
}

fn identities() -> Vec<(&'static str, String)> {
    let (key, tag) = key_and_tag();
    let validator = encode_validator(blobs()[0].validator.as_ref().unwrap());
    let hash_key = |context| hex(&blake3::derive_key(context, &uuid().0));
    vec![
        ("uuid", hex(&uuid().0)),
        ("key hash key", hash_key("larder 1 blob key")),
        ("tag hash key", hash_key("larder 1 version tag")),
        ("key", hex(&key)),
        ("validator", hex(&validator)),
        ("tag", hex(&tag)),
    ]
}

fn places() -> Vec<(&'static str, String)> {
    let (key, tag) = key_and_tag();
    let tag_of_code = blobs()[0].tag();
    let hashes = [0, 7].map(|chunk_no| placed(&tag, chunk_no));
    assert_eq!(
        hashes,
        [slot_hash(tag_of_code, 0), slot_hash(tag_of_code, 7)]
    );
    let key_hash = u64::from_le_bytes(key[..8].try_into().unwrap());
    let (slot, offset, _) = example_slot();
    vec![
        ("blob segment", (key_hash >> 62).to_string()),
        ("slot_hash of chunk 0", format!("{:016x}", hashes[0])),
        ("slot_hash of chunk 7", format!("{:016x}", hashes[1])),
        ("slot segment", (hashes[0] >> 62).to_string()),
        ("slot number", slot.0.to_string()),
        ("slot offset", offset.to_string()),
        ("chunk file", chunk_path(slot)),
        ("index length", geometry().index_len().to_string()),
        (
            "blob table of segment 1",
            geometry().blob_table_offset(1).to_string(),
        ),
        ("heap of segment 3", geometry().heap_offset(3).to_string()),
        ("superblock backup", geometry().backup_offset().to_string()),
    ]
}

fn checksums() -> Vec<(&'static str, String)> {
    let (blob, tag) = (&blobs()[0], key_and_tag().1);
    let block = |n: u32| {
        let data = blob.block(0, n);
        let len = u32::try_from(data.len()).unwrap().to_le_bytes();
        let crc = crc32(&[&tag, &0u64.to_le_bytes(), &n.to_le_bytes(), &len, &data]);
        assert_eq!(crc, block_crc(blob.tag(), 0, n, &data));
        format!("{} bytes, {crc:08x}", data.len())
    };
    let sealed = |uuid: &[u8], offset: u64, sector: &[u8]| {
        let crc = crc32(&[
            uuid,
            &(offset / 512).to_le_bytes(),
            &sector[..4],
            &sector[8..],
        ]);
        assert_eq!(sector[4..8], crc.to_le_bytes());
        format!("{crc:08x}")
    };
    let (_, offset, sector) = example_slot();
    vec![
        (
            "crc32(\"123456789\")",
            format!("{:08x}", crc32(&[b"123456789"])),
        ),
        (
            "superblock copy 1 crc",
            sealed(&[0; 16], 4096, &write()[INDEX][4096..4608]),
        ),
        ("superblock backup crc", {
            let at = geometry().backup_offset();
            let start = usize::try_from(at).unwrap();
            sealed(&[0; 16], at, &write()[INDEX][start..start + 512])
        }),
        ("slot crc", sealed(&uuid().0, offset, &sector)),
        ("first bytes of the chunk file", hex(&blob.block(0, 0)[..8])),
        ("block 0", block(0)),
        ("block 1", block(1)),
    ]
}

#[test]
fn the_worked_examples_are_right() {
    let written: BTreeMap<String, String> =
        listed("Worked examples", "example").into_iter().collect();
    let computed: BTreeMap<String, String> = examples()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    assert_eq!(
        written,
        computed,
        "the table should read\n{}",
        printed(&computed)
    );
}

fn printed(examples: &BTreeMap<String, String>) -> String {
    examples.iter().fold(String::new(), |text, (name, value)| {
        format!("{text}| {name} | `{value}` |\n")
    })
}

/// A sector as the specification prints it: 16 bytes a line, lines of zeros left out.
fn dump(sector: &[u8]) -> Vec<String> {
    sector
        .chunks(16)
        .enumerate()
        .filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0))
        .map(|(n, bytes)| {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{:03x}  {}", n * 16, bytes.join(" "))
        })
        .collect()
}

#[test]
fn the_dumped_sector_is_right() {
    let lines = section("Worked examples");
    let written: Vec<&String> = lines
        .iter()
        .skip_while(|line| !line.starts_with("```"))
        .skip(1)
        .take_while(|line| !line.starts_with("```"))
        .collect();
    let expected = dump(&example_slot().2);
    assert!(
        written
            .iter()
            .map(|line| line.as_str())
            .eq(expected.iter().map(String::as_str)),
        "the dump should read\n{}",
        expected.join("\n")
    );
}

#[test]
fn the_impossible_combinations_are_refused() {
    // Each row names a record, a field and a value that the field must not have; the sectors start as valid ones.
    let index = &write()[INDEX];
    let (_, slot_at, slot) = example_slot();
    let blob_at = (0..geometry().n_blobs())
        .map(|blob| geometry().blob_offset(blob))
        .find(|at| index[usize::try_from(*at).unwrap()] != 0)
        .unwrap();
    let blob: [u8; 512] = {
        let at = usize::try_from(blob_at).unwrap();
        index[at..at + 512].try_into().unwrap()
    };
    let rows = table(&section("Impossible values"), "record");
    assert!(rows.len() >= 12);
    for row in rows {
        let (record, field, value) = (&row[0], &row[1], row[2].parse::<u64>().unwrap());
        let name = if record == "slot" {
            "Slot record"
        } else {
            "Blob record"
        };
        let (_, fields) = TABLES.iter().find(|(table, _)| table == &name).unwrap();
        let place = fields
            .iter()
            .find(|f| &f.name.to_lowercase() == field)
            .unwrap();
        let (mut sector, offset) = if record == "slot" {
            (slot, slot_at)
        } else {
            (blob, blob_at)
        };
        let size = place.size.min(8);
        sector[place.offset..place.offset + size].copy_from_slice(&value.to_le_bytes()[..size]);
        larder::format::reseal(&mut sector, larder::format::Geometry::seed(uuid(), offset));
        let error = if record == "slot" {
            SlotRecord::decode(&sector, uuid(), offset).err()
        } else {
            larder::format::BlobRecord::decode(&sector, uuid(), offset).err()
        };
        assert!(
            matches!(error, Some(SectorError::Field { .. })),
            "{row:?}: {error:?}"
        );
    }
}
