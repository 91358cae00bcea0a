//! What the kernel makes of the mount: its type, its flags, permissions, refused writes, df(1).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::mounted::{Stage, Wish};

fn mount_line(place: &std::path::Path) -> String {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let needle = format!(" {} ", place.canonicalize().unwrap().display());
    let line = table.lines().find(|line| line.contains(&needle));
    line.unwrap_or_default().to_owned()
}

#[test]
fn the_mount_shows_as_fuse_larder_read_only() {
    let stage = Stage::new();
    let mounted = stage.mount(Wish {
        options: vec!["noexec".to_owned()],
        ..Wish::default()
    });
    let line = mount_line(&mounted.path(""));
    let fields: Vec<&str> = line.split(' ').collect();
    assert_eq!((fields[0], fields[2]), ("the-origin", "fuse.larder"));
    for flag in ["ro", "nosuid", "nodev", "noexec", "default_permissions"] {
        assert!(fields[3].split(',').any(|f| f == flag), "{flag} in {line}");
    }
    let place = mounted.path("");
    drop(mounted);
    assert_eq!(mount_line(&place), "");
}

#[test]
fn every_write_is_refused_as_read_only() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), b"content").unwrap();
    fs::create_dir(stage.origin("d")).unwrap();
    let mounted = stage.mount(Wish::default());
    let (f, d, n) = (mounted.path("f"), mounted.path("d"), mounted.path("new"));
    let write = |path| File::options().write(true).open(path).map(drop);
    let attempts: [(&str, io::Result<()>); 12] = [
        ("create", File::create(&n).map(drop)),
        ("write", write(&f)),
        ("append", File::options().append(true).open(&f).map(drop)),
        (
            "truncate",
            rustix::fs::open(
                &f,
                rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::TRUNC,
                rustix::fs::Mode::empty(),
            )
            .map(drop)
            .map_err(Into::into),
        ),
        ("remove", fs::remove_file(&f)),
        ("mkdir", fs::create_dir(&n)),
        ("rmdir", fs::remove_dir(&d)),
        ("rename", fs::rename(&f, &n)),
        ("link", fs::hard_link(&f, &n)),
        ("symlink", std::os::unix::fs::symlink("f", &n)),
        (
            "chmod",
            fs::set_permissions(&f, fs::Permissions::from_mode(0o600)),
        ),
        ("chown", std::os::unix::fs::chown(&f, Some(1), Some(1))),
    ];
    for (what, result) in attempts {
        let error = result.expect_err(what);
        assert_eq!(error.raw_os_error(), Some(libc::EROFS), "{what}");
    }
    assert_eq!(fs::read(&f).unwrap(), b"content");
}

#[test]
fn permissions_are_enforced_for_others() {
    let stage = Stage::new();
    for (name, mode) in [("open", 0o644), ("closed", 0o600)] {
        fs::write(stage.origin(name), b"content").unwrap();
        fs::set_permissions(stage.origin(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(stage.origin("private")).unwrap();
    fs::write(stage.origin("private/file"), b"content").unwrap();
    fs::set_permissions(stage.origin("private"), fs::Permissions::from_mode(0o700)).unwrap();
    let mounted = stage.mount(Wish::default());
    // Root has read it all: it is in the cache and in the kernel's memory.
    for name in ["open", "closed", "private/file"] {
        assert_eq!(fs::read(mounted.path(name)).unwrap(), b"content");
    }
    let as_nobody = |name: &str| {
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat"])
            .arg(mounted.path(name))
            .output()
            .expect("setpriv (package util-linux) runs as root")
    };
    let open = as_nobody("open");
    assert!(open.status.success(), "{open:?}");
    assert_eq!(open.stdout, b"content");
    for name in ["closed", "private/file"] {
        let refused = as_nobody(name);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && refused.stdout.is_empty());
        assert!(said.contains("Permission denied"), "{said}");
    }
}

#[test]
fn df_shows_the_origins_disk() {
    let stage = Stage::new();
    let mounted = stage.mount(Wish::default());
    let real = rustix::fs::statvfs(stage.origin("")).unwrap();
    let shown = rustix::fs::statvfs(mounted.path("")).unwrap();
    let total = |stat: &rustix::fs::StatVfs| stat.f_blocks * stat.f_frsize;
    assert!(total(&real).abs_diff(total(&shown)) <= 4096);
    assert_eq!(shown.f_namemax, 255);
    assert!(shown.f_bfree * shown.f_frsize <= total(&shown));
}

#[test]
fn hot_files_cost_no_read_requests() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), vec![7; 1 << 20]).unwrap();
    let mounted = stage.mount(Wish::default());
    let path = mounted.path("f");
    // The first settled open drops the pages that might have been provisional; from then on they are kept.
    for _ in 0..3 {
        assert_eq!(fs::read(&path).unwrap().len(), 1 << 20);
    }
    let reads = || {
        let stats = mounted.cache.stats();
        stats.reads_inline + stats.reads_waited
    };
    let before = reads();
    for _ in 0..10 {
        assert_eq!(fs::read(&path).unwrap().len(), 1 << 20);
    }
    assert_eq!(reads(), before, "the kernel's pages serve");
}
