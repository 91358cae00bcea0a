//! Places that are refused, or only looked at: each time the code, a sentence with the way out, and nothing touched.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, chown};
use std::path::{Path, PathBuf};

use larder::format::{FORMAT_MINOR, Features, Geometry, Superblock, reseal};
use larder::storage::{CacheDir, CreateOptions, open_or_create};
use larder::units::Uuid;

use super::rig::{Cache, cachefsck, told, tree};
use crate::cli::rig::{Rig, larder, refused, run};

/// A cache whose index is a hole but for its superblocks. Returns the path of the index.
pub(super) fn sparse_cache(path: &Path, options: &CreateOptions) -> PathBuf {
    fs::create_dir(path).unwrap();
    let path = path.canonicalize().unwrap();
    let geometry = Geometry::for_capacity(options.capacity, options.slots, options.files).unwrap();
    let index = path.join("index.larder");
    let file = File::create(&index).unwrap();
    file.set_len(geometry.index_len()).unwrap();
    write_superblocks(&file, geometry, Features::default());
    index
}

fn write_superblocks(index: &File, geometry: Geometry, features: Features) {
    for sequence in [0, 1] {
        let superblock = Superblock {
            minor: FORMAT_MINOR,
            uuid: Uuid([7; 16]),
            sequence,
            features,
            geometry,
            owner_uid: rustix::process::geteuid().as_raw(),
            capacity: 16 << 20,
            created_at: 0,
        };
        index
            .write_all_at(&superblock.encode(), superblock.offset())
            .unwrap();
        let backup = geometry.backup_offset();
        index
            .write_all_at(&superblock.encode_backup(), backup)
            .unwrap();
    }
}

#[test]
fn what_is_no_cache_is_8_and_not_touched() {
    let cache = Cache::new();
    let refuse = |path: &Path, words: &[&str]| {
        for mode in ["-n", "-p", "-y"] {
            let name = path.to_str().unwrap();
            let words: Vec<&str> = words.iter().copied().chain([name]).collect();
            refused(cachefsck().arg(mode).arg(path), 8, &words);
        }
    };
    refuse(&cache.beside("absent"), &["does not exist", "--cache-dir"]);
    refuse(
        &cache.path().join("index.larder"),
        &["not a directory", "contains index.larder"],
    );
    let other = cache.beside("other");
    fs::create_dir(&other).unwrap();
    refuse(&other, &["does not contain a cache", "index.larder"]);
    assert!(tree(&other).is_empty(), "something was made in it");
    fs::write(other.join("thesis.tex"), "precious").unwrap();
    refuse(&other, &["does not contain a cache", "nothing was changed"]);
    fs::write(
        other.join("index.larder"),
        "a foreign file of the index's name",
    )
    .unwrap();
    let before = tree(&other);
    refuse(&other, &["not a larder index", "nothing was changed"]);
    assert!(tree(&other) == before);
}

#[test]
fn a_locked_cache_is_8_and_names_the_holder_and_n_looks_at_it() {
    let rig = Rig::new();
    rig.mount();
    let (pid, mnt) = (rig.daemon().as_raw_nonzero().to_string(), rig.mnt());
    for mode in ["-p", "-y"] {
        let words = [&pid, mnt.to_str().unwrap(), "unmount it first", "-n"];
        refused(cachefsck().arg(mode).arg(rig.cache()), 8, &words);
    }
    let (code, text, said) = told(cachefsck().arg("-n").arg(rig.cache()));
    assert_eq!(code, 0, "{text}{said}");
    assert!(
        said.contains(&pid) && said.contains("checking without repairs"),
        "{said}"
    );
    rig.umount();
    let (code, text, said) = told(cachefsck().arg("-p").arg(rig.cache()));
    assert_eq!(code, 0, "{text}{said}");
}

#[test]
fn a_read_only_disk_is_looked_at_and_left() {
    let cache = Cache::new();
    for mode in ["-n", "-p", "-y"] {
        let (code, text, said) = cache.fsck_read_only(&[mode, "--deep"]);
        assert_eq!(code, 0, "{mode}: {text}{said}");
        assert!(text.contains("clean"), "{text}");
    }
    cache.damage();
    let before = tree(&cache.path());
    let (code, text, said) = cache.fsck_read_only(&["-n"]);
    assert_eq!(code, 4, "{text}{said}");
    for mode in ["-p", "-y"] {
        let salvage = cache.beside("salvage");
        let salvage = salvage.to_str().unwrap();
        let (code, text, said) = cache.fsck_read_only(&[mode, "--salvage", salvage]);
        assert_eq!(code, 4, "{mode}: {text}{said}");
        for word in ["F-SLOT-SECTOR", "read-only", "remount,rw"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
        assert!(!Path::new(salvage).exists(), "nothing was to be salvaged");
    }
    assert!(tree(&cache.path()) == before);
    // The lock is heeded there as well.
    let held = CacheDir::open(&cache.path()).unwrap();
    let (code, _, said) = cache.fsck_read_only(&["-p"]);
    let holder = format!("process {}", std::process::id());
    assert_eq!(code, 8, "{said}");
    assert!(said.contains(&holder) && said.contains("-n"), "{said}");
    drop(held);
    fs::remove_file(cache.path().join("LOCK")).unwrap();
    let (code, text, said) = cache.fsck_read_only(&["-p"]);
    assert_eq!(code, 4, "without a lock file: {text}{said}");
}

#[test]
fn another_users_cache_is_8_and_root_may_look() {
    let cache = Cache::new();
    let me = rustix::process::geteuid();
    if !me.is_root() {
        // An ordinary user cannot give a directory away; the root directory is somebody else's already.
        refused(
            cachefsck().args(["-p", "/"]),
            8,
            &["belongs to user 0", "as that user"],
        );
        return;
    }
    chown(cache.path(), Some(12345), None).unwrap();
    let before = cache.index();
    for mode in ["-p", "-y"] {
        let words = [
            "belongs to user 12345",
            "you are user 0",
            "as that user",
            "-n",
        ];
        refused(cachefsck().arg(mode).arg(cache.path()), 8, &words);
    }
    assert_eq!(cache.fsck(&["-n"]).0, 0, "root may look at anything");
    assert!(cache.index() == before, "it was touched");
}

#[test]
fn a_newer_format_is_8_and_not_touched() {
    let cache = Cache::new();
    let index = cache.path().join("index.larder");
    let backup = CacheDir::open(&cache.path())
        .unwrap()
        .superblock()
        .geometry
        .backup_offset();
    let file = File::options().write(true).open(&index).unwrap();
    for copy in [0, 4096, backup] {
        // The major version lies behind magic, checksum and text.
        file.write_all_at(&2u16.to_le_bytes(), copy + 16).unwrap();
    }
    let before = cache.index();
    for mode in ["-n", "-p", "-y"] {
        let words = ["format version 2", "only version 1"];
        refused(cachefsck().arg(mode).arg(cache.path()), 8, &words);
    }
    assert!(cache.index() == before, "it was touched");
}

/// Both copies are blank, and the backup alone tells that the cache is another version's.
#[test]
fn a_backup_of_a_newer_format_is_enough_to_be_left_alone() {
    let rig = Rig::settled();
    rig.mount();
    fs::read(rig.mnt().join("data")).unwrap();
    rig.umount();
    let superblock = *CacheDir::open(&rig.cache()).unwrap().superblock();
    let backup = superblock.geometry.backup_offset();
    let mut newer = superblock.encode_backup();
    newer[16] = 2;
    reseal(&mut newer, Geometry::seed(Uuid::default(), backup));
    let index = rig.cache().join("index.larder");
    let index = File::options().write(true).open(index).unwrap();
    index.write_all_at(&newer, backup).unwrap();
    for copy in [0, 4096] {
        index.write_all_at(&[0; 512], copy).unwrap();
    }
    let everything = || {
        let mut files = tree(&rig.cache());
        // Whoever looks may have taken the lock.
        files.retain(|(path, _)| path != Path::new("LOCK"));
        files
    };
    let before = everything();
    assert!(before.iter().any(|(path, _)| path.starts_with("chunks")));
    for mode in ["-n", "-p", "-y"] {
        let words = ["format version 2", "only version 1"];
        refused(cachefsck().arg(mode).arg(rig.cache()), 8, &words);
    }
    assert!(everything() == before, "it was touched");
}

#[test]
fn what_an_interrupted_resize_left_is_no_finding() {
    let cache = Cache::new();
    for left in ["chunks.new", "chunks.old"] {
        fs::create_dir_all(cache.path().join(left).join("00/0000")).unwrap();
        let (code, text, said) = cache.fsck(&["-n", "--deep"]);
        assert_eq!(code, 0, "{left}: {text}{said}");
        assert!(
            said.contains("interrupted") && said.contains("-p"),
            "{said}"
        );
        assert!(cache.path().join(left).exists(), "a look changed something");
        let (code, text, said) = cache.fsck(&["-p"]);
        assert_eq!((code, said.as_str()), (0, ""), "{left}: {text}");
        assert!(!cache.path().join(left).exists(), "{left} is left");
        // A file of such a name is not the cache's.
        fs::write(cache.path().join(left), "mine").unwrap();
        let (code, text, _) = cache.fsck(&["-n"]);
        assert_eq!((code, text.contains("F-FILE-STRAY")), (4, true), "{text}");
        fs::remove_file(cache.path().join(left)).unwrap();
    }
}

#[test]
fn unknown_features_are_refused_or_left() {
    let cache = Cache::damaged();
    let index = cache.path().join("index.larder");
    let geometry = CacheDir::open(&cache.path()).unwrap().superblock().geometry;
    let file = File::options().write(true).open(&index).unwrap();
    let features = Features {
        incompat: 1 << 40,
        ..Features::default()
    };
    write_superblocks(&file, geometry, features);
    for mode in ["-n", "-p", "-y"] {
        let words = ["does not know", "0x10000000000", "newer larder"];
        refused(cachefsck().arg(mode).arg(cache.path()), 8, &words);
    }
    let features = Features {
        ro_compat: 1 << 40,
        ..Features::default()
    };
    write_superblocks(&file, geometry, features);
    let before = cache.index();
    let (code, text, said) = cache.fsck(&["-p"]);
    assert_eq!(code, 4, "{text}{said}");
    assert!(
        text.contains("features that this cachefsck can read but not write"),
        "{text}"
    );
    assert!(cache.index() == before, "it was touched");
}

#[test]
fn a_cache_on_a_network_file_system_is_8_and_n_looks_at_it() {
    let rig = Rig::new();
    // larder's own mount is such a file system.
    let options = CreateOptions {
        capacity: 16 << 20,
        slots: None,
        files: None,
    };
    open_or_create(&rig.remote().join("inner"), &options, &mut |_| {}).unwrap();
    rig.mount();
    let inner = rig.mnt().join("inner");
    for mode in ["-p", "-y"] {
        let words = [
            "network",
            "fuse.larder",
            "on the machine that has the disk",
            "-n",
        ];
        refused(cachefsck().arg(mode).arg(&inner), 8, &words);
    }
    let (code, text, said) = told(cachefsck().arg("-n").arg(&inner));
    assert_eq!(code, 0, "{text}{said}");
    rig.umount();
}

#[test]
fn a_directory_that_may_not_be_read_is_8() {
    let cache = Cache::new();
    let index = cache.path().join("index.larder");
    fs::rename(&index, cache.beside("index")).unwrap();
    std::os::unix::fs::symlink(cache.beside("index"), &index).unwrap();
    refused(
        cachefsck().arg("-p").arg(cache.path()),
        8,
        &["index.larder"],
    );
    let stays = fs::symlink_metadata(&index).unwrap();
    assert!(stays.file_type().is_symlink());
}

#[test]
fn a_cache_without_superblocks_begins_anew_when_told_and_larder_mounts_it() {
    let rig = Rig::settled();
    rig.mount();
    fs::read(rig.mnt().join("data")).unwrap();
    rig.umount();
    let index = File::options()
        .write(true)
        .open(rig.cache().join("index.larder"))
        .unwrap();
    let geometry = CacheDir::open(&rig.cache()).unwrap().superblock().geometry;
    for offset in [0, 4096, geometry.backup_offset()] {
        index.write_all_at(&[0; 512], offset).unwrap();
    }
    refused(
        cachefsck().arg("-n").arg(rig.cache()),
        4,
        &["superblocks", "cachefsck -y"],
    );
    let (code, text, said) = told(cachefsck().arg("-y").arg(rig.cache()));
    assert_eq!(code, 1, "{text}{said}");
    assert!(text.contains("F-SUPER") && text.contains("MiB"), "{text}");
    assert_eq!(
        told(cachefsck().args(["-n", "--deep"]).arg(rig.cache())).0,
        0
    );
    let mounted = run(larder()
        .arg("mount")
        .args([rig.remote(), rig.mnt()])
        .arg("--cache-dir")
        .arg(rig.cache()));
    assert!(mounted.status.success());
    assert_eq!(fs::read(rig.mnt().join("data")).unwrap().len(), 3 << 20);
    rig.umount();
}

#[test]
fn chunks_behind_a_link_are_refused_everywhere_and_stay() {
    let rig = Rig::settled();
    rig.mount();
    fs::read(rig.mnt().join("data")).unwrap();
    rig.umount();
    let (chunks, elsewhere) = (rig.cache().join("chunks"), rig.cache().join("../elsewhere"));
    fs::rename(&chunks, &elsewhere).unwrap();
    std::os::unix::fs::symlink("../elsewhere", &chunks).unwrap();
    let before = tree(&elsewhere);
    assert!(!before.is_empty());
    let words = ["chunks", "symbolic link", "--cache-dir"];
    let refused_everywhere = || {
        for mode in ["-n", "-p", "-y"] {
            let said = refused(cachefsck().arg(mode).arg(rig.cache()), 8, &words);
            let way_out = ["in its place", "remove the link", "run this again"];
            assert!(way_out.iter().all(|word| said.contains(word)), "{said}");
        }
        let mut mount = larder();
        mount.arg("mount").args([rig.remote(), rig.mnt()]);
        refused(mount.arg("--cache-dir").arg(rig.cache()), 3, &words);
    };
    refused_everywhere();
    // Without a superblock all chunk files would go.
    let index = rig.cache().join("index.larder");
    let index = File::options().write(true).open(index).unwrap();
    index.set_len(0).unwrap();
    refused_everywhere();
    assert!(tree(&elsewhere) == before, "it was touched");
}

#[test]
fn something_else_in_the_place_of_lock_or_index_is_8_and_not_waited_for() {
    let mkfifo = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };
    let dir = |path: &Path| fs::create_dir(path).unwrap();
    let link = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    let makes: [&dyn Fn(&Path); 3] = [&mkfifo, &dir, &link];
    for name in ["LOCK", "index.larder"] {
        for (n, make) in makes.into_iter().enumerate() {
            let cache = Cache::new();
            fs::remove_file(cache.path().join(name)).unwrap();
            make(&cache.path().join(name));
            let path = cache.path().join(name);
            let mut words = vec![path.to_str().unwrap()];
            // A link in the place of the index is the system's word.
            words.extend((name == "LOCK" || n < 2).then_some("not a regular file"));
            for mode in ["-n", "-p", "-y"] {
                refused(cachefsck().arg(mode).arg(cache.path()), 8, &words);
            }
            let mut mount = larder();
            let places = ["remote", "mnt"].map(|place| cache.beside(place));
            for place in &places {
                fs::create_dir(place).unwrap();
            }
            mount.arg("mount").args(places);
            refused(mount.arg("--cache-dir").arg(cache.path()), 3, &words);
        }
    }
}

#[test]
fn what_begins_anew_says_how_large_it_is() {
    let cache = Cache::new();
    fs::write(cache.path().join("index.larder"), "").unwrap();
    let (code, text, said) = cache.fsck(&["-p"]);
    assert_eq!(code, 1, "{text}{said}");
    let told = "has a size limit of 16.0 MiB: for another size, remove";
    assert!(
        text.contains(told) && text.contains("--cache-size"),
        "{text}"
    );
}
