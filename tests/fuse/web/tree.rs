//! The whole tree from real servers: the same cold, warm, after a remount, after `kill -9`; and what the cache has kept
//! costs no request but one for each directory's listing.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use larder::engine::SystemClock;

use super::super::cli::rig::{Rig, run};
use super::super::on_disk::wait_until_on_disk;
use super::super::tree::{
    LARGE, SMALL, fetched, kill, kill_a_reader, large_files, small_files, step,
};
use super::super::walk::same_bytes;
use super::files::{
    Names, age_all, hold_open, names, odd_files, same_trees, shown_by_dufs, shown_by_nginx,
};
use super::servers::{JSON, Server};

/// The tree of the local remote's test, as far as a web server can show it: no links, owners and modes.
fn make(root: &Path) {
    small_files(root);
    large_files(root);
    odd_files(root, |name| shown_by_nginx(name) && shown_by_dufs(name));
    for size in [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537] {
        fs::write(root.join(format!("odd/of {size}")), vec![7; size]).unwrap();
    }
    let deep = (0..40).fold(root.join("deep"), |path, n| path.join(n.to_string()));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("down"), "here").unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    // Younger files are not kept.
    std::thread::sleep(Duration::from_millis(2500));
}

fn mount(rig: &Rig, server: &Server) {
    let more = ["--metadata-ttl", "indefinite"];
    rig.mount_other(Path::new(&server.url()), "3G", &more);
}

/// Reads a part of the tree, and is killed in the middle of the large file. Returns the bytes that were read in time.
fn kill_a_cold_reader(rig: &Rig) -> u64 {
    let (mut kept, mut read) = (0, Vec::new());
    for name in names(&rig.remote().join("middle")).iter().take(20) {
        let path = Path::new("middle").join(name);
        same_bytes(&rig.remote().join(&path), &rig.mnt().join(&path));
        kept += fs::metadata(rig.remote().join(&path)).unwrap().len();
        read.push(rig.mnt().join(path));
    }
    wait_until_on_disk(&rig.cache(), read);
    let mut large = File::open(rig.mnt().join("large")).unwrap();
    large.read_exact(&mut vec![0; 32 << 20]).unwrap();
    kill(rig);
    kept
}

/// The most bytes that came twice because the disk was slow: a read that had waited for it for two seconds was sent to the
/// remote, and what waited to be written for too long was dropped.
fn may_come_twice(rig: &Rig) -> u64 {
    let stats = rig.stats(&rig.mnt());
    let count = |name: &str| stats[name].as_u64().unwrap();
    (count("reads_hedged") << 20) + (count("fills_dropped") << 22)
}

/// Only listings are asked for, each once.
fn only_listings(server: &mut Server, dirs: usize) {
    let mut asked = server.asked();
    let others = asked
        .iter()
        .filter(|asked| !asked.path.contains("/?") && !asked.path.ends_with('/'));
    let others: Vec<_> = others.take(9).collect();
    assert_eq!(asked.len(), dirs, "{others:?}");
    for asked in &asked {
        let path = asked.path.strip_suffix("?json").unwrap_or(&asked.path);
        assert!(asked.method == "GET" && path.ends_with('/'), "{asked:?}");
    }
    asked.sort_by(|a, b| a.path.cmp(&b.path));
    asked.dedup();
    assert_eq!(asked.len(), dirs, "a listing was asked for twice");
}

fn is_the_same_always(rig: &Rig, server: &mut Server) {
    let clock = SystemClock::default();
    let (origin, mnt) = (rig.remote(), rig.mnt());
    mount(rig, server);
    let kept = kill_a_cold_reader(rig);
    step(&clock, "killed while cold");

    mount(rig, server);
    let all = same_trees(&origin, &mnt);
    step(&clock, "cold");
    assert!(all.files as u64 > SMALL && all.bytes > LARGE, "{all:?}");
    let cold = fetched(rig);
    let twice = may_come_twice(rig);
    assert!(
        cold <= all.bytes - kept + twice,
        "{cold} bytes of {} came, {kept} were there, and {twice} may have come twice",
        all.bytes
    );
    same_trees(&origin, &mnt);
    step(&clock, "warm");
    assert_eq!(fetched(rig), cold, "what is cached does not come again");

    rig.umount();
    mount(rig, server);
    server.forget();
    let held = hold_open(&mnt, Names::Directories);
    let find = run(Command::new("find")
        .arg(&mnt)
        .args(["-size", "+0", "-newermt", "2000-01-01"]));
    assert!(find.status.success(), "{find:?}");
    let found = find.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert!(found > all.dirs, "{found} lines");
    only_listings(server, all.dirs);
    same_trees(&origin, &mnt);
    step(&clock, "remounted");
    assert_eq!(fetched(rig), 0, "all of it is in the cache after a remount");
    only_listings(server, all.dirs);

    drop(held);
    kill_a_reader(rig);
    mount(rig, server);
    server.forget();
    let held = hold_open(&mnt, Names::Directories);
    same_trees(&origin, &mnt);
    step(&clock, "killed while warm");
    assert_eq!(fetched(rig), 0, "all of it is in the cache after a kill");
    only_listings(server, all.dirs);
    drop(held);
    rig.umount();
}

#[test]
fn a_tree_from_nginx_and_dufs_is_the_same_cold_warm_remounted_and_after_kills() {
    let rig = Rig::new();
    make(&rig.remote());
    is_the_same_always(&rig, &mut Server::nginx(&rig.remote(), JSON));
    fs::remove_dir_all(rig.cache()).unwrap();
    is_the_same_always(&rig, &mut Server::dufs(&rig.remote()));
}

/// The odd names that the one or the other server shows, cold, warm and after a remount.
fn odd_names_are_the_same_always(rig: &Rig, server: &mut Server) {
    age_all(&rig.remote());
    mount(rig, server);
    let all = same_trees(&rig.remote(), &rig.mnt());
    assert_eq!(fetched(rig), all.bytes, "each byte comes once");
    same_trees(&rig.remote(), &rig.mnt());
    rig.umount();
    mount(rig, server);
    server.forget();
    let held = hold_open(&rig.mnt(), Names::Directories);
    same_trees(&rig.remote(), &rig.mnt());
    assert_eq!(fetched(rig), 0);
    only_listings(server, all.dirs);
    drop(held);
    rig.umount();
}

#[test]
fn odd_names_from_nginx() {
    let rig = Rig::new();
    odd_files(&rig.remote(), shown_by_nginx);
    odd_names_are_the_same_always(&rig, &mut Server::nginx(&rig.remote(), JSON));
}

#[test]
fn odd_names_from_dufs() {
    let rig = Rig::new();
    odd_files(&rig.remote(), shown_by_dufs);
    odd_names_are_the_same_always(&rig, &mut Server::dufs(&rig.remote()));
}
