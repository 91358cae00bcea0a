//! `larder scrub`, on a mount and on a cache that nobody uses; what a mount tells of the last stop.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::rig::{Rig, larder, refused, run, stderr, wait_until};

/// The chunk files of a cache directory.
fn chunk_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(chunk_files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// Flips a byte in every chunk file, at this part of its length.
fn damage(rig: &Rig, part: u64) -> usize {
    let files = chunk_files(&rig.cache().join("chunks"));
    for path in &files {
        let file = fs::OpenOptions::new().read(true).write(true).open(path);
        let file = file.unwrap();
        let at = file.metadata().unwrap().len() / part;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }
    files.len()
}

fn scrub(more: &[&str], path: &Path) -> String {
    let output = run(larder().arg("scrub").args(more).arg(path));
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_scrub_heals_a_mount_and_a_cache_at_rest() {
    let rig = Rig::settled();
    rig.mount();
    let right = fs::read(rig.remote().join("data")).unwrap();
    assert_eq!(fs::read(rig.mnt().join("data")).unwrap(), right);
    wait_until("the fills are on disk", || {
        chunk_files(&rig.cache().join("chunks")).len() == 1
            && rig.stats(&rig.mnt())["blocks_filled"].as_u64().unwrap() >= 48
    });
    assert!(scrub(&[], &rig.mnt()).contains("nothing is damaged"));
    assert_eq!(damage(&rig, 2), 1);
    let told: Value = serde_json::from_str(&scrub(&["--json"], &rig.mnt())).unwrap();
    assert_eq!(
        (&told["bad_blocks"], &told["ended"]),
        (&1.into(), &"finished".into())
    );
    assert_eq!(told["state"], "idle");
    // By the cache's name the same daemon is asked.
    assert!(scrub(&[], &rig.cache()).contains("nothing is damaged"));
    assert_eq!(fs::read(rig.mnt().join("data")).unwrap(), right);
    assert!(scrub(&["--stop"], &rig.mnt()).contains("no scrub is running"));
    scrub(&["--rate", "1K", "-b"], &rig.mnt());
    assert!(scrub(&["--stop"], &rig.mnt()).contains("is stopped"));
    let stats = rig.stats(&rig.mnt());
    assert_eq!(stats["scrub"]["ended"], "stopped");
    assert_eq!(stats["last_stop"], "new");
    rig.umount();
    // The kernel has all of the file, so that nobody has asked for the block that was forgotten.
    damage(&rig, 4);
    assert!(scrub(&[], &rig.cache()).contains("1 were damaged"));
    assert!(scrub(&[], &rig.cache()).contains("nothing is damaged"));
    refused(
        larder().arg("scrub").arg("-b").arg(rig.cache()),
        2,
        &["no daemon uses", "--no-wait"],
    );
    refused(larder().arg("scrub").arg(rig.remote()), 3, &["cache"]);
    assert_eq!(rig.stats(&rig.cache())["state"], "closed cleanly");
}

#[test]
fn a_mount_tells_how_the_last_one_ended() {
    let rig = Rig::settled();
    let first = rig.mount();
    assert!(!first.contains("last daemon"), "{first}");
    rig.umount();
    let clean = rig.mount();
    assert!(!clean.contains("last daemon"), "{clean}");
    assert_eq!(rig.stats(&rig.mnt())["last_stop"], "clean");
    kill_process(rig.daemon(), Signal::KILL).unwrap();
    wait_until("the daemon is gone", || fs::read_dir(rig.mnt()).is_err());
    let killed = rig.mount();
    assert!(
        killed.contains("was killed: everything it wrote is kept"),
        "{killed}"
    );
    assert_eq!(rig.stats(&rig.mnt())["last_stop"], "daemon killed");
    rig.umount();
}
