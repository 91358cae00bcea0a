//! Names, attributes and permissions.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::super::cli::rig::{Rig, larder, run, stderr, wait_until};
use larder::vfs::MetadataTtl;

use super::super::mounted::{Stage, Wish};
use super::{asking, with_ttl};

/// Nobody, as Debian numbers him.
const NOBODY: u32 = 65534;

/// N1. Sizes, modification times, permissions, owners and symbolic links are the same as at the remote.
#[test]
fn n1_attributes_are_the_remotes() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), "12345").unwrap();
    fs::set_permissions(stage.origin("f"), Permissions::from_mode(0o751)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(stage.origin("f"), Some(1234), Some(4321)).unwrap();
    }
    fs::create_dir(stage.origin("d")).unwrap();
    fs::set_permissions(stage.origin("d"), Permissions::from_mode(0o711)).unwrap();
    symlink("d/elsewhere", stage.origin("l")).unwrap();
    let mounted = asking(&stage);
    for name in ["f", "d", "l"] {
        let (is, shown) = (
            fs::symlink_metadata(stage.origin(name)).unwrap(),
            fs::symlink_metadata(mounted.path(name)).unwrap(),
        );
        let facts = |m: &fs::Metadata| {
            let time = (m.mtime(), m.mtime_nsec());
            let size = if m.is_dir() { 0 } else { m.len() };
            (size, time, m.mode(), m.uid(), m.gid())
        };
        assert_eq!(facts(&shown), facts(&is), "{name}");
    }
    let target = fs::read_link(mounted.path("l")).unwrap();
    assert_eq!(target, Path::new("d/elsewhere"));
}

/// N2. Regular files have a link count of 1, whatever their link count at the remote is.
#[test]
fn n2_files_have_one_link() {
    let stage = Stage::new();
    fs::write(stage.origin("a"), "x").unwrap();
    fs::hard_link(stage.origin("a"), stage.origin("b")).unwrap();
    let mounted = asking(&stage);
    for name in ["a", "b"] {
        assert_eq!(fs::metadata(stage.origin(name)).unwrap().nlink(), 2);
        assert_eq!(fs::metadata(mounted.path(name)).unwrap().nlink(), 1);
    }
}

/// N3. A name is a sequence of up to 255 bytes in any encoding. Only `/` and NUL cannot occur in it.
#[test]
fn n3_names_are_bytes() {
    let stage = Stage::new();
    let mut names: Vec<OsString> = (1..=255u8)
        .filter(|byte| *byte != b'/')
        .map(|byte| OsString::from_vec(vec![b'x', byte]))
        .collect();
    names.push(OsString::from_vec(vec![0xff; 255]));
    names.push("\n".into());
    for name in &names {
        fs::write(stage.origin(name), name.as_bytes()).unwrap();
    }
    let mounted = asking(&stage);
    for name in &names {
        assert_eq!(fs::read(mounted.path(name)).unwrap(), name.as_bytes());
    }
    let listed = fs::read_dir(mounted.path("")).unwrap();
    let mut listed: Vec<OsString> = listed.map(|e| e.unwrap().file_name()).collect();
    listed.sort();
    names.sort();
    assert_eq!(listed, names);
    let long = mounted.path(OsStr::from_bytes(&[b'x'; 256]));
    let error = fs::metadata(long).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
}

/// N4. larder shows symbolic links and does not follow them. A link with an absolute target leads to that path outside
/// the mount.
#[test]
fn n4_links_lead_where_they_say() {
    let stage = Stage::new();
    fs::write(stage.path("outside"), "outside").unwrap();
    fs::write(stage.origin("inside"), "inside").unwrap();
    symlink(stage.path("outside"), stage.origin("absolute")).unwrap();
    symlink("inside", stage.origin("relative")).unwrap();
    symlink("nowhere", stage.origin("broken")).unwrap();
    let mounted = asking(&stage);
    assert_eq!(fs::read(mounted.path("absolute")).unwrap(), b"outside");
    assert_eq!(fs::read(mounted.path("relative")).unwrap(), b"inside");
    assert_eq!(mounted.fetched(), 6, "only what lies inside is fetched");
    let broken = mounted.path("broken");
    assert_eq!(fs::read_link(&broken).unwrap(), Path::new("nowhere"));
    fs::metadata(broken).unwrap_err();
}

/// N5. Sockets, fifos and devices appear with their own type. They contain no data of the remote.
#[test]
fn n5_special_files_are_shown() {
    let stage = Stage::new();
    let listener = UnixListener::bind(stage.origin("socket")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, stage.origin("fifo"), FileType::Fifo, mode, 0).unwrap();
    let mounted = asking(&stage);
    let kind = |name: &str| {
        fs::symlink_metadata(mounted.path(name))
            .unwrap()
            .file_type()
    };
    assert!(kind("socket").is_socket() && kind("fifo").is_fifo());
    // A fifo on the mount is the local kernel's: a writer of it meets a reader of it, and not the remote's.
    let path = mounted.path("fifo");
    let reader = std::thread::spawn(move || fs::read(path).unwrap());
    let written = File::options().write(true).open(mounted.path("fifo"));
    std::io::Write::write_all(&mut written.unwrap(), b"local").unwrap();
    assert_eq!(reader.join().unwrap(), b"local");
    if rustix::process::geteuid().is_root() {
        // The memory device, which would answer zeros.
        mknodat(
            CWD,
            stage.origin("zero"),
            FileType::CharacterDevice,
            mode,
            rustix::fs::makedev(1, 5),
        )
        .unwrap();
        assert!(kind("zero").is_char_device());
        File::open(mounted.path("zero")).unwrap_err();
    }
    assert_eq!(mounted.fetched(), 0);
    drop(listener);
}

/// N6. If the mount point or the cache directory lies within the mounted tree, it appears as an empty directory.
#[test]
fn n6_its_own_places_are_empty() {
    let stage = Stage::new();
    for name in ["mnt", "store"] {
        fs::create_dir(stage.origin(name)).unwrap();
    }
    fs::write(stage.origin("f"), "x").unwrap();
    let mounted = stage.mount(Wish {
        mountpoint: Some(stage.origin("mnt")),
        cache: Some(stage.origin("store")),
        ..Wish::default()
    });
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"x");
    for name in ["mnt", "store"] {
        assert_eq!(fs::read_dir(mounted.path(name)).unwrap().count(), 0);
    }
}

/// N7. The extended attributes `user.larder.*` show what the cache knows about a file. `larder info` prints them.
#[test]
fn n7_info_shows_what_is_known() {
    let rig = Rig::settled();
    rig.mount();
    fs::read(rig.mnt().join("data")).unwrap();
    let info = || {
        let output = run(larder().arg("info").arg(rig.mnt().join("data")));
        String::from_utf8(output.stdout).unwrap()
    };
    // Readers are answered before their blocks are on disk.
    wait_until("all of it is kept", || {
        info().contains("3145728 (3.0 MiB, 100 %)")
    });
    let shown = info();
    let mut names = vec![0; 4096];
    let len = rustix::fs::listxattr(rig.mnt().join("data"), names.as_mut_slice()).unwrap();
    let names = String::from_utf8(names[..len].to_vec()).unwrap();
    let mut count = 0;
    for name in names.split_terminator('\0') {
        let short = name.strip_prefix("user.larder.").unwrap();
        assert!(shown.contains(&format!("  {short} ")), "{short}: {shown}");
        count += 1;
    }
    assert!(count >= 5, "{shown}");
    rig.umount();
}

/// P1. The kernel enforces permission bits and owners, as on a local disk.
#[test]
fn p1_permissions_hold() {
    let stage = Stage::new();
    for (name, mode) in [("secret", 0o600), ("public", 0o644)] {
        fs::write(stage.origin(name), "x").unwrap();
        fs::set_permissions(stage.origin(name), Permissions::from_mode(mode)).unwrap();
    }
    fs::write(stage.origin("nobodys"), "x").unwrap();
    fs::set_permissions(stage.origin("nobodys"), Permissions::from_mode(0o000)).unwrap();
    let mounted = asking(&stage);
    if !rustix::process::geteuid().is_root() {
        let error = File::open(mounted.path("nobodys")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
        return;
    }
    let as_nobody = |name: &str| {
        let mut cat = Command::new("cat");
        cat.arg(mounted.path(name)).uid(NOBODY).gid(NOBODY);
        cat.output().unwrap()
    };
    let refused = as_nobody("secret");
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains("Permission denied"));
    assert_eq!(as_nobody("public").stdout, b"x");
}

/// P2. Only the user who mounted can access the mount, unless `-o allow_other` was given.
#[test]
fn p2_others_stay_outside() {
    if !rustix::process::geteuid().is_root() {
        // Who is not root can ask nobody else to try; the kernel's list says who may.
        let rig = Rig::new();
        rig.mount();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let at = rig.mnt().to_str().unwrap().to_owned();
        let line = table.lines().find(|line| line.contains(&at)).unwrap();
        assert!(!line.contains("allow_other"), "{line}");
        return rig.umount();
    }
    for (options, may) in [(None, false), (Some("allow_other"), true)] {
        let rig = Rig::new();
        fs::set_permissions(rig.path(""), Permissions::from_mode(0o755)).unwrap();
        let mut mount = rig.mount_command();
        mount.args(options.map(|o| ["-o", o]).into_iter().flatten());
        assert!(mount.stdout(Stdio::null()).status().unwrap().success());
        let mut cat = Command::new("cat");
        cat.arg(rig.mnt().join("hello")).uid(NOBODY).gid(NOBODY);
        let output = cat.output().unwrap();
        assert_eq!(output.status.success(), may, "{options:?}: {output:?}");
        rig.umount();
    }
}

/// P3. The mount is read-only: writing, creating, removing and changing attributes fail with EROFS.
#[test]
fn p3_nothing_is_changed() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), "x").unwrap();
    fs::create_dir(stage.origin("d")).unwrap();
    let mounted = asking(&stage);
    let (file, dir) = (mounted.path("f"), mounted.path("d"));
    let attempts = [
        fs::write(&file, "y"),
        fs::write(mounted.path("new"), "y"),
        File::options().append(true).open(&file).map(drop),
        fs::create_dir(mounted.path("dir")),
        fs::remove_file(&file),
        fs::remove_dir(&dir),
        fs::rename(&file, mounted.path("g")),
        fs::hard_link(&file, mounted.path("g")),
        symlink("f", mounted.path("g")),
        fs::set_permissions(&file, Permissions::from_mode(0o600)),
    ];
    for (n, attempt) in attempts.into_iter().enumerate() {
        let error = attempt.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS), "attempt {n}");
    }
    assert_eq!(fs::read(stage.origin("f")).unwrap(), b"x");
}

/// N8. If a name is missing from the listing of its directory, it does not exist on the mount until the TTL ends.
#[test]
fn n8_a_listing_holds_for_the_ttl() {
    let stage = Stage::new();
    fs::create_dir(stage.origin("d")).unwrap();
    // A TTL that does not end while the test takes its time, and one that does.
    let mounted = with_ttl(&stage, MetadataTtl::Indefinite);
    let held = fs::read_dir(mounted.path("d")).unwrap();
    assert_eq!(fs::read_dir(mounted.path("d")).unwrap().count(), 0);
    fs::write(stage.origin("d/new"), b"new").unwrap();
    for _ in 0..2 {
        let error = fs::read(mounted.path("d/new")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
    drop((held, mounted));
    fs::remove_file(stage.origin("d/new")).unwrap();
    let mounted = with_ttl(&stage, MetadataTtl::seconds(1));
    assert_eq!(fs::read_dir(mounted.path("d")).unwrap().count(), 0);
    fs::write(stage.origin("d/new"), b"new").unwrap();
    wait_until("the listing is out of date", || {
        fs::read(mounted.path("d/new")).is_ok_and(|bytes| bytes == b"new")
    });
}
