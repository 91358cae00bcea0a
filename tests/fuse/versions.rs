//! Files that change at the origin while they are open, mapped and read (invariant 1 of ARCHITECTURE.md): an old handle
//! reads old bytes or gets ESTALE, a new one reads new bytes, and no reader ever gets a mixture.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use larder::vfs::MetadataTtl;

use super::mounted::{Mounted, Stage, Wish, content};

const LEN: usize = 3 << 20;

fn strict(stage: &Stage) -> Mounted {
    stage.mount(Wish {
        ttl: MetadataTtl::Minimal,
        ..Wish::default()
    })
}

fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, path).unwrap();
}

fn is_stale(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESTALE)
}

/// Reads all of an open file, in pieces.
fn read_all(file: &File, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut at = 0;
    while at < len {
        let end = (at + 300_000).min(len);
        match file.read_at(&mut bytes[at..end], at as u64)? {
            0 => break,
            count => at += count,
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

#[test]
fn a_replaced_file_is_old_for_the_old_handle_and_new_for_the_new() {
    let stage = Stage::new();
    let (old, new) = (content(1, LEN), content(2, LEN + 5));
    fs::write(stage.origin("f"), &old).unwrap();
    let mounted = strict(&stage);
    let path = mounted.path("f");
    let handle = File::open(&path).unwrap();
    assert!(read_all(&handle, LEN).unwrap() == old);
    let old_number = handle.metadata().unwrap().ino();

    replace(&stage.origin("f"), &new);
    let fresh = File::open(&path).unwrap();
    assert!(read_all(&fresh, LEN + 5).unwrap() == new);
    assert!(read_all(&handle, LEN).unwrap() == old, "from the cache");
    let shown = handle.metadata().unwrap();
    assert_eq!((shown.len(), shown.ino()), (LEN as u64, old_number));
    assert_ne!(fresh.metadata().unwrap().ino(), old_number);
    assert_eq!(fs::metadata(&path).unwrap().len(), (LEN + 5) as u64);
}

#[test]
fn what_was_not_cached_of_an_old_version_is_stale() {
    let stage = Stage::new();
    let big = 64 << 20;
    let (old, new) = (content(1, big), content(2, big));
    fs::write(stage.origin("f"), &old).unwrap();
    let mounted = strict(&stage);
    let handle = File::open(mounted.path("f")).unwrap();
    let mut byte = [0];
    handle.read_exact_at(&mut byte, 0).unwrap();
    assert_eq!(byte[0], old[0]);
    replace(&stage.origin("f"), &new);
    let error = handle.read_exact_at(&mut byte, 60 << 20).unwrap_err();
    assert!(is_stale(&error), "{error:?}");
    handle.read_exact_at(&mut byte, 0).unwrap();
    assert_eq!(byte[0], old[0]);
    let fresh = File::open(mounted.path("f")).unwrap();
    fresh.read_exact_at(&mut byte, 60 << 20).unwrap();
    assert_eq!(byte[0], new[60 << 20]);
}

#[test]
fn truncated_grown_and_rewritten_files_are_never_mixed() {
    let stage = Stage::new();
    let path = stage.origin("f");
    let mounted = strict(&stage);
    let mut held: Vec<(File, Vec<u8>)> = Vec::new();
    for (seed, len) in [
        (1, LEN),
        (2, LEN / 2),
        (3, LEN + 77),
        (4, LEN + 77),
        (5, 0),
        (6, 9),
    ] {
        let bytes = content(seed, len);
        // In place: the inode at the origin stays.
        fs::write(&path, &bytes).unwrap();
        let handle = File::open(mounted.path("f")).unwrap();
        assert!(
            read_all(&handle, len + 1).unwrap() == bytes,
            "version {seed}"
        );
        held.push((handle, bytes));
        for (old, bytes) in &held {
            match read_all(old, bytes.len() + 1) {
                Ok(read) => assert!(read == *bytes, "an old handle reads old bytes"),
                Err(error) => assert!(is_stale(&error), "{error:?}"),
            }
        }
    }
}

#[test]
fn the_same_size_and_a_preserved_time_is_noticed() {
    let stage = Stage::new();
    let path = stage.origin("f");
    fs::write(&path, b"one version").unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mounted = strict(&stage);
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"one version");
    fs::write(&path, b"two version").unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"two version");
}

#[test]
#[expect(
    unsafe_code,
    reason = "a mapping is what is tested, and memmap2 offers none without"
)]
fn a_mapping_keeps_its_version() {
    let stage = Stage::new();
    let (old, new) = (content(1, LEN), content(2, LEN));
    fs::write(stage.origin("f"), &old).unwrap();
    let mounted = strict(&stage);
    let handle = File::open(mounted.path("f")).unwrap();
    assert!(read_all(&handle, LEN).unwrap() == old);
    // SAFETY: the file of the mount never changes; that is what is tested.
    let mapping = unsafe { memmap2::Mmap::map(&handle).unwrap() };
    drop(handle);
    replace(&stage.origin("f"), &new);
    assert!(fs::read(mounted.path("f")).unwrap() == new);
    assert!(mapping[..] == old[..]);
}

#[test]
fn readers_beside_a_writer_see_whole_versions_only() {
    let stage = Stage::new();
    let version = |n: u8| vec![n; 400_000];
    fs::write(stage.origin("f"), version(0)).unwrap();
    let mounted = strict(&stage);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = 0u32;
                    while !stop.load(Ordering::Relaxed) {
                        let read =
                            File::open(mounted.path("f")).and_then(|file| read_all(&file, 400_001));
                        match read {
                            Ok(bytes) => {
                                assert_eq!(bytes.len(), 400_000);
                                assert!(bytes.iter().all(|b| *b == bytes[0]), "a mixture");
                                seen += 1;
                            }
                            Err(error) => assert!(is_stale(&error), "{error:?}"),
                        }
                    }
                    seen
                })
            })
            .collect();
        for n in 1..60 {
            replace(&stage.origin("f"), &version(n));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    assert!(fs::read(mounted.path("f")).unwrap() == version(59));
}

#[test]
fn removed_and_reappeared_names_are_noticed() {
    let stage = Stage::new();
    fs::create_dir(stage.origin("d")).unwrap();
    fs::write(stage.origin("d/f"), b"here").unwrap();
    let mounted = strict(&stage);
    let path = mounted.path("d/f");
    let handle = File::open(&path).unwrap();
    assert_eq!(read_all(&handle, 9).unwrap(), b"here");
    fs::remove_file(stage.origin("d/f")).unwrap();
    let gone = File::open(&path).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    assert_eq!(read_all(&handle, 9).unwrap(), b"here");
    assert!(fs::read_dir(mounted.path("d")).unwrap().next().is_none());
    fs::write(stage.origin("d/f"), b"again").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"again");
    // A directory in its place.
    fs::remove_file(stage.origin("d/f")).unwrap();
    fs::create_dir(stage.origin("d/f")).unwrap();
    assert!(fs::metadata(&path).unwrap().is_dir());
}

#[test]
fn within_the_time_to_live_nothing_is_asked() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), b"content").unwrap();
    let mounted = stage.mount(Wish {
        ttl: MetadataTtl::Indefinite,
        ..Wish::default()
    });
    // What nobody has open the kernel may forget, and then it is asked for again.
    let _held = File::open(mounted.path("f")).unwrap();
    for _ in 0..3 {
        assert_eq!(fs::read(mounted.path("f")).unwrap(), b"content");
    }
    let asked = mounted.slow.requests();
    fs::remove_file(stage.origin("f")).unwrap();
    for _ in 0..20 {
        assert_eq!(fs::read(mounted.path("f")).unwrap(), b"content");
        assert_eq!(fs::metadata(mounted.path("f")).unwrap().len(), 7);
    }
    assert_eq!(mounted.slow.requests(), asked);
}

#[test]
fn nothing_is_held_of_what_the_kernel_forgot() {
    let stage = Stage::new();
    for at in 0..200 {
        fs::write(stage.origin(format!("{at}")), b"x").unwrap();
    }
    let mounted = stage.mount(Wish::default());
    for at in 0..200 {
        fs::read(mounted.path(format!("{at}"))).unwrap();
    }
    assert!(mounted.vfs.held().0 > 200);
    // The kernel forgets the names of this mount alone: writing to drop_caches would take those of every mount.
    use rustix::mount::{MountFlags, mount_remount};
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(mounted.path(""), flags, c"").unwrap();
    let mut held = mounted.vfs.held();
    for _ in 0..50 {
        if held == (1, 0) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        held = mounted.vfs.held();
    }
    assert_eq!(held, (1, 0), "only the root is left, and no file is open");
}

/// Whatever the kernel keeps of the entries that an older handle goes on reading, a newer one sees the directory as it was
/// when it was opened.
#[test]
fn a_handle_on_an_older_listing_leaves_the_newer_ones_alone() {
    let stage = Stage::new();
    fs::create_dir(stage.origin("d")).unwrap();
    fs::write(stage.origin("d/a"), "a").unwrap();
    let mounted = strict(&stage);
    let names = |dir: fs::ReadDir| -> Vec<_> {
        let mut names: Vec<_> = dir.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    // read_dir opens at once, and reads when it is asked for the first entry.
    let older = fs::read_dir(mounted.path("d")).unwrap();
    fs::write(stage.origin("d/b"), "b").unwrap();
    let newer = fs::read_dir(mounted.path("d")).unwrap();
    assert_eq!(names(older), ["a"]);
    assert_eq!(names(newer), ["a", "b"]);
    assert_eq!(names(fs::read_dir(mounted.path("d")).unwrap()), ["a", "b"]);
}

/// What was a file when it was shown may be a directory when it is opened, or the other way round: the open finds what is
/// there.
#[test]
fn a_name_that_changes_its_kind_between_stat_and_open_is_opened_as_what_it_is() {
    let stage = Stage::new();
    fs::write(stage.origin("file"), "file").unwrap();
    fs::create_dir(stage.origin("dir")).unwrap();
    fs::write(stage.origin("dir/in"), "in").unwrap();
    let mounted = stage.mount(Wish {
        ttl: MetadataTtl::Indefinite,
        ..Wish::default()
    });
    assert!(fs::metadata(mounted.path("file")).unwrap().is_file());
    assert!(fs::metadata(mounted.path("dir")).unwrap().is_dir());
    fs::rename(stage.origin("file"), stage.origin("away")).unwrap();
    fs::rename(stage.origin("dir"), stage.origin("file")).unwrap();
    fs::rename(stage.origin("away"), stage.origin("dir")).unwrap();
    let opened = File::open(mounted.path("file")).unwrap();
    assert!(opened.metadata().unwrap().is_dir());
    assert_eq!(fs::read_dir(mounted.path("file")).unwrap().count(), 1);
    assert_eq!(
        fs::read_dir(mounted.path("dir"))
            .unwrap_err()
            .raw_os_error(),
        Some(libc::ENOTDIR)
    );
    assert_eq!(fs::read(mounted.path("dir")).unwrap(), b"file");
}
