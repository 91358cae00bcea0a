//! Replays what the fuzzers start from (`fuzz/corpus/`) and what they once found (`fuzz/regressions/`).

use std::path::PathBuf;

use crate::golden_writer;
use crate::tree::root;

/// The inputs of a target in one of the two folders, by name.
fn inputs(folder: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("fuzz").join(folder).join(target);
    std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

fn replay(target: &str, run: fn(&[u8])) {
    for folder in ["corpus", "regressions"] {
        replay_folder(folder, target, run);
    }
}

fn replay_folder(folder: &str, target: &str, run: fn(&[u8])) {
    for (path, data) in inputs(folder, target) {
        let outcome = std::panic::catch_unwind(|| run(&data));
        assert!(outcome.is_ok(), "{}: see the panic above", path.display());
    }
}

#[test]
fn decode() {
    if std::env::var_os("LARDER_BLESS").is_some() {
        write_seeds();
    }
    assert!(
        inputs("corpus", "decode").len() >= 6,
        "a seed for every type of sector"
    );
    assert!(!inputs("regressions", "decode").is_empty());
    replay("decode", larder::testing::fuzz::decode);
}

#[test]
fn check() {
    assert!(!inputs("corpus", "check").is_empty());
    replay("check", larder::testing::fuzz::check);
}

#[test]
fn listing() {
    assert!(
        inputs("corpus", "listing").len() >= 8,
        "a seed for every kind of listing"
    );
    // The fuzzer has found nothing yet; what it finds is committed, and with it this folder.
    if root().join("fuzz/regressions/listing").exists() {
        replay("listing", larder::testing::fuzz::listing);
    } else {
        replay_folder("corpus", "listing", larder::testing::fuzz::listing);
    }
}

/// One seed for every type of sector: the first of its kind in the golden cache.
fn write_seeds() {
    let index = &golden_writer::write()[golden_writer::INDEX];
    for magic in ["LdSB", "LdSE", "LdSG", "LdSL", "LdBL"] {
        let sector = index
            .chunks(512)
            .find(|sector| sector.starts_with(magic.as_bytes()));
        let path = root().join(format!("fuzz/corpus/decode/seed-{magic}"));
        std::fs::write(path, sector.unwrap()).unwrap();
    }
    let cell = larder::format::HeapCell {
        kind: larder::format::HeapKind::Name,
        ordinal: 0,
        next: Some(1),
        stamp: larder::units::Stamp::new(1, 1),
        owner: golden_writer::blobs()[0].key(),
        payload: b"a long name".as_slice().into(),
    };
    let path = root().join("fuzz/corpus/decode/seed-LdHC");
    std::fs::write(path, cell.encode(golden_writer::uuid(), 65536)).unwrap();
}
