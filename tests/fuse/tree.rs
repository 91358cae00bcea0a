//! Whole trees through the program itself: the same cold, warm, after a remount, after `kill -9`; and what the cache has
//! kept is not fetched again.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use larder::engine::{Clock, SystemClock};
use rustix::process::{Signal, kill_process};

use super::cli::rig::{Rig, run, wait_until};
use super::mounted::content;
use super::on_disk::wait_until_on_disk;
use super::walk::{same_bytes, same_front, same_trees};

pub(crate) const SMALL: u64 = 5000;
pub(crate) const MIDDLE: u64 = 200;
const PIECE: usize = 4 << 20;
pub(crate) const LARGE: u64 = 1 << 30;

pub(crate) fn small_files(root: &Path) {
    for n in 0..SMALL {
        let dir = root.join(format!("small/{:02}", n / 100));
        if n % 100 == 0 {
            fs::create_dir_all(&dir).unwrap();
        }
        let len = n.wrapping_mul(0x9E37_79B9) >> 7;
        let bytes = content(n, usize::try_from(len % (32 << 10)).unwrap());
        fs::write(dir.join(n.to_string()), bytes).unwrap();
    }
}

pub(crate) fn large_files(root: &Path) {
    fs::create_dir(root.join("middle")).unwrap();
    for n in 0..MIDDLE {
        fs::write(root.join(format!("middle/{n}")), content(n, PIECE)).unwrap();
    }
    let mut large = File::create(root.join("large")).unwrap();
    for n in 0..LARGE / PIECE as u64 {
        large.write_all(&content(1000 + n, PIECE)).unwrap();
    }
}

fn odd_files(root: &Path) {
    let odd = root.join("odd");
    fs::create_dir(&odd).unwrap();
    let longest = [b'n'; 255];
    let names: [&[u8]; 12] = [
        b"new\nline",
        b"-rf",
        b" blank ",
        b"\xff\xfe not UTF-8 \x80",
        "\u{3a9}mega \u{1f96b}".as_bytes(),
        b"back\\slash",
        b"quo'te\"s",
        b"$HOME *?[a]",
        b"\x01\x7f",
        b"...",
        b"tab\t",
        &longest,
    ];
    for (name, seed) in names.iter().zip(1..) {
        let name = OsStr::from_bytes(name);
        fs::write(odd.join(name), content(seed, 1000)).unwrap();
        fs::create_dir_all(root.join("odd-dirs").join(name)).unwrap();
        fs::write(root.join("odd-dirs").join(name).join("in"), "in").unwrap();
    }
    for size in [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537] {
        fs::write(odd.join(format!("of {size}")), content(9, size)).unwrap();
    }
    for mode in [0o400, 0o4755, 0o2755, 0o777, 0o444] {
        let path = odd.join(format!("mode {mode:o}"));
        fs::write(&path, "mode").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    let owned = odd.join("owned");
    fs::write(&owned, "by another").unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&owned, Some(4242), Some(4243)).unwrap();
    }
    let sparse = File::create(odd.join("sparse")).unwrap();
    sparse.set_len(20 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 10 << 20).unwrap();
    fs::hard_link(odd.join("of 4097"), odd.join("hard link")).unwrap();
    for (target, name) in [
        ("of 1", "link"),
        ("nowhere", "dangling"),
        ("/usr", "absolute"),
        ("../small", "to a directory"),
        (".", "to itself"),
    ] {
        symlink(target, odd.join(name)).unwrap();
    }
    let deep = (0..40).fold(root.join("deep"), |path, n| path.join(n.to_string()));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("down"), "here").unwrap();
    let special = root.join("special");
    fs::create_dir(&special).unwrap();
    fs::set_permissions(&special, Permissions::from_mode(0o1777)).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(rustix::fs::CWD, special.join("fifo"), fifo, mode, 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(special.join("socket")).unwrap());
}

/// Mounts `remote` with a cache that has room for it.
fn mount(rig: &Rig, remote: &Path, more: &[&str]) {
    rig.mount_other(remote, "3G", more);
}

pub(crate) fn fetched(rig: &Rig) -> u64 {
    rig.stats(&rig.mnt())["remote_bytes"].as_u64().unwrap()
}

pub(crate) fn kill(rig: &Rig) {
    kill_process(rig.daemon(), Signal::KILL).unwrap();
    wait_until("the mount is dead", || fs::read_dir(rig.mnt()).is_err());
}

/// What `diff -r` says, which says nothing of equal trees. It takes two fifos for different, whatever they are.
fn diff(one: &Path, other: &Path) -> String {
    let mut command = Command::new("diff");
    command.args(["-r", "--no-dereference", "--exclude=special"]);
    let output = run(command.args([one, other]));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Says how long the step took, for whoever runs the tests with their output.
pub(crate) fn step(clock: &SystemClock, what: &str) {
    eprintln!("{:6.1} s: {what}", clock.monotonic().as_secs_f64());
}

#[test]
fn a_large_tree_is_the_same_cold_warm_remounted_and_after_a_kill() {
    let clock = SystemClock::default();
    let rig = Rig::new();
    let (origin, mnt) = (rig.remote(), rig.mnt());
    small_files(&origin);
    large_files(&origin);
    odd_files(&origin);
    // Younger files are not kept.
    std::thread::sleep(Duration::from_millis(2500));
    step(&clock, "made the tree");

    mount(&rig, &origin, &[]);
    assert_eq!(diff(&origin, &mnt), "");
    step(&clock, "cold");
    let cold = fetched(&rig);
    let all = same_trees(&origin, &mnt);
    step(&clock, "warm");
    assert!(all.entries > SMALL + MIDDLE && all.bytes > LARGE, "{all:?}");
    // The tree has one hard link, which is a file of its own here.
    assert_eq!(cold, all.bytes, "each byte comes once");
    assert_eq!(fetched(&rig), cold, "and never again");

    rig.umount();
    mount(&rig, &origin, &[]);
    same_trees(&origin, &mnt);
    step(&clock, "remounted");
    assert_eq!(
        fetched(&rig),
        0,
        "all of it is in the cache after a remount"
    );

    kill_a_reader(&rig);
    mount(&rig, &origin, &[]);
    assert_eq!(diff(&origin, &mnt), "");
    same_trees(&origin, &mnt);
    step(&clock, "killed");
    assert_eq!(fetched(&rig), 0, "all of it is in the cache after a kill");
    rig.umount();
}

/// Kills the daemon while somebody reads: past the kernel's own cache, which would know all of it by now.
pub(crate) fn kill_a_reader(rig: &Rig) {
    let (origin, mount) = (rig.remote().join("large"), rig.mnt().join("large"));
    let (under_way, started) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let origin = File::open(origin).unwrap();
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_DIRECT);
        let mount = options.open(mount).unwrap();
        let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        for at in (0..LARGE).step_by(1 << 20).cycle() {
            if let Err(error) = mount.read_exact_at(&mut theirs, at) {
                return error.raw_os_error();
            }
            origin.read_exact_at(&mut ours, at).unwrap();
            assert!(ours == theirs, "wrong bytes at {at}");
            // The test may have heard enough.
            let _ = under_way.send(());
        }
        None
    });
    for _ in 0..50 {
        started.recv().unwrap();
    }
    kill(rig);
    let error = reader.join().unwrap();
    let dead = [Some(libc::ENOTCONN), Some(libc::ECONNABORTED)];
    assert!(dead.contains(&error), "{error:?}");
}

#[test]
fn a_kill_in_the_middle_of_a_cold_read_keeps_what_was_read_before() {
    const FILES: u64 = 96;
    const LEN: usize = 1 << 20;
    let rig = Rig::new();
    let name = |n: u64| format!("{n:03}");
    for n in 0..FILES {
        fs::write(rig.remote().join(name(n)), content(n, LEN)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(2500));
    let read = |n: u64| same_bytes(&rig.remote().join(name(n)), &rig.mnt().join(name(n)));
    // About 20 ms a file.
    mount(&rig, &rig.remote(), &["--slow-bandwidth", "50M"]);
    let pid = rig.daemon();
    let kept = FILES / 2;
    (0..kept).for_each(read);
    let path = |n| rig.mnt().join(name(n));
    wait_until_on_disk(&rig.cache(), (0..kept).map(path));
    // In the middle of the next file.
    let mut next = File::open(rig.mnt().join(name(kept))).unwrap();
    std::io::Read::read_exact(&mut next, &mut [0; 4096]).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    drop(next);
    mount(&rig, &rig.remote(), &[]);
    (0..kept).for_each(read);
    assert_eq!(fetched(&rig), 0, "{kept} files were read in time");
    (kept..FILES).for_each(read);
    let rest = fetched(&rig);
    assert!(rest <= (FILES - kept) * LEN as u64, "{rest} bytes");

    // And once more with nothing under way.
    wait_until_on_disk(&rig.cache(), (0..FILES).map(path));
    kill(&rig);
    mount(&rig, &rig.remote(), &[]);
    (0..FILES).for_each(read);
    assert_eq!(fetched(&rig), 0);
    rig.umount();
}

#[test]
fn a_mount_of_usr_is_the_same_cold_warm_remounted_and_after_a_kill() {
    let rig = Rig::new();
    let usr = Path::new("/usr");
    let compare = || {
        for part in ["bin", "lib", "share"] {
            same_front(&usr.join(part), &rig.mnt().join(part), 2500, 60 << 20);
        }
    };
    mount(&rig, usr, &[]);
    compare();
    let cold = fetched(&rig);
    assert!(cold > 1 << 20, "{cold} bytes of /usr");
    compare();
    assert_eq!(fetched(&rig), cold);
    rig.umount();
    mount(&rig, usr, &[]);
    compare();
    assert_eq!(fetched(&rig), 0);
    kill(&rig);
    mount(&rig, usr, &[]);
    compare();
    assert_eq!(fetched(&rig), 0);
    rig.umount();
}
