//! The cache directory on the machine's own disk.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::*;
use crate::format::{Features, Geometry, Superblock};
use crate::units::SlotId;

const SMALL: CreateOptions = CreateOptions {
    capacity: 16 << 20,
    slots: None,
    files: None,
};

fn make(path: &Path) -> Result<CacheDir, CacheDirError> {
    open_or_create(path, &SMALL, &mut |_| {})
}

fn file(slot: u32, generation: u32) -> ChunkFile {
    ChunkFile {
        slot: SlotId(slot),
        generation,
    }
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Rewrites both superblocks as `change` says.
fn rewrite(path: &Path, change: impl Fn(&mut Superblock)) {
    let index = fs::File::options()
        .write(true)
        .open(path.join("index.larder"))
        .unwrap();
    let mut superblock = *CacheDir::open_unlocked(path).unwrap().superblock();
    change(&mut superblock);
    for sequence in [2, 3] {
        superblock.sequence = sequence;
        index
            .write_all_at(&superblock.encode(), superblock.offset())
            .unwrap();
    }
}

#[test]
fn a_new_cache_is_whole_private_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let mut steps = Vec::new();
    let cache = open_or_create(&path, &SMALL, &mut |p| steps.push(p)).unwrap();
    let (made, index_path) = (*cache.superblock(), path.join("index.larder"));
    let total = made.geometry.index_len();
    assert_eq!(steps.last(), Some(&Progress { done: total, total }));
    assert_eq!((made.capacity, cache.read_only()), (16 << 20, false));
    assert_ne!(made.uuid, Default::default());
    assert!(made.created_at > 1_700_000_000);
    let index = fs::metadata(&index_path).unwrap();
    assert_eq!((index.len(), index.mode() & 0o777), (total, 0o600));
    assert!(index.blocks() * 512 >= total, "the index has holes");
    for dir in [&path, path.parent().unwrap()] {
        assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700);
    }
    assert_eq!(names(&path), ["LOCK", "index.larder"]);
    drop(cache);

    // Another size at a later opening changes nothing.
    let other = CreateOptions {
        capacity: 64 << 20,
        ..SMALL
    };
    let again = open_or_create(&path, &other, &mut |_| panic!("written again")).unwrap();
    assert_eq!(*again.superblock(), made);
    drop(again);
    assert_eq!(*CacheDir::open(&path).unwrap().superblock(), made);
}

#[test]
fn one_superblock_is_enough() {
    for copy in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        let uuid = make(dir.path()).unwrap().superblock().uuid;
        let index = fs::File::options()
            .write(true)
            .open(dir.path().join("index.larder"))
            .unwrap();
        index
            .write_all_at(&[7; 512], Geometry::superblock_offset(copy))
            .unwrap();
        assert_eq!(CacheDir::open(dir.path()).unwrap().superblock().uuid, uuid);
    }
}

#[test]
fn the_backup_brings_both_superblocks_back() {
    let dir = tempfile::tempdir().unwrap();
    let uuid = make(dir.path()).unwrap().superblock().uuid;
    let index = fs::File::options()
        .write(true)
        .open(dir.path().join("index.larder"))
        .unwrap();
    for copy in 0..2 {
        let offset = Geometry::superblock_offset(copy);
        index.write_all_at(&[0; 512], offset).unwrap();
    }
    let looked = CacheDir::open_for_repair(dir.path()).unwrap();
    let mut sector = [7; 512];
    looked.read_index(0, &mut sector).unwrap();
    assert_eq!(sector, [0; 512], "the checker writes nothing at opening");
    drop(looked);
    let opened = CacheDir::open(dir.path()).unwrap();
    assert_eq!(opened.superblock().uuid, uuid);
    for copy in 0..2 {
        let offset = Geometry::superblock_offset(copy);
        opened.read_index(offset, &mut sector).unwrap();
        let found = Superblock::decode(&sector, copy).unwrap();
        assert_eq!((found.uuid, found.sequence), (uuid, [2, 3][copy as usize]));
    }
}

#[test]
fn an_unfinished_index_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("index.larder.new"), b"half").unwrap();
    drop(make(dir.path()).unwrap());
    assert_eq!(names(dir.path()), ["LOCK", "index.larder"]);
    fs::write(dir.path().join("index.larder.new"), b"half").unwrap();
    drop(CacheDir::open(dir.path()).unwrap());
    assert_eq!(names(dir.path()), ["LOCK", "index.larder"]);
}

#[test]
fn strangers_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    fs::write(path.join("thesis.tex"), b"years").unwrap();
    let error = make(path).unwrap_err();
    assert!(
        matches!(&error, CacheDirError::NotACache { found, .. } if found == "thesis.tex"),
        "{error}"
    );
    assert!(matches!(
        CacheDir::open(path),
        Err(CacheDirError::NoCache(_))
    ));
    assert_eq!(names(path), ["thesis.tex"]);
    assert!(matches!(
        make(&path.join("thesis.tex")),
        Err(CacheDirError::NotADirectory(_))
    ));
    assert!(matches!(
        CacheDir::open(&path.join("none")),
        Err(CacheDirError::Missing(_))
    ));
    assert!(!path.join("none").exists());

    let foreign = path.join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("index.larder"), vec![b'x'; 10_000]).unwrap();
    assert!(matches!(
        make(&foreign),
        Err(CacheDirError::ForeignIndex(_))
    ));
    fs::write(foreign.join("index.larder"), b"short").unwrap();
    assert!(matches!(
        make(&foreign),
        Err(CacheDirError::ForeignIndex(_))
    ));
    assert_eq!(names(&foreign), ["index.larder"]);

    let disk = path.join("disk");
    fs::create_dir_all(disk.join("lost+found")).unwrap();
    drop(make(&disk).unwrap());
    assert_eq!(fs::metadata(&disk).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn impossible_shapes_make_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new");
    let tiny = CreateOptions {
        capacity: 1 << 20,
        ..SMALL
    };
    let error = open_or_create(&path, &tiny, &mut |_| {}).unwrap_err();
    assert!(matches!(error, CacheDirError::Geometry(_)), "{error}");
    let greedy = CreateOptions {
        slots: Some(1 << 20),
        ..SMALL
    };
    let error = open_or_create(&path, &greedy, &mut |_| {}).unwrap_err();
    assert!(
        matches!(error, CacheDirError::IndexTooLarge { .. }),
        "{error}"
    );
    // The largest index has 1.1 TiB; a disk that could take it is left alone.
    if rustix::fs::statvfs(dir.path()).is_ok_and(|v| v.f_bavail * v.f_frsize > 1 << 40) {
        return;
    }
    let vast = CreateOptions {
        capacity: 1 << 60,
        slots: Some(1 << 30),
        files: Some(1 << 30),
    };
    let error = open_or_create(&path, &vast, &mut |_| {}).unwrap_err();
    assert!(matches!(error, CacheDirError::NoSpace { .. }), "{error}");
    assert_eq!(
        names(&path),
        ["LOCK"],
        "an index that did not fit leaves nothing behind"
    );
}

#[test]
fn versions_features_owners_and_lengths_are_judged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    drop(make(path).unwrap());
    let index_path = path.join("index.larder");
    let whole = fs::read(&index_path).unwrap();

    rewrite(path, |s| {
        s.features = Features {
            incompat: 4,
            ..s.features
        }
    });
    assert!(matches!(
        make(path),
        Err(CacheDirError::Features { bits: 4, .. })
    ));
    fs::write(&index_path, &whole).unwrap();

    rewrite(path, |s| {
        s.features = Features {
            ro_compat: 1,
            compat: 8,
            ..s.features
        }
    });
    let frozen = make(path).unwrap();
    assert!(frozen.read_only());
    let refused = |result: io::Result<()>| {
        assert_eq!(
            result.unwrap_err().raw_os_error(),
            Some(rustix::io::Errno::ROFS.raw_os_error())
        );
    };
    refused(frozen.write_index(0, &[0; 512]));
    refused(frozen.write_chunk(file(0, 0), 0, b"x").map(drop));
    refused(frozen.remove_chunk(SlotId(0)));
    drop(frozen);
    fs::write(&index_path, &whole).unwrap();

    // The major version lies behind magic, checksum and text.
    let mut newer = whole.clone();
    for copy in [0, 4096] {
        newer[copy + 16] = 9;
    }
    fs::write(&index_path, &newer).unwrap();
    assert!(matches!(
        make(path),
        Err(CacheDirError::Version { major: 9, .. })
    ));

    fs::write(&index_path, &whole[..whole.len() - 512]).unwrap();
    let error = make(path).unwrap_err();
    assert!(
        matches!(error, CacheDirError::Length { .. }) && error.is_damage(),
        "{error}"
    );
    fs::write(&index_path, vec![0; whole.len()]).unwrap();
    let error = make(path).unwrap_err();
    assert!(
        matches!(error, CacheDirError::Superblock { .. }) && error.is_damage(),
        "{error}"
    );
    fs::write(&index_path, &whole).unwrap();

    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(12_345), None).unwrap();
        let error = make(path).unwrap_err();
        assert!(
            matches!(error, CacheDirError::Owner { owner: 12_345, .. }),
            "{error}"
        );
    } else {
        rewrite(path, |s| s.owner_uid += 1);
        assert!(matches!(make(path), Err(CacheDirError::Owner { .. })));
    }
}

#[test]
fn the_lock_names_its_holder_and_dies_with_it() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(read_holder(dir.path()).unwrap(), None);
    let cache = make(dir.path()).unwrap();
    cache.set_mounts(&[PathBuf::from("/mnt/x")]).unwrap();
    let holder = read_holder(dir.path()).unwrap().unwrap();
    assert_eq!(
        (holder.pid, &holder.mounts[..]),
        (std::process::id(), &[PathBuf::from("/mnt/x")][..])
    );
    assert!(holder.started > 1_700_000_000 && holder.boot_id.len() == 32);
    for refused in [make(dir.path()), CacheDir::open(dir.path())] {
        let error = refused.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, CacheDirError::Locked { .. }), "{text}");
        assert!(
            text.contains(&format!(
                "process {}, which serves /mnt/x",
                std::process::id()
            )),
            "{text}"
        );
    }
    let looker = CacheDir::open_unlocked(dir.path()).unwrap();
    assert!(looker.read_only() && looker.set_mounts(&[]).is_err());
    drop(cache);
    assert_eq!(read_holder(dir.path()).unwrap(), None);
    make(dir.path()).unwrap();
}

#[test]
fn chunk_files_hold_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let cache = make(dir.path()).unwrap();
    let mut buf = [1; 8];
    assert_eq!(cache.read_chunk(file(3, 1), 0, &mut buf).unwrap(), 0);
    assert_eq!(
        cache.read_chunk_now(file(3, 1), 0, &mut buf).unwrap(),
        NowRead::Bytes(0)
    );
    assert!(!dir.path().join("chunks").exists(), "a read makes nothing");
    let allocated = cache.write_chunk(file(3, 1), 4096, b"abcdefgh").unwrap();
    assert!((512..=65536).contains(&allocated), "{allocated}");
    let path = dir.path().join("chunks/00/0000/00000003");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777,
        0o700
    );
    assert_eq!(cache.read_chunk(file(3, 1), 4098, &mut buf).unwrap(), 6);
    assert_eq!(&buf[..6], b"cdefgh");
    match cache.read_chunk_now(file(3, 1), 4096, &mut buf).unwrap() {
        NowRead::Bytes(len) => assert_eq!((len, &buf), (8, b"abcdefgh")),
        NowRead::Unsupported => {}
        NowRead::Refused => panic!("just written, and not in memory"),
    }
    cache.sync_all().unwrap();
    drop(cache);

    // Inline reads work at once after a restart.
    let cache = CacheDir::open(dir.path()).unwrap();
    assert_ne!(
        cache.read_chunk_now(file(3, 1), 4096, &mut buf).unwrap(),
        NowRead::Bytes(0)
    );
    cache.remove_chunk(SlotId(3)).unwrap();
    cache.remove_chunk(SlotId(3)).unwrap();
    assert!(!path.exists());
    assert_eq!(
        cache.read_chunk(file(3, 1), 0, &mut buf).unwrap(),
        0,
        "the descriptor went with the file"
    );
}

#[test]
fn a_tenancy_never_reads_through_the_descriptor_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let cache = make(dir.path()).unwrap();
    cache.write_chunk(file(5, 1), 0, b"old").unwrap();
    // The file is replaced behind the cache's back, as after a retirement whose late reader kept its descriptor.
    let path = dir.path().join("chunks/00/0000/00000005");
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"new").unwrap();
    let mut buf = [0; 3];
    cache.read_chunk(file(5, 1), 0, &mut buf).unwrap();
    assert_eq!(&buf, b"old");
    cache.read_chunk(file(5, 2), 0, &mut buf).unwrap();
    assert_eq!(&buf, b"new");
}

#[test]
fn the_index_is_read_and_written_within_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let cache = make(dir.path()).unwrap();
    let len = cache.index_len().unwrap();
    cache.write_index(len - 512, &[9; 512]).unwrap();
    cache.sync_index().unwrap();
    let mut sector = [0; 512];
    cache.read_index(len - 512, &mut sector).unwrap();
    assert_eq!(sector, [9; 512]);
    assert!(cache.write_index(len - 511, &[9; 512]).is_err());
    assert!(cache.write_index(u64::MAX, &[9; 512]).is_err());
    assert!(cache.read_index(len, &mut sector).is_err());
    assert_eq!(cache.index_len().unwrap(), len);
    let space = cache.space().unwrap();
    assert!(space.total_bytes >= space.free_bytes && space.free_bytes > 0);
}

#[test]
fn stray_files_are_found_and_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let cache = make(dir.path()).unwrap();
    cache.write_chunk(file(3, 1), 0, b"four").unwrap();
    for stray in ["chunks/00/0000/x", "chunks/y", "chunks/00/0000/ffffffff"] {
        fs::write(dir.path().join(stray), b"!").unwrap();
    }
    fs::create_dir_all(dir.path().join("chunks/00/0000/x2/deep")).unwrap();
    std::os::unix::fs::symlink("/etc", dir.path().join("chunks/00/0000/00000004")).unwrap();
    let mut found = Vec::new();
    cache.list_files(&mut |file| found.push(file)).unwrap();
    let (slots, strays): (Vec<_>, Vec<_>) = found.into_iter().partition(|f| f.slot.is_some());
    assert_eq!(
        slots.iter().map(|f| (f.slot, f.len)).collect::<Vec<_>>(),
        [(Some(SlotId(3)), 4)]
    );
    assert_eq!(strays.len(), 5);
    for stray in &strays {
        cache.quarantine(&stray.path).unwrap();
    }
    fs::write(dir.path().join("chunks/y"), b"again").unwrap();
    cache.quarantine(Path::new("chunks/y")).unwrap();
    assert_eq!(
        names(&dir.path().join("quarantine")),
        ["00000004", "ffffffff", "x", "x2", "y", "y.1"]
    );
    let mut left = 0;
    cache.list_files(&mut |_| left += 1).unwrap();
    assert_eq!(left, 1);
}

/// A read that must not wait gives bytes only if it has not had to bring them in.
#[test]
fn what_a_quick_disk_delivers_counts_as_refused() {
    use super::dir::blocks_read;
    let dir = tempfile::tempdir().unwrap();
    let cache = make(&dir.path().join("c")).unwrap();
    let data = vec![7; 1 << 20];
    cache.write_chunk(file(0, 1), 0, &data).unwrap();
    cache.sync_all().unwrap();
    let path = dir
        .path()
        .join("c")
        .join(dir::chunk_path(&cache.superblock().geometry, SlotId(0)));
    let evict = fs::File::open(path).unwrap();
    let mut buf = vec![0; 1 << 20];
    for _ in 0..300 {
        rustix::fs::fadvise(&evict, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let before = blocks_read();
        let answer = cache
            .read_chunk_now(file(0, 1), 0, &mut buf[..65536])
            .unwrap();
        let brought_in = blocks_read() != before;
        assert!(
            !brought_in || answer == NowRead::Refused,
            "{answer:?} was not in memory"
        );
        assert_eq!(cache.read_chunk(file(0, 1), 0, &mut buf).unwrap(), 1 << 20);
        assert!(buf == data);
    }
    // What is in memory now is delivered, where the file system can read without waiting at all.
    let answer = cache
        .read_chunk_now(file(0, 1), 0, &mut buf[..65536])
        .unwrap();
    assert!(
        matches!(answer, NowRead::Bytes(65536) | NowRead::Unsupported),
        "{answer:?}"
    );
}
