//! Dropping what is cached, and what is known, from a live mount: bytes go from the disk, readers go on, and the kernel asks
//! anew.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use larder::engine::Evicted;
use larder::remote::RemoteError;
use larder::vfs::MetadataTtl;
use parking_lot::Mutex;
use rustix::fs::Advice;

use super::cli::rig::{SetAtEnd, wait_until};
use super::mounted::{Stage, Wish, content};
use super::unreachable::Failing;

fn ask(path: &Path, request: &str) -> String {
    let mut value = Vec::with_capacity(4096);
    let name = format!("user.larder.{request}");
    rustix::fs::getxattr(path, name, rustix::buffer::spare_capacity(&mut value)).unwrap();
    String::from_utf8(value).unwrap()
}

fn told(answer: &str) -> Evicted {
    serde_json::from_str(answer).unwrap()
}

/// The bytes that the chunk files take on disk.
fn on_disk(cache: &Path) -> u64 {
    let below = |dir: &Path| {
        fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let mut sum = 0;
    let mut left = below(&cache.join("chunks"));
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        match meta.is_dir() {
            true => left.extend(below(&path)),
            false => sum += meta.blocks() * 512,
        }
    }
    sum
}

/// Waits until everything that was read is on disk.
fn settle(cached: &Path, bytes: u64) {
    wait_until("it is cached", || {
        ask(cached, "cached-bytes") == bytes.to_string()
    });
}

fn drop_pages(file: &File) {
    rustix::fs::fadvise(file, 0, None, Advice::DontNeed).unwrap();
}

#[test]
fn an_evicted_file_gives_its_bytes_back_and_is_fetched_again() {
    let stage = Stage::new();
    let bytes = content(1, 3 << 20);
    for name in ["f", "g"] {
        fs::write(stage.origin(name), &bytes).unwrap();
    }
    let mounted = stage.mount(Wish::default());
    for name in ["f", "g"] {
        assert!(fs::read(mounted.path(name)).unwrap() == bytes);
        settle(&mounted.path(name), bytes.len() as u64);
    }
    let before = on_disk(&stage.path("cache"));
    assert!(before >= 6 << 20, "{before}");
    let open = File::open(mounted.path("f")).unwrap();
    let dropped = told(&ask(&mounted.path("f"), "evict"));
    assert!(dropped.chunks > 0 && dropped.busy == 0 && dropped.next.is_none());
    assert!(dropped.bytes >= 3 << 20, "{dropped:?}");
    assert_eq!(ask(&mounted.path("f"), "cached-bytes"), "0");
    let after = on_disk(&stage.path("cache"));
    assert!(before - after >= 3 << 20, "{before} then {after}");
    assert_eq!(mounted.cache.stats().slots_evicted, dropped.chunks);
    // The other file is where it was; this one comes from the origin, through the file that was open all along as well.
    assert_eq!(
        ask(&mounted.path("g"), "cached-bytes"),
        (3 << 20).to_string()
    );
    drop_pages(&open);
    let fetched = mounted.fetched();
    let mut read = vec![0; bytes.len()];
    open.read_exact_at(&mut read, 0).unwrap();
    assert!(read == bytes);
    assert!(mounted.fetched() - fetched >= 3 << 20);
    settle(&mounted.path("f"), bytes.len() as u64);
    // A directory, and nothing at all.
    assert_eq!(told(&ask(&mounted.path(""), "evict")), Evicted::default());
}

#[test]
fn a_flushed_cache_is_empty_after_the_next_mount_as_well() {
    let stage = Stage::new();
    let bytes = content(2, 5 << 20);
    fs::write(stage.origin("f"), &bytes).unwrap();
    let mounted = stage.mount(Wish::default());
    fs::read(mounted.path("f")).unwrap();
    settle(&mounted.path("f"), bytes.len() as u64);
    let dropped = told(&ask(&mounted.path(""), "flush"));
    assert!(
        dropped.bytes >= 5 << 20 && dropped.next.is_none(),
        "{dropped:?}"
    );
    assert!(on_disk(&stage.path("cache")) == 0);
    let stats = mounted.cache.stats();
    assert_eq!((stats.slots_used, stats.used_bytes), (0, stats.index_bytes));
    drop(mounted);
    let again = stage.mount(Wish::default());
    let stats = again.cache.stats();
    assert_eq!(
        stats.used_bytes, stats.index_bytes,
        "before a segment is loaded"
    );
    assert_eq!(ask(&again.path("f"), "cached-bytes"), "0");
    assert!(fs::read(again.path("f")).unwrap() == bytes);
    assert!(again.fetched() >= 5 << 20);
}

/// Readers that go on while everything is dropped under them, again and again: every byte is right, and no read fails.
#[test]
fn readers_beside_a_flush_read_right() {
    let stage = Stage::new();
    let files: Vec<Vec<u8>> = (0..4).map(|n| content(n, 2 << 20)).collect();
    for (n, bytes) in files.iter().enumerate() {
        fs::write(stage.origin(n.to_string()), bytes).unwrap();
    }
    let mounted = stage.mount(Wish::default());
    let (over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut dropped = Evicted::default();
    std::thread::scope(|scope| {
        for (n, bytes) in files.iter().enumerate() {
            let (mounted, over, reads) = (&mounted, &over, &reads);
            scope.spawn(move || {
                let mut at = n * 4096;
                while !over.load(Ordering::Relaxed) {
                    let file = File::open(mounted.path(n.to_string())).unwrap();
                    for _ in 0..16 {
                        let len = 70_000.min(bytes.len() - at);
                        let mut read = vec![0; len];
                        file.read_exact_at(&mut read, at as u64).unwrap();
                        assert!(read == bytes[at..at + len], "file {n} at {at}");
                        at = (at + 131_072 + 4096) % (bytes.len() - 1);
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                    drop_pages(&file);
                }
            });
        }
        let _over = SetAtEnd(&over);
        for round in 0..60 {
            let path = match round % 3 {
                0 => mounted.path(""),
                n => mounted.path((n - 1).to_string()),
            };
            let request = if round % 3 == 0 { "flush" } else { "evict" };
            dropped.add(&told(&ask(&path, request)));
            let before = reads.load(Ordering::Relaxed);
            wait_until("the readers go on", || {
                reads.load(Ordering::Relaxed) > before + 10
            });
        }
    });
    assert!(dropped.chunks > 20, "{dropped:?}");
    let stats = mounted.cache.stats();
    assert_eq!((stats.blocks_bad, stats.disk_errors), (0, 0));
}

/// The remote changes behind a time-to-live that never ends.
#[test]
fn forgotten_metadata_is_asked_for_anew() {
    let stage = Stage::new();
    fs::create_dir_all(stage.origin("d/sub")).unwrap();
    fs::write(stage.origin("d/old"), b"old").unwrap();
    fs::write(stage.origin("d/gone"), b"gone").unwrap();
    fs::write(stage.origin("top"), b"top").unwrap();
    let mounted = stage.mount(Wish {
        ttl: MetadataTtl::Indefinite,
        ..Wish::default()
    });
    let list = |path: &str| {
        let entries = fs::read_dir(mounted.path(path)).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let held = File::open(mounted.path("d/old")).unwrap();
    assert_eq!(list("d"), ["gone", "old", "sub"]);
    assert!(list("d/sub").is_empty() && !mounted.path("new").exists());
    assert!(!mounted.path("d/new").exists() && !mounted.path("d/sub/new").exists());
    fs::metadata(mounted.path("d/gone")).unwrap();
    assert_eq!(fs::read(mounted.path("top")).unwrap(), b"top");
    for name in ["new", "d/new", "d/sub/new"] {
        fs::write(stage.origin(name), b"brand new").unwrap();
    }
    for name in ["d/old", "top"] {
        fs::write(stage.origin(name), b"not as it was").unwrap();
    }
    fs::remove_file(stage.origin("d/gone")).unwrap();
    let unseen = || {
        list("d") == ["gone", "old", "sub"]
            && fs::metadata(mounted.path("top")).unwrap().len() == 3
            && !mounted.path("new").exists()
            && !mounted.path("d/sub/new").exists()
    };
    assert!(unseen(), "the time-to-live is for ever");
    let names: serde_json::Value =
        serde_json::from_str(&ask(&mounted.path(""), "flush.metadata")).unwrap();
    assert!(names["names"].as_u64().unwrap() >= 8, "{names}");
    assert_eq!(list("d"), ["new", "old", "sub"]);
    assert_eq!(list("d/sub"), ["new"]);
    assert!(!mounted.path("d/gone").exists());
    for name in ["d/old", "top"] {
        assert_eq!(
            fs::metadata(mounted.path(name)).unwrap().len(),
            13,
            "{name}"
        );
        assert_eq!(
            fs::read(mounted.path(name)).unwrap(),
            b"not as it was",
            "{name}"
        );
    }
    for name in ["new", "d/new", "d/sub/new"] {
        assert_eq!(
            fs::read(mounted.path(name)).unwrap(),
            b"brand new",
            "{name}"
        );
    }
    // What was open is open.
    assert_eq!(held.metadata().unwrap().len(), 3);
}

/// A directory that somebody is in, and one that something is mounted on, keep their place.
#[test]
fn forgetting_takes_no_directory_away() {
    let stage = Stage::new();
    fs::create_dir_all(stage.origin("d/sub")).unwrap();
    fs::write(stage.origin("d/sub/f"), b"x").unwrap();
    let mounted = stage.mount(Wish {
        ttl: MetadataTtl::Indefinite,
        ..Wish::default()
    });
    let inside = File::open(mounted.path("d/sub")).unwrap();
    fs::metadata(mounted.path("d/sub/f")).unwrap();
    let place = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&inside));
    let before = fs::read_link(&place).unwrap();
    assert_eq!(before, mounted.path("d/sub").canonicalize().unwrap());
    ask(&mounted.path(""), "flush.metadata");
    assert_eq!(fs::read_link(&place).unwrap(), before);
    fs::metadata(mounted.path("d/sub/f")).unwrap();
    assert_eq!(fs::read_link(&place).unwrap(), before);
}

/// Where the remote cannot be asked, what was known is served as ever.
#[test]
fn what_is_forgotten_serves_while_the_remote_is_away() {
    let stage = Stage::new();
    fs::create_dir(stage.origin("d")).unwrap();
    fs::write(stage.origin("d/f"), b"cached").unwrap();
    let with = Arc::new(Mutex::new(None));
    let told = Arc::clone(&with);
    let mounted = stage.mount(Wish {
        ttl: MetadataTtl::Indefinite,
        wrap: Box::new(move |inner| {
            Arc::new(Failing {
                inner,
                with: told,
                questions: Arc::default(),
            })
        }),
        ..Wish::default()
    });
    assert_eq!(fs::read_dir(mounted.path("d")).unwrap().count(), 1);
    assert_eq!(fs::read(mounted.path("d/f")).unwrap(), b"cached");
    settle(&mounted.path("d/f"), 6);
    *with.lock() = Some(RemoteError::Unreachable("a cable was pulled".into()));
    ask(&mounted.path(""), "flush.metadata");
    assert_eq!(fs::metadata(mounted.path("d/f")).unwrap().len(), 6);
    assert_eq!(fs::read(mounted.path("d/f")).unwrap(), b"cached");
    assert_eq!(fs::read_dir(mounted.path("d")).unwrap().count(), 1);
}
