//! `--salvage` and `--discard-dirty`: what goes is copied first, and bytes of users go only by name.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use larder::format::SlotRecord;
use larder::storage::{CacheDir, Storage};
use larder::units::SlotId;

use super::rig::{Cache, cachefsck, told, tree};
use crate::cli::rig::{Rig, refused};

/// A cache with a file in it, of which one block is wrong; the path of that chunk file below the cache directory.
fn with_a_wrong_block() -> (Rig, PathBuf) {
    let rig = Rig::settled();
    rig.mount();
    fs::read(rig.mnt().join("data")).unwrap();
    rig.umount();
    let cache = CacheDir::open(&rig.cache()).unwrap();
    let (uuid, geometry) = (cache.superblock().uuid, cache.superblock().geometry);
    let slot = (0..geometry.n_slots()).map(SlotId).find(|slot| {
        let (offset, mut sector) = (geometry.slot_offset(*slot), [0; 512]);
        cache.read_index(offset, &mut sector).unwrap();
        SlotRecord::decode(&sector, uuid, offset).is_ok_and(|record| !record.present.is_empty())
    });
    let slot = slot.unwrap().0;
    let (segment, place) = (
        slot / geometry.slots_per_segment(),
        slot % geometry.slots_per_segment(),
    );
    let path = PathBuf::from(format!(
        "chunks/{segment:02x}/{:04x}/{slot:08x}",
        place >> 10
    ));
    let file = fs::File::options()
        .write(true)
        .open(rig.cache().join(&path))
        .unwrap();
    file.write_all_at(b"not what was there", 0).unwrap();
    (rig, path)
}

#[test]
fn everything_that_goes_is_copied_first_and_nothing_is_overwritten() {
    let (rig, chunk) = with_a_wrong_block();
    let salvage = rig.path("salvage");
    let wrong = fs::read(rig.cache().join(&chunk)).unwrap();
    let index = fs::read(rig.cache().join("index.larder")).unwrap();
    let mend = || {
        let mut command = cachefsck();
        command
            .args(["-y", "--deep", "--salvage"])
            .arg(&salvage)
            .arg(rig.cache());
        told(&mut command)
    };
    let (code, text, said) = mend();
    assert_eq!(code, 1, "{text}{said}");
    assert!(
        text.contains("F-BLOCK-CRC") && text.contains("were copied to"),
        "{text}"
    );
    let first = tree(&salvage);
    let copied = first
        .iter()
        .find(|(path, _)| *path == PathBuf::from("1").join(&chunk));
    assert!(
        copied.is_some_and(|(_, bytes)| *bytes == wrong),
        "no {chunk:?}"
    );
    let sectors: Vec<_> = first
        .iter()
        .filter(|(path, _)| path.starts_with("1/sectors"))
        .collect();
    assert!(!sectors.is_empty());
    for (path, bytes) in sectors {
        let offset = path.file_name().unwrap().to_str().unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        assert!(bytes[..] == index[offset..offset + 512], "{path:?}");
    }
    let (code, text, _) = mend();
    assert_eq!(code, 0, "{text}");
    assert_eq!(
        tree(&salvage),
        first,
        "a clean cache has nothing to salvage"
    );

    let file = fs::File::options()
        .write(true)
        .open(rig.cache().join("index.larder"))
        .unwrap();
    file.write_all_at(&[1; 512], 4096).unwrap();
    let (code, text, said) = mend();
    assert_eq!(code, 1, "{text}{said}");
    let second = tree(&salvage);
    let superblock = (PathBuf::from("2/sectors/000000001000"), vec![1; 512]);
    assert!(second.contains(&superblock), "{text}");
    assert!(
        first.iter().all(|copied| second.contains(copied)),
        "something was overwritten"
    );
}

#[test]
fn where_nothing_can_be_copied_nothing_is_repaired() {
    let cache = Cache::damaged();
    let before = cache.index();
    let refuse = |dir: PathBuf, code, words: &[&str]| {
        let mut command = cachefsck();
        command.args(["-y", "--salvage"]).arg(dir).arg(cache.path());
        refused(&mut command, code, words);
        assert!(cache.index() == before, "something was repaired");
    };
    refuse(
        cache.path().join("salvage"),
        16,
        &["inside the cache directory"],
    );
    refuse(
        cache.path().join("a/../../cache/b"),
        16,
        &["inside the cache directory"],
    );
    refuse(cache.beside("."), 16, &["contains it"]);
    refuse(cache.path(), 16, &["inside"]);
    let link = cache.beside("link");
    std::os::unix::fs::symlink(cache.path(), &link).unwrap();
    refuse(link.join("salvage"), 16, &["inside the cache directory"]);
    let file = cache.beside("file");
    fs::write(&file, "").unwrap();
    for no_directory in [file.clone(), file.join("below"), "/dev/null".into()] {
        let words = [
            "cannot salvage into",
            "Not a directory",
            "nothing was changed",
        ];
        refuse(no_directory.clone(), 8, &words);
        let mut clean = cachefsck();
        let clean = clean.arg("-p").arg("--salvage").arg(no_directory);
        refused(clean.arg(Cache::new().path()), 8, &words);
    }
    refuse(
        "/proc/salvage".into(),
        8,
        &["cannot salvage into /proc/salvage"],
    );
}

#[test]
fn a_full_disk_stops_the_salvage_before_the_first_repair() {
    let (rig, _) = with_a_wrong_block();
    let before = fs::read(rig.cache().join("index.larder")).unwrap();
    // A disk of 64 KiB, in a mount namespace of its own: less than the chunk file.
    let script = "mount -t tmpfs -o size=64k none \"$1\" && shift && exec \"$@\"";
    let salvage = rig.path("salvage");
    fs::create_dir(&salvage).unwrap();
    let own_user = !rustix::process::geteuid().is_root();
    let mut command = std::process::Command::new("unshare");
    command.args(if own_user { &["-rm"][..] } else { &["-m"] });
    command.args(["sh", "-c", script, "sh"]).arg(&salvage);
    command
        .arg(env!("CARGO_BIN_EXE_cachefsck"))
        .args(["-y", "--deep", "--salvage"]);
    command.arg(&salvage).arg(rig.cache());
    refused(
        &mut command,
        8,
        &[
            "cannot salvage into",
            "No space left",
            "nothing was changed",
        ],
    );
    let after = fs::read(rig.cache().join("index.larder")).unwrap();
    assert!(after == before, "something was repaired");
}

#[test]
fn user_bytes_go_only_by_name_and_are_salvaged_then() {
    let cache = Cache::new();
    let dirty = cache.path().join("dirty");
    fs::create_dir(&dirty).unwrap();
    fs::write(dirty.join("overlay-1"), "typed for an hour").unwrap();
    let (code, text, said) = cache.fsck(&["-n"]);
    assert_eq!(code, 4, "{text}{said}");
    assert!(text.contains("only --discard-dirty drops it"), "{text}");
    assert!(text.contains("cachefsck -p would change nothing"), "{text}");
    cache.damage();
    let (code, text, said) = cache.fsck(&["-n"]);
    assert_eq!(code, 4, "{text}{said}");
    assert!(text.contains("repairs the rest"), "{text}");
    let (code, text, said) = cache.fsck(&["-y"]);
    assert_eq!(code, 1 | 4, "{text}{said}");
    assert!(
        text.contains("F-DIRTY") && text.contains("--discard-dirty"),
        "{text}"
    );
    assert_eq!(
        fs::read(dirty.join("overlay-1")).unwrap(),
        b"typed for an hour"
    );

    let salvage = cache.beside("salvage");
    let salvage_dir = salvage.to_str().unwrap();
    let (code, text, said) = cache.fsck(&["-y", "--discard-dirty", "--salvage", salvage_dir]);
    assert_eq!(code, 1, "{text}{said}");
    assert!(!dirty.exists());
    let kept = (
        PathBuf::from("1/dirty/overlay-1"),
        b"typed for an hour".to_vec(),
    );
    assert!(tree(&salvage) == [kept]);
    assert_eq!(cache.fsck(&["-n"]).0, 0);
}

#[test]
fn a_cache_that_begins_anew_keeps_user_bytes_and_salvages_chunks() {
    let (rig, chunk) = with_a_wrong_block();
    let cache = CacheDir::open(&rig.cache()).unwrap();
    let geometry = cache.superblock().geometry;
    for offset in [0, 4096, geometry.backup_offset()] {
        cache.write_index(offset, &[0; 512]).unwrap();
    }
    drop(cache);
    let dirty = rig.cache().join("dirty");
    fs::create_dir(&dirty).unwrap();
    fs::write(dirty.join("overlay-1"), "typed for an hour").unwrap();
    for mode in ["-n", "-y"] {
        let mut command = cachefsck();
        command.arg(mode).arg(rig.cache());
        refused(&mut command, 4, &["never uploaded", "--discard-dirty"]);
    }
    assert!(rig.cache().join(&chunk).exists(), "nothing was touched");

    let salvage = rig.path("salvage");
    let mut command = cachefsck();
    command
        .args(["-y", "--discard-dirty", "--salvage"])
        .arg(&salvage)
        .arg(rig.cache());
    let (code, text, said) = told(&mut command);
    assert_eq!(code, 1, "{text}{said}");
    assert!(salvage.join("1").join(&chunk).exists());
    assert!(salvage.join("1/dirty/overlay-1").exists());
    assert!(!rig.cache().join(&chunk).exists() && !dirty.exists());
    assert_eq!(
        told(cachefsck().args(["-n", "--deep"]).arg(rig.cache())).0,
        0
    );
}
