//! Which version a reader gets.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use larder::vfs::MetadataTtl;

use super::super::cli::rig::wait_until;
use super::super::mounted::{Stage, content};
use super::{asking, pause, replace, with_ttl};

const LEN: usize = 300_000;
/// Too long to be fetched whole because its first byte was read.
const LONG: usize = 80 << 20;

/// V1. One inode of the mount serves one version of a file for its whole life.
#[test]
fn v1_one_inode_one_version() {
    let stage = Stage::new();
    let mounted = asking(&stage);
    let mut held = Vec::new();
    for seed in 0..5 {
        replace(&stage.origin("f"), &content(seed, LEN));
        let file = File::open(mounted.path("f")).unwrap();
        let mut bytes = vec![0; LEN];
        file.read_exact_at(&mut bytes, 0).unwrap();
        held.push((file, bytes));
    }
    let mut numbers = Vec::new();
    for (seed, (file, bytes)) in (0..).zip(&held) {
        assert!(*bytes == content(seed, LEN), "version {seed}");
        let mut again = vec![0; LEN];
        file.read_exact_at(&mut again, 0).unwrap();
        assert!(again == *bytes, "version {seed} later");
        numbers.push(file.metadata().unwrap().ino());
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 5, "each version has a number of its own");
}

/// V2. A file that changes at the remote appears on the mount as a new inode under the old name, as if it had been
/// replaced by rename(2).
#[test]
fn v2_a_change_is_a_new_inode() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), "one").unwrap();
    let mounted = asking(&stage);
    let before = fs::metadata(mounted.path("f")).unwrap().ino();
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"one");
    // Rewritten in place: the inode at the remote stays.
    fs::write(stage.origin("f"), "three").unwrap();
    let after = fs::metadata(mounted.path("f")).unwrap();
    assert_ne!(after.ino(), before);
    assert_eq!(after.len(), 5);
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"three");
}

/// V3. When a program opens a file after the TTL, larder asks the remote for the file's version: the open gets the
/// current one.
#[test]
fn v3_an_open_after_the_ttl_is_current() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), "one").unwrap();
    let mounted = with_ttl(&stage, MetadataTtl::seconds(1));
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"one");
    replace(&stage.origin("f"), b"two");
    pause(1200);
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"two");
}

/// V4. Within the TTL, an open may get the version that was current when larder last asked the remote.
#[test]
fn v4_an_open_within_the_ttl_asks_nobody() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), "one").unwrap();
    let mounted = with_ttl(&stage, MetadataTtl::Indefinite);
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"one");
    // What somebody has open the kernel does not forget.
    let _held = File::open(mounted.path("f")).unwrap();
    replace(&stage.origin("f"), b"two");
    let asked = mounted.slow.requests();
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"one");
    assert_eq!(mounted.slow.requests(), asked);
}

/// V5. With `--metadata-ttl minimal`, every open gets the current version.
#[test]
fn v5_minimal_is_always_current() {
    let stage = Stage::new();
    let mounted = asking(&stage);
    for seed in 0..20 {
        let bytes = content(seed, 5000);
        replace(&stage.origin("f"), &bytes);
        assert!(
            fs::read(mounted.path("f")).unwrap() == bytes,
            "version {seed}"
        );
    }
}

/// V6. If a file changes at the remote while a program has it open, the program continues to read the version that it
/// opened, as far as that version is cached. Reads of the rest fail with ESTALE.
#[test]
fn v6_an_open_file_stays_or_is_stale() {
    let stage = Stage::new();
    let old = content(1, LONG);
    fs::write(stage.origin("f"), &old).unwrap();
    let mounted = asking(&stage);
    let file = File::open(mounted.path("f")).unwrap();
    let mut head = [0; 1000];
    file.read_exact_at(&mut head, 0).unwrap();
    replace(&stage.origin("f"), &content(2, LONG));
    assert_eq!(fs::metadata(mounted.path("f")).unwrap().len(), LONG as u64);
    head.fill(0);
    file.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(head, old[..1000]);
    let error = file.read_exact_at(&mut head, LONG as u64 - 1000);
    assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::ESTALE));
}

/// V7. If a program opens a name whose inode, as the kernel knows it, was replaced by a newer version, the kernel
/// repeats the open on the new inode, even within the TTL. The program notices nothing.
#[test]
fn v7_a_stale_open_is_repeated() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), content(1, LONG)).unwrap();
    let mounted = with_ttl(&stage, MetadataTtl::seconds(1000));
    let file = File::open(mounted.path("f")).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).unwrap();
    let new = content(2, LONG);
    replace(&stage.origin("f"), &new);
    // The remote is asked for more of the old version, and so larder learns that it is gone. The kernel does not.
    file.read_exact_at(&mut byte, LONG as u64 - 1).unwrap_err();
    assert!(fs::read(mounted.path("f")).unwrap() == new);
}

/// V8. larder does not cache a file that a program at the remote has open for writing, or that changed there within the
/// last two seconds. Such a file is readable all the same.
#[test]
fn v8_what_is_being_written_is_not_kept() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), content(1, LEN)).unwrap();
    let mounted = asking(&stage);
    let cached = || {
        let mut value = vec![0; 64];
        let name = "user.larder.cached-bytes";
        let len = rustix::fs::getxattr(mounted.path("f"), name, value.as_mut_slice()).unwrap();
        String::from_utf8(value[..len].to_vec()).unwrap()
    };
    let writer = File::options().write(true).open(stage.origin("f")).unwrap();
    for round in 1..=2 {
        assert!(fs::read(mounted.path("f")).unwrap() == content(1, LEN));
        assert_eq!(cached(), "0");
        assert!(mounted.fetched() >= round * LEN as u64, "it was kept");
    }
    writer.write_all_at(b"changed", 0).unwrap();
    assert!(fs::read(mounted.path("f")).unwrap().starts_with(b"changed"));
    drop(writer);
    // A reader is answered before its bytes are on disk, and may join a fetch that began under the writer.
    wait_until("it is kept after the writer has gone", || {
        assert!(fs::read(mounted.path("f")).unwrap().starts_with(b"changed"));
        cached() == LEN.to_string()
    });
}

/// V9. The kernel keeps a file's pages in its page cache when the file is closed and opened again, as long as the
/// version stays the same.
#[test]
fn v9_the_kernels_pages_are_kept() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), content(1, LEN)).unwrap();
    let mounted = asking(&stage);
    let reads = || {
        let stats = mounted.cache.stats();
        stats.reads_inline + stats.reads_waited
    };
    for _ in 0..2 {
        fs::read(mounted.path("f")).unwrap();
    }
    let before = reads();
    for _ in 0..5 {
        assert!(fs::read(mounted.path("f")).unwrap() == content(1, LEN));
    }
    assert_eq!(reads(), before, "the kernel asked for bytes that it had");
    replace(&stage.origin("f"), &content(2, LEN));
    assert!(fs::read(mounted.path("f")).unwrap() == content(2, LEN));
    assert!(reads() > before);
}

/// V10. A file that a program reads has the size that larder showed for it. If the file changes between stat(2) and the
/// first read, the open shows the new version, or the read fails with ESTALE. larder never pads or cuts an answer.
#[test]
fn v10_what_was_shown_is_what_is_read() {
    let stage = Stage::new();
    let mounted = with_ttl(&stage, MetadataTtl::Indefinite);
    for (n, (old, new)) in [(300, 3), (3, 300), (LEN, 4096), (4096, LEN)]
        .into_iter()
        .enumerate()
    {
        let (origin, path) = (stage.origin(n.to_string()), mounted.path(n.to_string()));
        replace(&origin, &content(1, old));
        assert_eq!(fs::metadata(&path).unwrap().len(), old as u64);
        replace(&origin, &content(2, new));
        let file = File::open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), new as u64, "{old} to {new}");
        assert!(
            fs::read(&path).unwrap() == content(2, new),
            "{old} to {new}"
        );
    }
}
