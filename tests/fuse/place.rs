//! Mount points: dead ones are cleared, live ones are not mounted over.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use larder::fuse::{FuseMount, MountError, MountSettings};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountFlags;

use super::mounted::{Stage, Wish};

/// A FUSE mount whose daemon is gone: its device is closed before anybody served it.
fn leave_a_dead_mount(place: &Path) {
    let device: OwnedFd = rustix::fs::open("/dev/fuse", OFlags::RDWR, Mode::empty()).unwrap();
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0",
        device.as_raw_fd()
    );
    let data = CString::new(data).unwrap();
    let flags = MountFlags::empty();
    rustix::mount::mount("dead", place, "fuse.larder", flags, data.as_c_str()).unwrap();
    drop(device);
    let error = fs::read_dir(place).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
}

#[test]
fn a_dead_mount_point_is_cleared() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), b"alive").unwrap();
    leave_a_dead_mount(&stage.path("mnt"));
    leave_a_dead_mount(&stage.path("mnt"));
    let mounted = stage.mount(Wish::default());
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"alive");
    drop(mounted);
    assert!(fs::read_dir(stage.path("mnt")).unwrap().next().is_none());
}

#[test]
fn a_live_mount_is_not_mounted_over() {
    let stage = Stage::new();
    let mounted = stage.mount(Wish::default());
    let settings = MountSettings {
        mountpoint: stage.path("mnt"),
        fsname: "second".to_owned(),
        threads: 2,
        allow_other: false,
        options: Vec::new(),
    };
    match FuseMount::mount(&mounted.vfs, &settings) {
        Err(error @ MountError::Taken { .. }) => {
            let sentence = error.to_string();
            assert!(sentence.contains("the-origin (fuse.larder)"), "{sentence}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("mounted over a live mount"),
    }
    let settings = MountSettings {
        options: vec!["rw".to_owned()],
        ..settings
    };
    let error = FuseMount::mount(&mounted.vfs, &settings).err().unwrap();
    assert!(error.to_string().contains("read-only"), "{error}");
}
