//! `tests/reader/larder_read.py`, which was written from `format-spec.md` alone, reads caches that larder wrote, and the
//! checker counts the same in them.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use larder::check::{CheckOptions, Counts, Disk, check};
use larder::engine::{ChunkPolicy, Config, FreeSpace};
use larder::host::OpenedCache;
use larder::remote::Remote;
use larder::storage::CacheDir;
use larder::units::{ByteRange, ChunkSize, ObjectName};
use serde_json::Value;

use crate::example::Alphabet;
use crate::golden_engine::copy;
use crate::golden_writer::FIXTURE;
use crate::tree::root;

/// What the reader says of a cache.
fn told(dir: &Path) -> Value {
    let script = root().join("tests/reader/larder_read.py");
    let output = Command::new("python3").arg(script).arg(dir).output();
    let output = output.expect("python3 is there: apt-get install python3");
    let said = String::from_utf8_lossy(&output.stderr);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let complains = told["complaints"].as_array().unwrap().len();
    let code = output.status.code();
    assert_eq!(code, Some(i32::from(complains > 0)), "{told} {said}");
    told
}

fn complaints(told: &Value) -> Vec<&str> {
    let all = told["complaints"].as_array().unwrap();
    all.iter().map(|text| text.as_str().unwrap()).collect()
}

fn counted(dir: &Path) -> Counts {
    let cache = CacheDir::open_for_check(dir).unwrap();
    let go_on = &mut |_| ControlFlow::Continue(());
    let report = check(Disk::of(&cache), CheckOptions::DEEP, go_on).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    report.counts
}

/// Reader and checker agree, and neither has anything to say. Returns what they counted.
fn agree(dir: &Path) -> Counts {
    let (told, counts) = (told(dir), counted(dir));
    assert_eq!(complaints(&told), Vec::<&str>::new());
    for (name, count) in [
        ("slots", counts.used_slots),
        ("blobs", counts.used_blobs),
        ("cells", counts.used_heap),
        ("present_blocks", counts.present_blocks),
        ("present_bytes", counts.checked_bytes),
    ] {
        assert_eq!(told[name], count, "{name}: {told} and {counts:?}");
    }
    counts
}

/// A cache that the engine filled: some blobs, of each a few pieces, in chunks of this size.
fn fresh(dir: &Path, chunk: ChunkSize) {
    let config = Config {
        free_space: FreeSpace::NONE,
        ..Config::default()
    };
    let opened = OpenedCache::open(dir, 64 << 20, config).unwrap();
    let remote: Arc<dyn Remote> = Arc::new(Alphabet);
    let source = opened.attach(Arc::clone(&remote), "", ChunkPolicy::Fixed(chunk));
    for blob in 0..5 {
        let name = ObjectName::new(format!("blob {blob}").into_bytes());
        let facts = opened.stat(&remote, &name).unwrap();
        let reader = source.blob(&name, &facts).reader();
        for piece in 0..3 {
            let range = ByteRange::at(piece * 7_000_003, 10_000);
            assert_eq!(reader.read_blocking(range).unwrap().len(), 10_000);
        }
    }
}

#[test]
fn a_stranger_reads_the_golden_cache() {
    let dir = copy();
    let counts = agree(dir.path());
    assert_eq!((counts.used_slots, counts.used_blobs), (8, 7));
    assert_eq!(told(&root().join(FIXTURE)), told(dir.path()));
}

#[test]
fn a_stranger_reads_what_the_engine_wrote() {
    for chunk in [ChunkSize::MIN, ChunkSize::DEFAULT] {
        let dir = tempfile::tempdir().unwrap();
        fresh(dir.path(), chunk);
        let counts = agree(dir.path());
        assert!(
            counts.used_slots >= 15 && counts.used_blobs == 5,
            "{counts:?}"
        );
        assert!(counts.checked_bytes >= 150_000, "{counts:?}");
    }
}

#[test]
fn a_stranger_sees_damage() {
    let dir = copy();
    fs::write(
        dir.path().join("chunks/01/0000/00000010"),
        b"something else",
    )
    .unwrap();
    let index = fs::File::options()
        .write(true)
        .open(dir.path().join("index.larder"))
        .unwrap();
    index.write_all_at(&[7; 512], 8192).unwrap();
    let told = told(dir.path());
    let found = complaints(&told);
    for start in ["session 0: ", "slot 16: block 0 ", "slot 16: block 1 "] {
        assert!(
            found.iter().any(|text| text.starts_with(start)),
            "{start}{found:?}"
        );
    }
    assert_eq!(found.len(), 3, "{found:?}");
}
