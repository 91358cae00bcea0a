//! A cache gets another index: what was cached stays and nothing is copied, whatever cuts the resizing short.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use larder::check::{self, CheckOptions, Disk, Mode};
use larder::engine::{ChunkPolicy, Config, FreeSpace};
use larder::host::OpenedCache;
use larder::remote::Remote;
use larder::storage::{CacheDir, ResizeOptions, Resized};
use larder::units::{ByteRange, ChunkSize, ObjectName};

use crate::example::Alphabet;

/// Apart by so much, two pieces lie in different chunks and begin with different letters.
const STEP: u64 = 7_000_003;
const PIECE: u64 = 10_000;

/// Reads pieces of some blobs and compares them. Returns the bytes that the remote had to give.
fn read(dir: &Path, blobs: u32, pieces: u64) -> u64 {
    let config = Config {
        free_space: FreeSpace::NONE,
        readahead_max: 0,
        readahead_far: 0,
        ..Config::default()
    };
    let opened = OpenedCache::open(dir, 16 << 20, config).unwrap();
    let remote: Arc<dyn Remote> = Arc::new(Alphabet);
    let source = opened.attach(Arc::clone(&remote), "", ChunkPolicy::Fixed(ChunkSize::MIN));
    for blob in 0..blobs {
        let name = ObjectName::new(format!("blob {blob}").into_bytes());
        let facts = opened.stat(&remote, &name).unwrap();
        let reader = source.blob(&name, &facts).reader();
        for piece in 0..pieces {
            let range = ByteRange::at(piece * STEP, PIECE);
            let bytes = reader.read_blocking(range).unwrap();
            let letter = |at: u64| b'a' + u8::try_from(at % 26).unwrap();
            assert!(
                bytes
                    .iter()
                    .zip(range.start..)
                    .all(|(byte, at)| *byte == letter(at)),
                "{name:?} at {}",
                range.start
            );
        }
    }
    opened.cache().stats().remote_bytes
}

/// What `cachefsck --deep` says of it: nothing.
fn is_sound(dir: &Path) {
    let cache = CacheDir::open(dir).unwrap();
    let go_on = &mut |_: check::Step| ControlFlow::Continue(());
    let report = check::run(Disk::of(&cache), Mode::Check, CheckOptions::DEEP, go_on).unwrap();
    assert_eq!(report.exit_code(), 0, "{:?}", report.findings);
}

/// What `cachefsck -n --deep` says of it, which has no lock and finishes nothing: nothing either.
fn looks_sound(dir: &Path, what: &str) {
    let before = names(dir);
    let cache = CacheDir::open_for_check(dir).unwrap();
    let unfinished = ["chunks.new", "chunks.old", "index.larder.new"];
    let unfinished = unfinished.iter().any(|name| before.contains(*name));
    assert_eq!(cache.is_unsettled(), unfinished, "{what}");
    let go_on = &mut |_: check::Step| ControlFlow::Continue(());
    let report = check::check(Disk::of(&cache), CheckOptions::DEEP, go_on).unwrap();
    assert_eq!(report.exit_code(), 0, "{what}: {:?}", report.findings);
    assert!(report.counts.checked_blocks > 0, "{what}");
    assert_eq!(names(dir), before, "{what}");
}

/// The inodes of all chunk files.
fn inodes(dir: &Path) -> BTreeSet<u64> {
    let (mut found, mut left) = (BTreeSet::new(), vec![dir.join("chunks")]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let stat = entry.metadata().unwrap();
            match stat.is_dir() {
                true => left.push(entry.path()),
                false => drop(found.insert(stat.ino())),
            }
        }
    }
    found
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.collect()
}

fn resize(dir: &Path, options: ResizeOptions) -> Resized {
    larder::storage::resize(dir, &options, &mut |_| {}).unwrap()
}

#[test]
fn a_cache_that_grows_keeps_all_it_has_and_copies_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read(dir.path(), 12, 8) > 0);
    let (files, top) = (inodes(dir.path()), names(dir.path()));
    let grown = ResizeOptions {
        capacity: Some(1 << 30),
        ..ResizeOptions::default()
    };
    let resized = resize(dir.path(), grown);
    assert_eq!(resized.chunks, files.len() as u64, "{resized:?}");
    assert!(resized.chunks >= 96 && resized.files == 12, "{resized:?}");
    assert_eq!((resized.chunks_dropped, resized.files_dropped), (0, 0));
    assert_eq!(resized.superblock.geometry.segments(), 8, "there was one");
    assert_eq!(inodes(dir.path()), files);
    assert_eq!(names(dir.path()), top);
    is_sound(dir.path());
    assert_eq!(read(dir.path(), 12, 8), 0, "all of it hits");
    is_sound(dir.path());
}

#[test]
fn a_cache_that_shrinks_drops_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    read(dir.path(), 12, 8);
    let chunks = inodes(dir.path()).len() as u64;
    let stranger = dir.path().join("chunks/00/0000/mine");
    fs::write(&stranger, "not larder's").unwrap();
    let fewer = ResizeOptions {
        slots: Some(40),
        files: Some(8),
        ..ResizeOptions::default()
    };
    let resized = resize(dir.path(), fewer);
    assert_eq!((resized.chunks, resized.chunks_dropped), (40, chunks - 40));
    assert_eq!((resized.files, resized.files_dropped), (8, 4));
    assert_eq!(inodes(dir.path()).len(), 40);
    let aside = dir.path().join("quarantine/chunks.old/00/0000/mine");
    assert_eq!(fs::read(aside).unwrap(), b"not larder's");
    is_sound(dir.path());
    // The last five blobs were written last.
    let opened = read(dir.path(), 12, 8);
    assert!(opened > 0);
    is_sound(dir.path());
}

#[test]
fn what_the_bytes_do_not_suffice_for_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let to = |capacity: u64| ResizeOptions {
        capacity: Some(capacity),
        ..ResizeOptions::default()
    };
    read(dir.path(), 1, 1);
    resize(dir.path(), to(64 << 20));
    let (blobs, pieces) = (10, 120);
    read(dir.path(), blobs, pieces);
    let resized = resize(dir.path(), to(16 << 20));
    assert!(resized.chunks_dropped > 0, "{resized:?}");
    let used: u64 = inodes_bytes(dir.path()) + resized.superblock.geometry.index_len();
    assert!(
        used <= 16 << 20 && used > 14 << 20 || resized.chunks == 128,
        "{used}"
    );
    is_sound(dir.path());
    read(dir.path(), blobs, pieces);
}

fn inodes_bytes(dir: &Path) -> u64 {
    let output = Command::new("du")
        .args(["-s", "--block-size=1"])
        .arg(dir.join("chunks"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Every call of `progress` is a place where the process may end.
#[test]
fn a_resize_that_is_killed_leaves_the_old_cache_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = dir.path().join("fresh");
    read(&fresh, 3, 4);
    let chunks = inodes(&fresh).len();
    let options = ResizeOptions {
        capacity: Some(200 << 20),
        ..ResizeOptions::default()
    };
    let (mut switched, mut whole) = (0, false);
    let mut kills = 0;
    while !whole {
        let place: PathBuf = dir.path().join("killed");
        let copied = Command::new("cp").arg("-a").args([&fresh, &place]).status();
        assert!(copied.unwrap().success());
        let mut left = kills;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            larder::storage::resize(&place, &options, &mut |_| {
                if left == 0 {
                    resume_unwind(Box::new("killed"));
                }
                left -= 1;
            })
        }));
        whole = outcome.is_ok();
        let top = names(&place);
        looks_sound(&place, &format!("killed at {kills}, it had {top:?}"));
        if kills % 2 == 0 {
            // Whoever opens it next may be killed as well, or may not.
            drop(CacheDir::open(&place).unwrap());
        }
        assert_eq!(read(&place, 3, 4), 0, "killed at {kills}, it had {top:?}");
        is_sound(&place);
        for leftover in ["chunks.new", "chunks.old", "index.larder.new"] {
            assert!(!names(&place).contains(leftover), "killed at {kills}");
        }
        let capacity = CacheDir::open(&place).unwrap().superblock().capacity;
        match capacity == 200 << 20 {
            true => switched += 1,
            false => assert_eq!((capacity, switched), (16 << 20, 0), "killed at {kills}"),
        }
        assert_eq!(inodes(&place).len(), chunks);
        fs::remove_dir_all(place).unwrap();
        kills += 1;
    }
    eprintln!(
        "killed at {} steps, {switched} of them behind the switch",
        kills - 1
    );
    assert!(
        kills > 16 && switched >= 4,
        "{kills} steps, {switched} behind"
    );
}
