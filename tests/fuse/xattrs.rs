//! The extended attributes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use larder::vfs::Xattr;
use rustix::io::Errno;

use super::cli::rig::wait_until;
use super::mounted::{Stage, Wish};

fn get(path: &Path, name: &str) -> Result<String, Errno> {
    let mut value = Vec::with_capacity(4096);
    rustix::fs::getxattr(path, name, rustix::buffer::spare_capacity(&mut value))?;
    Ok(String::from_utf8(value).unwrap())
}

fn list(path: &Path) -> Vec<String> {
    let mut names: Vec<u8> = Vec::with_capacity(4096);
    rustix::fs::listxattr(path, rustix::buffer::spare_capacity(&mut names)).unwrap();
    let text = String::from_utf8(names).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn what_the_cache_knows_of_a_file_is_shown() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), vec![1; 100_000]).unwrap();
    let mounted = stage.mount(Wish::default());
    let path = mounted.path("f");
    assert_eq!(get(&path, "user.larder.cached-bytes").unwrap(), "0");
    fs::read(&path).unwrap();
    let names = list(&path);
    assert_eq!(names.len(), 6);
    for name in &names {
        assert!(!get(&path, name).unwrap().is_empty(), "{name}");
    }
    assert_eq!(get(&path, "user.larder.tag").unwrap().len(), 32);
    assert_eq!(get(&path, "user.larder.chunk-size").unwrap(), "131072");
    assert_eq!(get(&path, "user.larder.validator-class").unwrap(), "local");
    assert_eq!(get(&path, "user.larder.settled").unwrap(), "yes");
    let validator = get(&path, "user.larder.validator").unwrap();
    assert!(validator.contains("size 100000"), "{validator}");
    wait_until("it is cached", || {
        get(&path, "user.larder.cached-bytes").unwrap() == "100000"
    });

    let mut small = [0u8; 3];
    let too_small = rustix::fs::getxattr(&path, "user.larder.tag", &mut small);
    assert_eq!(too_small, Err(Errno::RANGE));
    assert_eq!(get(&path, "user.other"), Err(Errno::NODATA));
    assert_eq!(get(&path, "user.larder.stats"), Err(Errno::NODATA));
    let flags = rustix::fs::XattrFlags::empty();
    let set = rustix::fs::setxattr(&path, "user.larder.tag", b"x", flags);
    assert!(
        matches!(set, Err(Errno::ROFS | Errno::OPNOTSUPP)),
        "{set:?}"
    );
}

#[test]
fn the_root_shows_the_mount() {
    let stage = Stage::new();
    fs::create_dir(stage.origin("d")).unwrap();
    let mounted = stage.mount(Wish {
        stats: Arc::new(|| "{\"reads\":1}".to_owned()),
        ..Wish::default()
    });
    let root = mounted.path("");
    assert_eq!(list(&root), ["user.larder.stats", "user.larder.cache-dir"]);
    assert_eq!(get(&root, "user.larder.stats").unwrap(), "{\"reads\":1}");
    assert_eq!(
        Path::new(&get(&root, "user.larder.cache-dir").unwrap()),
        stage.path("cache")
    );
    assert!(list(&mounted.path("d")).is_empty());
}

#[test]
fn a_panic_is_one_io_error() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), b"alive").unwrap();
    let mounted = stage.mount(Wish {
        stats: Arc::new(|| panic!("on purpose: a test of what a panic does")),
        ..Wish::default()
    });
    let root = mounted.path("");
    for _ in 0..5 {
        assert_eq!(get(&root, "user.larder.stats"), Err(Errno::IO));
    }
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"alive");
}

/// Reading is for everybody, but only root and the daemon's own user may ask for something to be done.
#[test]
fn requests_are_for_the_daemons_user() {
    let stage = Stage::new();
    fs::write(stage.origin("f"), vec![1; 100_000]).unwrap();
    let mounted = stage.mount(Wish::default());
    let ask = |ino, name: &str, uid| {
        let (tell, told) = std::sync::mpsc::channel();
        let done = move |answer| tell.send(answer).unwrap();
        let vfs = &mounted.vfs;
        vfs.getxattr((ino, uid), name.as_bytes(), 4096, done);
        told.recv().unwrap().map(|answer| match answer {
            Xattr::Value(value) => value,
            Xattr::Length(_) => panic!("a length was not asked for"),
        })
    };
    let start = "user.larder.scrub.start.0";
    let file = fs::metadata(mounted.path("f")).unwrap().ino();
    for (ino, name) in [
        (1, start),
        (1, "user.larder.flush"),
        (1, "user.larder.flush.metadata"),
        (1, "user.larder.set-size.1073741824"),
        (file, "user.larder.evict"),
    ] {
        assert_eq!(ask(ino, name, 12_345), Err(Errno::PERM), "{name}");
    }
    assert_eq!(mounted.cache.stats().scrub.passes, 0);
    assert!(ask(1, start, 0).is_ok());
    assert_eq!(mounted.cache.stats().scrub.passes, 1);
    let only_the_root = ask(file, "user.larder.flush", 0);
    assert_eq!(only_the_root, Err(Errno::NODATA));
    assert_eq!(ask(1, "user.larder.nonsense", 0), Err(Errno::NODATA));
    let told = String::from_utf8(ask(file, "user.larder.evict", 0).unwrap()).unwrap();
    assert!(told.contains("\"chunks\":0"), "{told}");
}

/// getfattr(1) asks for the length first: that must not be the request.
#[test]
fn a_question_for_the_length_does_nothing() {
    let stage = Stage::new();
    let mounted = stage.mount(Wish::default());
    let mut getfattr = std::process::Command::new("getfattr");
    getfattr.args(["-n", "user.larder.scrub.start.0"]);
    let output = getfattr.arg(mounted.path("")).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("passes"), "{told}");
    assert_eq!(mounted.cache.stats().scrub.passes, 1);
}
