//! Names, kinds and attributes, and trees within trees.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use larder::vfs::MetadataTtl;
use rustix::fs::Mode;

use super::mounted::{Stage, Wish};

fn names(dir: &Path) -> BTreeSet<Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
        .collect()
}

#[test]
fn odd_names_come_through_as_they_are() {
    let stage = Stage::new();
    let odd: [&[u8]; 6] = [
        &[b'x'; 255],
        b"new\nline",
        b"\xff\xfe\x80",
        b" leading and trailing ",
        b"*?[a]'\"\\",
        "\u{e4}\u{20ac}\u{1f980}".as_bytes(),
    ];
    for (name, at) in odd.iter().zip(0u8..) {
        fs::write(stage.origin(OsStr::from_bytes(name)), [at; 3]).unwrap();
    }
    let mounted = stage.mount(Wish::default());
    let expected: BTreeSet<Vec<u8>> = odd.iter().map(|name| name.to_vec()).collect();
    assert_eq!(names(&mounted.path("")), expected);
    for (name, at) in odd.iter().zip(0u8..) {
        let read = fs::read(mounted.path(OsStr::from_bytes(name))).unwrap();
        assert_eq!(read, [at; 3]);
    }
    let long = mounted.path("y".repeat(256));
    let error = fs::metadata(long).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
    let error = fs::metadata(mounted.path("missing")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_large_directory_is_listed_whole() {
    let stage = Stage::new();
    for at in 0..3000 {
        fs::write(stage.origin(format!("file-with-a-longer-name-{at}")), b"").unwrap();
    }
    let mounted = stage.mount(Wish {
        ttl: MetadataTtl::Indefinite,
        ..Wish::default()
    });
    let expected = names(&stage.origin(""));
    assert_eq!(names(&mounted.path("")), expected);
    let asked = mounted.slow.requests();
    assert_eq!(names(&mounted.path("")), expected);
    for at in 0..3000 {
        let path = mounted.path(format!("file-with-a-longer-name-{at}"));
        assert_eq!(fs::metadata(path).unwrap().len(), 0);
        assert!(fs::metadata(mounted.path(format!("absent-{at}"))).is_err());
    }
    assert_eq!(
        mounted.slow.requests(),
        asked,
        "one listing answers for every name, also for those that are not there"
    );
}

#[test]
fn kinds_modes_owners_and_times_are_kept() {
    let stage = Stage::new();
    fs::write(stage.origin("program"), b"#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(stage.origin("program"), fs::Permissions::from_mode(0o751)).unwrap();
    std::os::unix::fs::chown(stage.origin("program"), Some(1234), Some(4321)).unwrap();
    let early = std::time::UNIX_EPOCH - std::time::Duration::from_millis(1500);
    let file = fs::File::open(stage.origin("program")).unwrap();
    file.set_modified(early).unwrap();
    symlink("../nowhere/at all", stage.origin("link")).unwrap();
    fs::create_dir(stage.origin("dir")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, stage.origin("fifo"), mode).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(stage.origin("socket")).unwrap();
    let mounted = stage.mount(Wish::default());

    for name in ["program", "link", "dir", "fifo", "socket"] {
        let real = fs::symlink_metadata(stage.origin(name)).unwrap();
        let shown = fs::symlink_metadata(mounted.path(name)).unwrap();
        let facts = |meta: &fs::Metadata| {
            let times = (
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec(),
            );
            (meta.mode(), meta.uid(), meta.gid(), meta.size(), times)
        };
        assert_eq!(facts(&shown), facts(&real), "{name}");
    }
    let kind = |name: &str| {
        fs::symlink_metadata(mounted.path(name))
            .unwrap()
            .file_type()
    };
    assert!(kind("fifo").is_fifo() && kind("socket").is_socket());
    let target = fs::read_link(mounted.path("link")).unwrap();
    assert_eq!(target, Path::new("../nowhere/at all"));
    let output = std::process::Command::new(mounted.path("program"))
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"ran\n");
    assert_eq!(fs::metadata(mounted.path("program")).unwrap().nlink(), 1);
}

#[test]
fn links_lead_where_they_lead_from_the_mount() {
    let stage = Stage::new();
    fs::create_dir_all(stage.origin("a/b")).unwrap();
    fs::write(stage.origin("a/file"), b"through a link").unwrap();
    symlink("../file", stage.origin("a/b/link")).unwrap();
    symlink("loop", stage.origin("loop")).unwrap();
    let mounted = stage.mount(Wish::default());
    let read = fs::read(mounted.path("a/b/link")).unwrap();
    assert_eq!(read, b"through a link");
    let error = fs::read(mounted.path("loop")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
}

#[test]
fn a_mount_within_the_tree_is_crossed() {
    let stage = Stage::new();
    fs::create_dir(stage.origin("disk")).unwrap();
    let guard = Unmount(stage.origin("disk"));
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", stage.origin("disk"), "tmpfs", flags, None).unwrap();
    fs::write(stage.origin("disk/inside"), b"on another disk").unwrap();
    let mounted = stage.mount(Wish::default());
    let read = fs::read(mounted.path("disk/inside")).unwrap();
    assert_eq!(read, b"on another disk");
    drop(mounted);
    drop(guard);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn its_own_mount_point_and_cache_within_the_tree_are_shown_empty() {
    let stage = Stage::new();
    fs::create_dir_all(stage.origin("deep/mnt")).unwrap();
    fs::create_dir_all(stage.origin("deep/cache")).unwrap();
    fs::write(stage.origin("deep/file"), b"beside them").unwrap();
    let mounted = stage.mount(Wish {
        mountpoint: Some(stage.origin("deep/mnt")),
        cache: Some(stage.origin("deep/cache")),
        ..Wish::default()
    });
    assert_eq!(fs::read(mounted.path("deep/file")).unwrap(), b"beside them");
    assert_eq!(names(&mounted.path("deep")).len(), 3);
    assert!(names(&mounted.path("deep/mnt")).is_empty());
    assert!(names(&mounted.path("deep/cache")).is_empty());
    assert!(!names(&stage.origin("deep/cache")).is_empty());
    let missing = fs::metadata(mounted.path("deep/mnt/deep")).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    // A walk over all of it comes to an end.
    let walk = std::process::Command::new("find")
        .arg(mounted.path(""))
        .output()
        .unwrap();
    assert!(walk.status.success());
    assert_eq!(walk.stdout.iter().filter(|&&b| b == b'\n').count(), 5);
}

#[test]
fn a_mount_over_its_own_origin_shows_the_origin() {
    let stage = Stage::new();
    fs::write(stage.origin("file"), b"beneath").unwrap();
    let mounted = stage.mount(Wish {
        mountpoint: Some(stage.origin("")),
        options: vec!["nonempty".to_owned()],
        ..Wish::default()
    });
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"beneath");
    assert_eq!(names(&mounted.path("")).len(), 1);
}
