//! Replays what the fuzzers start from (`fuzz/corpus/`) and what they once found (`fuzz/regressions/`).

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::golden_writer;
use crate::tree::root;

/// The inputs of a target in one of the two folders, by name; none where the fuzzer has not found anything yet.
fn inputs(folder: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("fuzz").join(folder).join(target);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("{}: {error}", folder.display()),
    };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

fn replay(target: &str, run: fn(&[u8])) {
    for folder in ["corpus", "regressions"] {
        for (path, data) in inputs(folder, target) {
            let outcome = std::panic::catch_unwind(|| run(&data));
            assert!(outcome.is_ok(), "{}: see the panic above", path.display());
        }
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
fn open() {
    assert!(!inputs("corpus", "open").is_empty());
    replay("open", larder::testing::fuzz::open);
}

#[test]
fn directory() {
    assert!(inputs("corpus", "directory").len() >= 4);
    replay("directory", larder::testing::fuzz::directory);
}

#[test]
fn answer() {
    assert!(inputs("corpus", "answer").len() >= 4);
    replay("answer", larder::testing::fuzz::answer);
}

#[test]
fn listing() {
    assert!(
        inputs("corpus", "listing").len() >= 8,
        "a seed for every kind of listing"
    );
    replay("listing", larder::testing::fuzz::listing);
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

/// The target sees: with every checksum taken for right, its seeds bring wrong bytes.
#[test]
fn open_catches_the_unsafe_variant() {
    let _unsafe = larder::testing::trust_every_checksum();
    let caught = inputs("corpus", "open")
        .iter()
        .filter(|(_, data)| std::panic::catch_unwind(|| larder::testing::fuzz::open(data)).is_err())
        .count();
    eprintln!("the variant that trusts every checksum was caught by {caught} of the seeds");
    assert!(
        caught > 0,
        "wrong bytes were read, and the target has seen nothing"
    );
}
