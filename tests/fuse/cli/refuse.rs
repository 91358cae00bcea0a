//! What the program refuses: each time a sentence that names the thing and the way out, an exit code, and nothing touched.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use super::rig::{Rig, larder, refused, run, snapshot};

#[test]
fn what_cannot_be_understood_is_refused_with_the_value_and_the_way_out() {
    let mount = |more: &[&str], words: &[&str]| {
        refused(larder().args(["mount", "/a", "/b"]).args(more), 2, words);
    };
    mount(&["--cache-size", "10X"], &["10X", "--cache-size", "10G"]);
    mount(
        &["--chunk-size", "5M"],
        &["5M", "power of two", "64K", "64M"],
    );
    mount(
        &["--metadata-ttl", "soon"],
        &["soon", "minimal", "indefinite"],
    );
    mount(&["--timeout", "30"], &["'30'", "30s"]);
    mount(&["--timeout", "0s"], &["0s", "1ms"]);
    mount(&["--slow-bandwidth", "0"], &["'0'", "1K"]);
    mount(&["--threads", "0"], &["--threads", "1"]);
    refused(&mut larder(), 2, &["Usage"]);
    refused(larder().arg("mont"), 2, &["mont", "mount"]);
    refused(larder().args(["mount", "/a"]), 2, &["DIR"]);
    let bad_filter = &mut larder();
    bad_filter.env("LARDER_LOG", "=!=").args(["info", "/"]);
    refused(bad_filter, 2, &["LARDER_LOG", "debug"]);
}

#[test]
fn an_unknown_mount_option_is_refused_before_anything_is_made() {
    let rig = Rig::new();
    let mut command = larder();
    command.arg("mount").arg(rig.remote()).arg(rig.mnt());
    command.arg("--cache-dir").arg(rig.cache());
    refused(command.args(["-o", "frobnicate"]), 2, &["frobnicate"]);
    assert!(!rig.cache().join("index.larder").exists());
}

#[test]
fn help_and_version_are_there() {
    for (args, word) in [
        (vec!["--help"], "Exit codes"),
        (vec!["mount", "--help"], "--slow-round-trip"),
        (vec!["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let output = run(larder().args(&args));
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(word), "{args:?}: {text}");
        assert!(!text.contains("--report"), "an internal flag is shown");
    }
}

#[test]
fn a_remote_that_is_none_is_refused() {
    let rig = Rig::new();
    let file = rig.remote().join("hello");
    let file = file.to_str().unwrap();
    for (remote, words) in [
        (
            "s3://bucket/x",
            ["s3://bucket/x", "cannot mount this kind of remote yet"],
        ),
        ("/no/such/remote", ["/no/such/remote", "no such directory"]),
        (file, [file, "not a directory"]),
    ] {
        refused(larder().args(["mount", remote]).arg(rig.mnt()), 6, &words);
    }
    assert!(!rig.is_mounted());
}

#[test]
fn a_mount_point_that_is_none_is_refused() {
    let rig = Rig::new();
    let mount_at = |dir: &Path, words: &[&str]| {
        let mut command = larder();
        command.arg("mount").arg(rig.remote()).arg(dir);
        command.arg("--cache-dir").arg(rig.cache());
        refused(&mut command, 5, words)
    };
    mount_at(&rig.path("absent"), &["absent", "mkdir -p"]);
    mount_at(&rig.remote().join("hello"), &["hello", "not a directory"]);
    fs::create_dir_all(rig.path("full/kept")).unwrap();
    mount_at(&rig.path("full"), &["not empty", "kept", "-o nonempty"]);
    assert!(!rig.cache().exists(), "a refused mount made a cache");
    let mut command = larder();
    command.arg("mount").args([rig.remote(), rig.mnt()]);
    command.arg("--cache-dir").arg(rig.mnt().join("cache"));
    refused(&mut command, 3, &["within the mount point", "--cache-dir"]);
}

#[test]
fn what_a_mount_point_holds_is_covered_only_on_request() {
    let rig = Rig::new();
    fs::write(rig.mnt().join("covered"), "x").unwrap();
    refused(&mut rig.mount_command(), 5, &["not empty", "covered"]);
    let output = run(rig.mount_command().args(["-o", "nonempty"]));
    assert!(output.status.success());
    assert!(rig.mnt().join("hello").exists() && !rig.mnt().join("covered").exists());
    rig.umount();
    assert!(rig.mnt().join("covered").exists());
}

#[test]
fn a_log_that_is_no_file_is_refused_at_once_and_leaves_what_was_there() {
    let rig = Rig::new();
    rig.mount();
    rig.umount();
    let log = rig.cache().join("larder.log");
    fs::remove_file(&log).unwrap();
    assert!(
        run(std::process::Command::new("mkfifo").arg(&log))
            .status
            .success()
    );
    refused(
        &mut rig.mount_command(),
        3,
        &["larder.log", "not a regular file"],
    );
    assert!(!rig.is_mounted() && rig.cache().join("index.larder").exists());
    // In a place where there was no cache, none is left.
    for name in ["index.larder", "LOCK"] {
        fs::remove_file(rig.cache().join(name)).unwrap();
    }
    refused(
        &mut rig.mount_command(),
        3,
        &["larder.log", "not a regular file"],
    );
    let left: Vec<_> = fs::read_dir(rig.cache())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["larder.log"]);
}

#[test]
fn a_directory_that_is_no_cache_is_refused_and_not_touched() {
    let rig = Rig::new();
    fs::create_dir(rig.cache()).unwrap();
    fs::write(rig.cache().join("thesis.tex"), "precious").unwrap();
    let before = snapshot(&rig.cache());
    let cache = rig.cache();
    refused(
        &mut rig.mount_command(),
        3,
        &[cache.to_str().unwrap(), "thesis.tex", "--cache-dir"],
    );
    assert_eq!(snapshot(&rig.cache()), before);
    assert!(!rig.is_mounted());

    fs::remove_file(rig.cache().join("thesis.tex")).unwrap();
    fs::write(
        rig.cache().join("index.larder"),
        "a foreign file in its place",
    )
    .unwrap();
    let before = snapshot(&rig.cache());
    refused(&mut rig.mount_command(), 3, &["index.larder"]);
    assert_eq!(snapshot(&rig.cache()), before);
}

#[test]
fn a_newer_format_is_refused_and_not_touched() {
    let rig = Rig::new();
    rig.mount();
    rig.umount();
    let index = rig.cache().join("index.larder");
    let mut file = fs::File::options().write(true).open(&index).unwrap();
    for copy in [0, 4096] {
        // The major version lies behind magic, checksum and text.
        file.seek(SeekFrom::Start(copy + 16)).unwrap();
        file.write_all(&2u16.to_le_bytes()).unwrap();
    }
    drop(file);
    let before = fs::read(&index).unwrap();
    refused(
        &mut rig.mount_command(),
        3,
        &["format version 2", "--cache-dir"],
    );
    assert!(fs::read(&index).unwrap() == before, "the index was touched");
}

#[test]
fn another_users_cache_is_refused() {
    let rig = Rig::new();
    let me = rustix::process::geteuid();
    let (cache, owner) = match me.is_root() {
        true => {
            rig.mount();
            rig.umount();
            chown(rig.cache(), Some(12345), None).unwrap();
            (rig.cache(), "12345")
        }
        // An ordinary user cannot give a directory away; the root directory is somebody else's already.
        false => (PathBuf::from("/"), "0"),
    };
    let mut command = larder();
    command.arg("mount").args([rig.remote(), rig.mnt()]);
    command.arg("--cache-dir").arg(cache);
    refused(&mut command, 3, &["belongs to user", owner, "--cache-dir"]);
    assert!(!rig.is_mounted());
}

#[test]
fn a_file_elsewhere_has_no_info() {
    let rig = Rig::new();
    let file = rig.remote().join("hello");
    refused(
        larder().arg("info").arg(file),
        1,
        &["does not lie on a larder mount"],
    );
    refused(
        larder().arg("stats").arg(rig.remote()),
        3,
        &["not a larder mount either"],
    );
}
