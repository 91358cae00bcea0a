//! The checker on a real directory: the index's length, its superblocks, what is not the cache's, bytes of users, and what
//! is kept before it goes.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use larder::check::{
    CheckOptions, Clause, Disk, Means, RecreateError, Report, Salvage, check, exit, recreate,
    repair, salvage,
};
use larder::format::{Geometry, Sector, SlotFlags, SlotKind, SlotRecord, Superblock, reseal};
use larder::storage::{CacheDir, CacheDirError, ChunkFile, CreateOptions, Storage, open_or_create};
use larder::units::{ChunkSize, SlotId, Stamp, Tag, Uuid};
use tempfile::TempDir;

const OPTIONS: CreateOptions = CreateOptions {
    capacity: 32 << 20,
    slots: None,
    files: None,
};

/// A new cache in which one slot has a file, and so has a free one.
fn made() -> (TempDir, Superblock) {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_or_create(dir.path(), &OPTIONS, &mut |_| {}).unwrap();
    let superblock = *cache.superblock();
    let free = SlotRecord::free(Stamp::default(), 1, 1, SlotFlags::default());
    let data = SlotRecord {
        kind: SlotKind::Data,
        tag: Tag([5; 16]),
        chunk: ChunkSize::MIN,
        valid_len: 9,
        ..free.clone()
    };
    for (slot, record) in [(SlotId(1), free), (SlotId(2), data)] {
        let generation = 1;
        let file = ChunkFile { slot, generation };
        cache.write_chunk(file, 0, b"some data").unwrap();
        let offset = superblock.geometry.slot_offset(slot);
        let sector = record.encode(superblock.uuid, offset);
        cache.write_index(offset, &sector).unwrap();
    }
    (dir, superblock)
}

fn index(dir: &TempDir) -> fs::File {
    let path = dir.path().join("index.larder");
    fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

fn look(disk: Disk<'_>) -> Report {
    check(disk, CheckOptions::DEEP, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn clauses(report: &Report) -> Vec<Clause> {
    report.findings.iter().map(|f| f.clause).collect()
}

/// Finds these without the lock, mends them with it, finds nothing more, and the cache opens.
fn mends(dir: &TempDir, expected: &[Clause], what: &str) -> Report {
    let cache = CacheDir::open_for_check(dir.path()).unwrap();
    let looked = look(Disk::of(&cache));
    assert_eq!(clauses(&looked), expected, "{what}: {looked}");
    assert_eq!(looked.exit_code(), exit::UNCORRECTED, "{what}");
    drop(cache);
    let cache = CacheDir::open_for_repair(dir.path()).unwrap();
    let mut report = look(Disk::of(&cache));
    assert_eq!(clauses(&report), expected, "{what}: {report}");
    let all = |_: &_| true;
    repair(Disk::of(&cache), &mut report, Means::default(), all).unwrap();
    assert_eq!(report.exit_code(), exit::CORRECTED, "{what}: {report}");
    let again = look(Disk::of(&cache));
    assert!(again.is_clean(), "{what}: {again}{:?}", again.findings);
    drop(cache);
    let opened = CacheDir::open(dir.path()).unwrap();
    assert!(look(Disk::of(&opened)).is_clean(), "{what}");
    report
}

#[test]
fn two_bad_superblocks_cost_nothing() {
    for copies in [[0, 1], [0, 2], [1, 2]] {
        let (dir, before) = made();
        let places = [0, 4096, before.geometry.backup_offset()];
        let damage = || {
            for copy in copies {
                index(&dir).write_all_at(&[7; 512], places[copy]).unwrap();
            }
        };
        damage();
        mends(&dir, &[Clause::Super; 2], "two superblocks");
        damage();
        let unlocked = CacheDir::open_unlocked(dir.path()).unwrap();
        assert_eq!(unlocked.superblock().uuid, before.uuid, "{copies:?}");
        let opened = CacheDir::open(dir.path()).unwrap();
        assert_eq!(opened.superblock().uuid, before.uuid, "{copies:?}");
        let mut sector = [0; 512];
        opened
            .read_index(Geometry::superblock_offset(0), &mut sector)
            .unwrap();
        let first = Superblock::decode(&sector, 0).is_ok();
        // The daemon mends only what it cannot do without.
        assert_eq!(first, copies != [0, 2], "{copies:?}");
    }
}

#[test]
fn an_index_of_a_wrong_length_is_put_right() {
    for wrong in [-1, -512, -4096, -8192, -100_000, 1, 512, 4096, 1 << 20] {
        let (dir, before) = made();
        let right = before.geometry.index_len();
        let len = right.checked_add_signed(wrong).unwrap();
        index(&dir).set_len(len).unwrap();
        let refused = CacheDir::open(dir.path()).unwrap_err();
        assert!(refused.to_string().contains("cachefsck -y"), "{refused}");
        let mut expected = vec![Clause::IndexLength];
        // The backup has a sector of a page; the rest of the page is zeros.
        if wrong <= -4096 {
            expected.push(Clause::Super);
        }
        mends(&dir, &expected, &format!("{wrong}"));
        assert_eq!(index(&dir).metadata().unwrap().len(), right);
    }
}

#[test]
fn slots_that_were_cut_off_are_lost_and_their_files_go() {
    let (dir, before) = made();
    let offset = before.geometry.slot_offset(SlotId(2));
    index(&dir).set_len(offset).unwrap();
    let expected = [Clause::IndexLength, Clause::Super, Clause::FileOrphan];
    let report = mends(&dir, &expected, "the second slot");
    assert_eq!(report.findings[2].bytes, 9);
    let chunks = dir.path().join("chunks/00/0000");
    assert!(chunks.join("00000001").exists() && !chunks.join("00000002").exists());
}

fn destroy(dir: &TempDir, superblock: &Superblock) {
    for offset in [0, 4096, superblock.geometry.backup_offset()] {
        index(dir).write_all_at(&[0x55; 512], offset).unwrap();
    }
}

fn anew(dir: &TempDir, means: Means) -> Result<(CacheDir, Report), RecreateError> {
    recreate(dir.path(), means, &mut |_| ControlFlow::Continue(()))
}

#[test]
fn without_any_superblock_a_cache_begins_anew() {
    let (dir, before) = made();
    let refused = anew(&dir, Means::default()).unwrap_err();
    assert!(
        matches!(refused, RecreateError::Dir(CacheDirError::Sound(_))),
        "{refused}"
    );
    destroy(&dir, &before);
    let old = fs::read(dir.path().join("index.larder")).unwrap();
    fs::write(dir.path().join("chunks/00/0000/mine"), b"mine").unwrap();
    for error in [
        CacheDir::open(dir.path()).unwrap_err(),
        CacheDir::open_for_check(dir.path()).unwrap_err(),
        CacheDir::open_for_repair(dir.path()).unwrap_err(),
    ] {
        assert!(matches!(error, CacheDirError::Superblock { .. }), "{error}");
        assert!(error.to_string().contains("cachefsck -y"), "{error}");
    }
    let (cache, report) = anew(&dir, Means::default()).unwrap();
    assert_eq!(clauses(&report), [Clause::Super, Clause::FileStray]);
    assert_eq!(report.exit_code(), exit::CORRECTED, "{report}");
    assert_eq!(report.findings[0].bytes, 18);
    let after = *cache.superblock();
    assert_ne!(after.uuid, before.uuid);
    assert_eq!(after.geometry, before.geometry);
    assert!(look(Disk::of(&cache)).is_clean());
    drop(cache);
    let quarantine = dir.path().join("quarantine");
    assert!(fs::read(quarantine.join("index.larder")).unwrap() == old);
    assert_eq!(fs::read(quarantine.join("mine")).unwrap(), b"mine");
    drop(CacheDir::open(dir.path()).unwrap());
    // A second time sets the second index beside the first.
    destroy(&dir, &after);
    drop(anew(&dir, Means::default()).unwrap());
    assert!(quarantine.join("index.larder.1").exists());
}

/// Nobody here knows what of it may be changed, however little of it is left.
#[test]
fn another_major_version_is_never_touched() {
    let foreign = |superblock: &Superblock, offset: u64| {
        let mut sector = match offset < 8192 {
            true => superblock.encode(),
            false => superblock.encode_backup(),
        };
        sector[16] = 2;
        reseal(&mut sector, Geometry::seed(Uuid::default(), offset));
        sector
    };
    let blank = [0; 512];
    for left in [0b111, 0b100, 0b001, 0b010] {
        let (dir, superblock) = made();
        let places = [0, 4096, superblock.geometry.backup_offset()];
        for (n, offset) in places.into_iter().enumerate() {
            let copy = Superblock {
                sequence: n as u64 & 1,
                ..superblock
            };
            // All of them, or one alone: the others are blank, or still of this version.
            let sector = match left >> n & 1 {
                1 => foreign(&copy, offset),
                _ => blank,
            };
            index(&dir).write_all_at(&sector, offset).unwrap();
        }
        stays_as_it_is(&dir, &format!("blank but for {left:#b}"));
        let (dir, superblock) = made();
        for (n, offset) in places.into_iter().enumerate() {
            let copy = Superblock {
                sequence: n as u64 & 1,
                ..superblock
            };
            if left >> n & 1 == 1 {
                let sector = foreign(&copy, offset);
                index(&dir).write_all_at(&sector, offset).unwrap();
            }
        }
        stays_as_it_is(&dir, &format!("ours but for {left:#b}"));
    }
}

fn stays_as_it_is(dir: &TempDir, what: &str) {
    let before = fs::read(dir.path().join("index.larder")).unwrap();
    let refused = [
        CacheDir::open(dir.path()).unwrap_err(),
        CacheDir::open_for_check(dir.path()).unwrap_err(),
        CacheDir::open_for_repair(dir.path()).unwrap_err(),
    ];
    for error in refused {
        let foreign = matches!(error, CacheDirError::Version { major: 2, .. });
        assert!(foreign, "{what}: {error}");
    }
    let discard = Means {
        discard_dirty: true,
    };
    let error = anew(dir, discard).unwrap_err();
    let foreign = matches!(
        error,
        RecreateError::Dir(CacheDirError::Version { major: 2, .. })
    );
    assert!(foreign, "{what}: {error}");
    let after = fs::read(dir.path().join("index.larder")).unwrap();
    assert!(after == before, "{what}");
    for slot in 1..=2 {
        let chunk = dir.path().join(format!("chunks/00/0000/{slot:08x}"));
        assert_eq!(fs::read(chunk).unwrap(), b"some data", "{what}");
    }
}

#[test]
fn an_index_that_was_emptied_begins_anew() {
    let (dir, _) = made();
    index(&dir).set_len(0).unwrap();
    let (cache, report) = anew(&dir, Means::default()).unwrap();
    assert_eq!(cache.superblock().capacity, Geometry::CAPACITY_MIN);
    assert_eq!(report.exit_code(), exit::CORRECTED);
    assert!(look(Disk::of(&cache)).is_clean());
}

#[test]
fn bytes_of_users_stay_unless_they_are_named() {
    let (dir, superblock) = made();
    let dirty = dir.path().join("dirty");
    fs::create_dir_all(dirty.join("a/b")).unwrap();
    let cache = CacheDir::open_for_repair(dir.path()).unwrap();
    assert!(look(Disk::of(&cache)).is_clean(), "nothing lies in it");
    for name in ["journal", "a/b/7"] {
        fs::write(dirty.join(name), b"precious").unwrap();
    }
    let mut report = look(Disk::of(&cache));
    assert_eq!(clauses(&report), [Clause::Dirty]);
    assert_eq!(report.findings[0].bytes, 16);
    let all = |_: &_| true;
    repair(Disk::of(&cache), &mut report, Means::default(), all).unwrap();
    assert_eq!(report.exit_code(), exit::UNCORRECTED);
    assert!(dirty.join("journal").exists());
    let mut kept = Kept::default();
    salvage(Disk::of(&cache), &report, true, &mut kept, all).unwrap();
    let means = Means {
        discard_dirty: true,
    };
    repair(Disk::of(&cache), &mut report, means, all).unwrap();
    assert_eq!(report.exit_code(), exit::CORRECTED);
    kept.files.sort();
    assert_eq!(
        kept.files,
        ["dirty/a/b/7", "dirty/journal"].map(PathBuf::from)
    );
    assert!(!dirty.exists() && look(Disk::of(&cache)).is_clean());
    drop(cache);

    fs::create_dir(&dirty).unwrap();
    fs::write(dirty.join("journal"), b"precious").unwrap();
    destroy(&dir, &superblock);
    let refused = anew(&dir, Means::default()).unwrap_err();
    let sentence = refused.to_string();
    assert!(sentence.contains("--discard-dirty"), "{sentence}");
    assert!(dir.path().join("chunks/00/0000/00000001").exists());
    let means = Means {
        discard_dirty: true,
    };
    assert!(anew(&dir, means).is_ok());
    assert!(!dirty.exists());
}

#[test]
fn whatever_is_not_the_caches_is_put_aside_and_nothing_is_lost() {
    let (dir, _) = made();
    let top = dir.path();
    let odd = OsStr::from_bytes(b"\xff\n'");
    let long = "n".repeat(255);
    for file in [
        Path::new("thesis.tex"),
        Path::new("chunks/00/0000/00000001~"),
        Path::new("chunks/thesis.tex"),
        Path::new(odd),
        Path::new(&long),
    ] {
        fs::write(top.join(file), b"mine").unwrap();
    }
    fs::create_dir_all(top.join("chunks/00/0000/00000003/deep")).unwrap();
    fs::write(top.join("chunks/00/0000/00000003/deep/x"), b"mine").unwrap();
    fs::create_dir_all(top.join("chunks/07/0000")).unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    fs::write(top.join("chunks").join(&long), b"mine too").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", top.join("link")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap());
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        top.join("fifo"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    for own in ["larder.log", "larder.log.1", ".hidden", "CACHEDIR.TAG"] {
        fs::write(top.join(own), b"").unwrap();
    }
    fs::create_dir(top.join("lost+found")).unwrap();
    let report = mends(&dir, &[Clause::FileStray; 12], "strays");
    assert!(report.findings.iter().any(|f| f.bytes == 4));
    let quarantine = top.join("quarantine");
    let mine = |name: &OsStr| fs::read(quarantine.join(name)).unwrap();
    assert_eq!(mine(odd), b"mine");
    let names: Vec<_> = fs::read_dir(&quarantine).unwrap().collect();
    assert_eq!(names.len(), 12);
    let two = [mine(OsStr::new(&long)), mine(OsStr::new("long-name.2"))];
    assert!(two.contains(&b"mine".to_vec()) && two.contains(&b"mine too".to_vec()));
    assert_eq!(mine(OsStr::new("00000003/deep/x")), b"mine");
    let link = fs::read_link(quarantine.join("link")).unwrap();
    assert_eq!(link, Path::new("/etc/passwd"));
    assert!(top.join("larder.log.1").exists() && top.join("lost+found").exists());
}

/// Notes what it is shown, and may refuse.
#[derive(Default)]
struct Kept {
    refuses: bool,
    sectors: Vec<(u64, Sector)>,
    files: Vec<PathBuf>,
}

impl Kept {
    fn answer(&self) -> io::Result<()> {
        match self.refuses {
            true => Err(io::Error::other("the salvage is full")),
            false => Ok(()),
        }
    }
}

impl Salvage for Kept {
    fn sector(&mut self, offset: u64, bytes: &Sector) -> io::Result<()> {
        self.sectors.push((offset, *bytes));
        self.answer()
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        self.files.push(path.into());
        self.answer()
    }
}

#[test]
fn what_is_about_to_go_is_kept_first() {
    let (dir, superblock) = made();
    let geometry = superblock.geometry;
    let bad = [0x77; 512];
    let (slot, blob) = (geometry.slot_offset(SlotId(2)), geometry.blob_offset(3));
    for offset in [slot, blob, 4096] {
        index(&dir).write_all_at(&bad, offset).unwrap();
    }
    let file = PathBuf::from("chunks/00/0000/00000002");
    let cache = CacheDir::open_for_repair(dir.path()).unwrap();
    let mut report = look(Disk::of(&cache));
    let expected = [Clause::Super, Clause::SlotSector, Clause::BlobSector];
    assert_eq!(clauses(&report), expected, "{report}");
    assert_eq!(report.findings[1].bytes, 9);
    let mut full = Kept {
        refuses: true,
        ..Kept::default()
    };
    let refused = salvage(Disk::of(&cache), &report, false, &mut full, |_| true);
    assert_eq!(refused.unwrap_err().to_string(), "the salvage is full");
    let mut kept = Kept::default();
    salvage(Disk::of(&cache), &report, false, &mut kept, |_| true).unwrap();
    assert_eq!(kept.files, std::slice::from_ref(&file));
    assert_eq!(kept.sectors, [(4096, bad), (slot, bad), (blob, bad)]);
    assert!(dir.path().join(&file).exists(), "nothing was changed yet");
    repair(Disk::of(&cache), &mut report, Means::default(), |_| true).unwrap();
    assert_eq!(report.open(), 0, "{report}");
    assert!(!dir.path().join(&file).exists());
}
