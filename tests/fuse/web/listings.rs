//! Servers whose listings say less than nginx's JSON: names alone, nothing at all; and one file as a mount.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::process::Command;

use super::super::cli::rig::{Rig, run, stderr};
use super::super::mounted::content;
use super::files::{
    Names, age_all, hold_open, mount, names, odd_files, same_trees, shown_by_nginx,
};
use super::servers::{Asked, HTML, Server};

/// Names and facts stay what they are, however slow the machine is.
const FOR_EVER: &[&str] = &["--metadata-ttl", "indefinite"];

fn count(asked: &[Asked], method: &str) -> usize {
    asked.iter().filter(|asked| asked.method == method).count()
}

/// How many names `find` shows beneath the mount.
fn find(rig: &Rig, more: &[&str]) -> usize {
    let found = run(Command::new("find")
        .arg(rig.mnt())
        .args(more)
        .arg("-print0"));
    assert!(found.status.success(), "{}", stderr(&found));
    found.stdout.iter().filter(|byte| **byte == 0).count()
}

/// Names come from listings, and facts from questions that are asked when a program does.
fn names_now_facts_later(rig: &Rig, server: &mut Server) {
    age_all(&rig.remote());
    mount(rig, &server.url(), FOR_EVER);
    server.forget();
    let directories = hold_open(&rig.mnt(), Names::Directories);
    let shown = find(rig, &[]);
    let dirs = find(rig, &["-type", "d"]);
    assert_eq!(count(&server.asked(), "HEAD"), 0, "nobody asked for facts");
    assert_eq!(count(&server.asked(), "GET"), dirs);

    let files = hold_open(&rig.mnt(), Names::All);
    assert_eq!(find(rig, &["-size", "-100000000"]), shown);
    let facts = count(&server.asked(), "HEAD");
    assert_eq!(facts, shown - dirs, "each file once");
    let all = same_trees(&rig.remote(), &rig.mnt());
    assert_eq!((all.dirs, all.dirs + all.files), (dirs, shown));
    assert_eq!(count(&server.asked(), "HEAD"), facts, "and no file twice");
    let cold = rig.stats(&rig.mnt())["remote_bytes"].as_u64().unwrap();
    assert_eq!(cold, all.bytes);

    drop((directories, files));
    rig.umount();
    mount(rig, &server.url(), FOR_EVER);
    same_trees(&rig.remote(), &rig.mnt());
    let again = rig.stats(&rig.mnt())["remote_bytes"].as_u64().unwrap();
    assert_eq!(again, 0, "all of it is in the cache after a remount");
    rig.umount();
}

#[test]
fn nginx_with_pages_for_people() {
    let rig = Rig::new();
    odd_files(&rig.remote(), shown_by_nginx);
    let mut server = Server::nginx(&rig.remote(), HTML);
    names_now_facts_later(&rig, &mut server);
}

#[test]
fn python_with_pages_for_people() {
    let rig = Rig::new();
    // A directory with an index is shown as that, and has no listing. A name that is not UTF-8 gets a link under which
    // python3 itself finds nothing.
    odd_files(&rig.remote(), |name| {
        name != b"index.html" && std::str::from_utf8(name).is_ok()
    });
    let mut server = Server::python(&rig.remote());
    names_now_facts_later(&rig, &mut server);
}

fn os_error<T>(result: io::Result<T>) -> Option<i32> {
    result.map(drop).unwrap_err().raw_os_error()
}

#[test]
fn a_server_without_listings_serves_what_is_asked_for() {
    let rig = Rig::new();
    fs::create_dir_all(rig.remote().join("dir/below")).unwrap();
    fs::write(rig.remote().join("dir/below/50% of it"), content(1, 70_000)).unwrap();
    let server = Server::nginx(&rig.remote(), "");
    mount(&rig, &server.url(), &[]);
    // That is what nginx says of a directory that it does not list: 403.
    let listed = fs::read_dir(rig.mnt()).and_then(|mut d| d.next().unwrap());
    assert_eq!(os_error(listed), Some(libc::EACCES));
    let listed = run(Command::new("ls").arg(rig.mnt()));
    assert!(stderr(&listed).contains("Permission denied"), "{listed:?}");
    assert_eq!(
        fs::read(rig.mnt().join("hello")).unwrap(),
        b"hello, larder\n"
    );
    let read = fs::read(rig.mnt().join("dir/below/50% of it")).unwrap();
    assert!(read == content(1, 70_000));
    assert!(fs::metadata(rig.mnt().join("dir")).unwrap().is_dir());
    for missing in ["nothing", "dir/nothing", "hello/within"] {
        let error = os_error(File::open(rig.mnt().join(missing)));
        let honest = [Some(libc::ENOENT), Some(libc::ENOTDIR)];
        assert!(honest.contains(&error), "{missing}: {error:?}");
    }
    rig.umount();
}

#[test]
fn a_directory_with_an_index_page_serves_what_is_asked_for() {
    let rig = Rig::new();
    fs::create_dir(rig.remote().join("site")).unwrap();
    fs::write(
        rig.remote().join("site/index.html"),
        "<html><a href='x'>x</a></html>",
    )
    .unwrap();
    fs::write(rig.remote().join("site/picture"), content(1, 9)).unwrap();
    let server = Server::nginx(&rig.remote(), "autoindex on; autoindex_format json;");
    mount(&rig, &server.url(), &[]);
    assert_eq!(names(&rig.mnt()), names(&rig.remote()));
    let listed = fs::read_dir(rig.mnt().join("site")).and_then(|mut d| d.next().unwrap());
    assert_eq!(os_error(listed), Some(libc::EOPNOTSUPP));
    assert_eq!(
        fs::read(rig.mnt().join("site/picture")).unwrap(),
        content(1, 9)
    );
    rig.umount();
}

#[test]
fn the_url_of_one_file_is_a_mount_of_one_file() {
    let rig = Rig::new();
    let bytes = content(3, 5 << 20);
    fs::write(rig.remote().join("one & only%"), &bytes).unwrap();
    age_all(&rig.remote());
    let mut server = Server::nginx(&rig.remote(), "");
    let url = format!("{}one%20%26%20only%25", server.url());
    for round in 0..2 {
        mount(&rig, &url, &[]);
        assert_eq!(names(&rig.mnt()), ["one & only%"]);
        let path = rig.mnt().join("one & only%");
        let file = File::open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);
        let mut end = [0; 1000];
        file.read_exact_at(&mut end, bytes.len() as u64 - 1000)
            .unwrap();
        assert!(end == bytes[bytes.len() - 1000..]);
        assert!(fs::read(&path).unwrap() == bytes);
        drop(file);
        assert_eq!(
            os_error(File::open(rig.mnt().join("hello"))),
            Some(libc::ENOENT)
        );
        let came = rig.stats(&rig.mnt())["remote_bytes"].as_u64().unwrap();
        assert_eq!(came, if round == 0 { bytes.len() as u64 } else { 0 });
        rig.umount();
    }
    for asked in server.asked() {
        assert!(asked.path.starts_with("/one"), "{asked:?}");
    }
}
