//! What is different when the remote is a web server.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use larder::engine::{Clock, SystemClock};
use larder::testing::origin::{Etag, Fault, Object, Origin, Settings, When};
use larder::units::ByteRange;

use super::super::cli::rig::{Rig, larder, run, wait_until};
use super::super::mounted::content;
use super::super::tree::fetched;
use super::super::web::files::{
    Names, age, ago, attribute, hold_open, is_logged, mount, names, replace,
};
use super::super::web::servers::{HTML, JSON, Server};
use super::pause;

const LEN: usize = 300_000;
/// Too long to be fetched whole because its first byte was read.
const LONG: usize = 80 << 20;
const ASKING: &[&str] = &["--metadata-ttl", "minimal"];

/// What an object is made into.
type Shape = fn(Object) -> Object;

fn code<T>(result: io::Result<T>) -> Option<i32> {
    result.map(drop).unwrap_err().raw_os_error()
}

fn list(dir: &Path) -> io::Result<Option<OsString>> {
    let first = fs::read_dir(dir)?.next().transpose()?;
    Ok(first.map(|entry| entry.file_name()))
}

/// The one object of an origin, `f`, as it is now.
fn bytes(origin: &Origin) -> Vec<u8> {
    bytes_of(origin, "f")
}

fn bytes_of(origin: &Origin, name: &str) -> Vec<u8> {
    let versions = origin.versions(name);
    let content = &versions.last().unwrap().object.content;
    content.bytes(ByteRange::new(0, content.size())).to_vec()
}

/// W1. larder does not cache a web file whose last change is less than two seconds old by the server's own clock. Such
/// a file is readable all the same.
#[test]
fn w1_young_versions_are_not_kept() {
    let rig = Rig::new();
    let (origin, path) = (rig.remote().join("f"), rig.mnt().join("f"));
    let server = Server::nginx(&rig.remote(), JSON);
    mount(&rig, &server.url(), ASKING);
    // It stays young for an hour, however slow the machine is.
    let soon = SystemTime::UNIX_EPOCH + SystemClock::default().wall() + Duration::from_secs(3600);
    replace(&origin, &content(1, LEN), soon);
    for round in 1..=2 {
        assert!(fs::read(&path).unwrap() == content(1, LEN));
        assert_eq!(attribute(&path, "cached-bytes"), "0");
        assert!(fetched(&rig) >= round * LEN as u64, "it was kept");
    }
    // The same time and size, which is all that nginx tells.
    replace(&origin, &content(2, LEN), soon);
    assert!(fs::read(&path).unwrap() == content(2, LEN));
    fs::write(&origin, content(3, LEN)).unwrap();
    wait_until("it is kept when it is two seconds old", || {
        assert!(fs::read(&path).unwrap() == content(3, LEN));
        attribute(&path, "cached-bytes") == LEN.to_string()
    });
    rig.umount();
}

/// W2. larder identifies a version of a web file by its ETag. Without an ETag, it uses the size and Last-Modified.
/// `larder info` shows which of the two it is, and calls a weak ETag weak.
#[test]
fn w2_info_tells_what_a_version_is_known_by() {
    let shapes: [(Shape, &str); 5] = [
        (|object| object, "strong"),
        (|object| object.with_etag(Etag::Nginx), "time-etag"),
        (|object| object.with_etag(Etag::Weak), "weak-etag"),
        (|object| object.with_etag(Etag::Absent), "last-modified"),
        (
            |object| object.with_etag(Etag::Absent).without_modified(),
            "stamp",
        ),
    ];
    let rig = Rig::new();
    let origin = Origin::start(1).unwrap();
    for (shape, class) in shapes {
        origin.put(class, shape(Object::seeded(1, 5000)));
    }
    mount(&rig, &origin.url(), ASKING);
    for (shape, class) in shapes {
        let path = rig.mnt().join(class);
        let old = fs::read(&path).unwrap();
        let info = run(larder().arg("info").arg(&path)).stdout;
        let info = String::from_utf8(info).unwrap();
        let line = info.lines().find(|line| line.contains("validator-class"));
        assert!(line.unwrap().ends_with(class), "{info}");
        origin.put(class, shape(Object::seeded(2, 5000)));
        assert_eq!(fs::read(&path).unwrap() != old, class != "stamp", "{class}");
    }
    rig.umount();
}

/// W3. If the server sends neither ETag nor Last-Modified for a web file, larder fetches the file whole, in one
/// response. It uses this copy until the file's size changes or `--unvalidated-ttl` (default: one hour) ends.
#[test]
fn w3_without_a_validator_one_answer_is_a_version() {
    let object = |seed, len| {
        let object = Object::seeded(seed, len).with_etag(Etag::Absent);
        object.without_modified()
    };
    let rig = Rig::new();
    let (path, origin) = (rig.mnt().join("f"), Origin::start(1).unwrap());
    let len = 8 << 20;
    origin.put("f", object(1, len));
    let old = bytes(&origin);
    mount(&rig, &origin.url(), ASKING);
    File::open(&path)
        .unwrap()
        .read_exact_at(&mut [0], 0)
        .unwrap();
    assert!(fs::read(&path).unwrap() == old);
    assert_eq!(fetched(&rig), len, "all of it came, once");
    origin.put("f", object(2, len));
    assert!(fs::read(&path).unwrap() == old);
    origin.put("f", object(3, len + 1));
    assert!(fs::read(&path).unwrap() == bytes(&origin));
    rig.umount();
    let more = ["--metadata-ttl", "minimal", "--unvalidated-ttl", "2s"];
    pause(2100);
    mount(&rig, &origin.url(), &more);
    origin.put("f", object(4, len + 1));
    assert!(fs::read(&path).unwrap() == bytes(&origin));
    rig.umount();
}

/// W4. If a server ignores range requests, larder fetches a file whole and only once, however many programs read it and
/// whichever parts they read. The log says so once.
#[test]
fn w4_a_server_without_ranges_is_read_once() {
    let rig = Rig::new();
    let data = content(1, 8 << 20);
    for name in ["f", "g"] {
        fs::write(rig.remote().join(name), &data).unwrap();
        age(&rig.remote().join(name), 60);
    }
    let server = Server::python(&rig.remote());
    mount(&rig, &server.url(), &[]);
    std::thread::scope(|scope| {
        for reader in 0..8 {
            let (rig, data) = (&rig, &data);
            scope.spawn(move || {
                let name = ["f", "g"][reader % 2];
                let file = File::open(rig.mnt().join(name)).unwrap();
                for at in (0..16).map(|n| (n * 11 + reader * 5) % 16 * (data.len() / 16)) {
                    let mut part = [0; 1000];
                    file.read_exact_at(&mut part, at as u64).unwrap();
                    assert!(part == data[at..at + 1000]);
                }
            });
        }
    });
    assert_eq!(fetched(&rig), 2 * data.len() as u64);
    assert!(is_logged(&rig, "ignores range requests", 1));
    rig.umount();
}

/// W5. larder trusts a listing that gives exact sizes and times (nginx's JSON, dufs). With such a listing, `find` and
/// `ls -l` cost one request for each directory. From any other listing larder takes only the names, and asks for a
/// file's size and time when a program does.
#[test]
fn w5_exact_listings_are_believed() {
    let rig = Rig::new();
    fs::create_dir(rig.remote().join("d")).unwrap();
    for n in 0..50 {
        fs::write(rig.remote().join(format!("d/{n}")), "x").unwrap();
    }
    let files = 50 + names(&rig.remote()).len() - 1;
    let servers = [
        (Server::nginx(&rig.remote(), JSON), 0),
        (Server::dufs(&rig.remote()), 0),
        (Server::nginx(&rig.remote(), HTML), files),
        (Server::python(&rig.remote()), files),
    ];
    for (mut server, asked_for) in servers {
        mount(&rig, &server.url(), &["--metadata-ttl", "indefinite"]);
        server.forget();
        let directories = hold_open(&rig.mnt(), Names::Directories);
        let find = |more: &[&str]| {
            let found = run(Command::new("find").arg(rig.mnt()).args(more)).stdout;
            assert_eq!(String::from_utf8(found).unwrap().lines().count(), files + 2);
        };
        find(&[]);
        assert_eq!(server.asked().len(), 2, "{}", server.url());
        let files = hold_open(&rig.mnt(), Names::All);
        find(&["-size", "-99999999"]);
        let listed = run(Command::new("ls").arg("-lR").arg(rig.mnt()));
        assert!(listed.status.success());
        assert_eq!(server.asked().len(), 2 + asked_for, "{}", server.url());
        drop((directories, files));
        rig.umount();
    }
}

/// W6. If a web file changes, but neither its size nor the ETag or time by which larder identifies its version (W2)
/// changes, larder cannot detect the change. After such a change, a program reads old bytes where larder has the file
/// cached, for as long as they stay cached. Elsewhere in the file it reads new bytes.
#[test]
fn w6_a_change_that_keeps_size_and_time_is_not_seen() {
    for directives in [JSON.to_owned(), format!("etag off; {JSON}")] {
        let rig = Rig::new();
        let (origin, path) = (rig.remote().join("f"), rig.mnt().join("f"));
        let (old, new) = (content(1, LONG), content(2, LONG));
        let hour = ago(3600);
        replace(&origin, &old, hour);
        let server = Server::nginx(&rig.remote(), &directives);
        mount(&rig, &server.url(), ASKING);
        let mut part = [0; 4096];
        let file = File::open(&path).unwrap();
        file.read_exact_at(&mut part, 0).unwrap();
        drop(file);
        replace(&origin, &new, hour);
        let file = File::open(&path).unwrap();
        file.read_exact_at(&mut part, 0).unwrap();
        assert!(part == old[..4096], "cached");
        file.read_exact_at(&mut part, LONG as u64 - 4096).unwrap();
        assert!(part == new[LONG - 4096..], "not cached");
        drop(file);
        // A time that is younger by a second is enough.
        replace(&origin, &new, hour + Duration::from_secs(1));
        assert!(fs::read(&path).unwrap() == new);
        rig.umount();
    }
}

/// W7. If a change shows only in the ETag, larder does not find it in a listing. The first open after the TTL of the
/// listing finds it.
#[test]
fn w7_listings_tell_no_etags() {
    let rig = Rig::new();
    let (path, origin) = (rig.mnt().join("f"), Origin::start(1).unwrap());
    let put = |seed| {
        let object = Object::seeded(seed, LEN as u64);
        origin.put("f", object.modified_at(1_600_000_000));
    };
    put(1);
    let old = bytes(&origin);
    mount(&rig, &origin.url(), &["--metadata-ttl", "1s"]);
    assert!(fs::read(&path).unwrap() == old);
    rig.umount();
    put(2);
    // A listing that is believed for as long as the test takes.
    mount(&rig, &origin.url(), &["--metadata-ttl", "indefinite"]);
    assert_eq!(names(&rig.mnt()), ["f"]);
    for _ in 0..2 {
        assert!(fs::read(&path).unwrap() == old);
    }
    rig.umount();
    mount(&rig, &origin.url(), &["--metadata-ttl", "1s"]);
    assert_eq!(names(&rig.mnt()), ["f"]);
    wait_until("the listing's time is over", || {
        fs::read(&path).unwrap() == bytes(&origin)
    });
    rig.umount();
}

/// W8. A web server that refuses connections, breaks them off or answers 5xx counts as unreachable. Cached data stays
/// readable, and everything else fails with EIO after `--timeout` at the latest.
#[test]
fn w8_a_web_server_in_trouble_is_unreachable() {
    let rig = Rig::new();
    for (seed, name) in [(1, "cached"), (2, "other")] {
        fs::write(rig.remote().join(name), content(seed, LEN)).unwrap();
        age(&rig.remote().join(name), 60);
    }
    let mut server = Server::nginx(&rig.remote(), JSON);
    let more = ["--metadata-ttl", "minimal", "--timeout", "1s"];
    mount(&rig, &server.url(), &more);
    // It tells that the other one's timeout was it that ended the wait.
    let patient = Rig::new();
    mount(&patient, &server.url(), &["--timeout", "1h"]);
    let (cached, other) = (rig.mnt().join("cached"), rig.mnt().join("other"));
    becomes(&cached, &content(1, LEN));
    server.stop();
    becomes(&cached, &content(1, LEN));
    let mut waiting = Command::new("cat");
    waiting.arg(patient.mnt().join("other"));
    let mut waiting = waiting.spawn().unwrap();
    assert_eq!(code(fs::read(&other)), Some(libc::EIO));
    assert_eq!(waiting.try_wait().unwrap(), None, "it was not the timeout");
    // The kernel lets nobody go whose question for a name is on its way: the answer does.
    waiting.kill().unwrap();
    server.start();
    waiting.wait().unwrap();
    becomes(&other, &content(2, LEN));
    rig.umount();

    for fault in [Fault::Cut { at: 100 }, Fault::Status(503, None)] {
        let (rig, origin) = (Rig::new(), Origin::start(1).unwrap());
        for name in ["cached", "other"] {
            origin.put(name, Object::seeded(1, LEN as u64));
        }
        mount(&rig, &origin.url(), &more);
        let (cached, other) = (rig.mnt().join("cached"), rig.mnt().join("other"));
        let right = bytes_of(&origin, "cached");
        becomes(&cached, &right);
        origin.fault(fault, When::always());
        becomes(&cached, &right);
        assert_eq!(code(fs::read(&other)), Some(libc::EIO));
        origin.calm();
        becomes(&other, &right);
        rig.umount();
    }
}

/// Waits until a file is read, wholly and from the cache the next time. Where the timeout is short, the disk or the server
/// of a busy machine may be too late for it; what is read is never wrong.
fn becomes(path: &Path, right: &[u8]) {
    wait_until("it is read, and kept", || {
        fs::read(path).is_ok_and(|read| {
            assert!(read == right, "wrong bytes of {}", path.display());
            attribute(path, "cached-bytes") == right.len().to_string()
        })
    });
}

/// W9. If the server answers 404 or 410, the web file counts as deleted (ENOENT). If it answers 401 or 403, the file
/// counts as forbidden (EACCES).
#[test]
fn w9_deleted_and_forbidden_are_told_apart() {
    let rig = Rig::new();
    let answers = [
        (404, libc::ENOENT),
        (410, libc::ENOENT),
        (401, libc::EACCES),
        (403, libc::EACCES),
    ];
    let origin = Origin::start(1).unwrap();
    for (status, _) in answers {
        origin.put(&status.to_string(), Object::seeded(1, 5000));
    }
    mount(&rig, &origin.url(), ASKING);
    for (status, errno) in answers {
        let (name, path) = (status.to_string(), rig.mnt().join(status.to_string()));
        assert_eq!(fs::read(&path).unwrap().len(), 5000);
        origin.fault(Fault::Status(status, None), When::always().path(&name));
        assert_eq!(code(fs::read(&path)), Some(errno), "{status}");
    }
    rig.umount();
}

/// W10. `ls` of a directory fails with EOPNOTSUPP if the web server answers with something other than a listing. It
/// fails with EACCES if the server forbids the listing. The files in the directory can still be used by name.
#[test]
fn w10_an_unlisted_directory_serves_by_name() {
    let rig = Rig::new();
    fs::create_dir_all(rig.remote().join("site/below")).unwrap();
    fs::write(rig.remote().join("site/index.html"), "<p>Welcome</p>").unwrap();
    fs::write(rig.remote().join("site/below/f"), "f").unwrap();
    let server = Server::nginx(&rig.remote(), "");
    mount(&rig, &server.url(), &[]);
    for (dir, errno) in [
        ("site", libc::EOPNOTSUPP),
        ("site/below", libc::EACCES),
        ("", libc::EACCES),
    ] {
        assert_eq!(code(list(&rig.mnt().join(dir))), Some(errno), "{dir}");
    }
    assert_eq!(fs::read(rig.mnt().join("site/below/f")).unwrap(), b"f");
    assert!(fs::metadata(rig.mnt().join("site/below")).unwrap().is_dir());
    assert_eq!(
        code(fs::metadata(rig.mnt().join("site/g"))),
        Some(libc::ENOENT)
    );
    rig.umount();
}

/// W11. larder follows redirects to other servers, but never sends passwords and headers there. If another server
/// redirects larder back to the mounted server, larder leaves passwords and headers out of that request too. Passwords
/// and headers are neither in the cache nor in the log.
#[test]
fn w11_secrets_stay_with_their_server() {
    const SECRET: &str = "geheim-7f3a";
    let (rig, origin) = (Rig::new(), Origin::start(1).unwrap());
    origin.put("f", Object::seeded(1, LEN as u64));
    origin.set(Settings {
        required: Some(("x-key".into(), SECRET.into())),
        ..Settings::default()
    });
    let header = format!("X-Key: {SECRET}");
    mount(&rig, &origin.url(), &["--header", &header]);
    origin.fault(Fault::RedirectElsewhere, When::always().path("f"));
    assert!(fs::read(rig.mnt().join("f")).unwrap() == bytes(&origin));
    let (there, here): (Vec<_>, Vec<_>) =
        origin.log().into_iter().partition(|asked| asked.elsewhere);
    assert!(!there.is_empty() && there.iter().all(|asked| !asked.authorized));
    assert!(here.iter().all(|asked| asked.authorized));
    // A request that another server sends back has no password, and is refused.
    origin.put("back", Object::seeded(2, LEN as u64));
    origin.fault(Fault::RedirectBack, When::always().path("back"));
    assert_eq!(code(fs::read(rig.mnt().join("back"))), Some(libc::EACCES));
    let log = origin.log();
    let back: Vec<_> = log.iter().filter(|asked| asked.name == "back").collect();
    let came: Vec<_> = back.iter().filter(|asked| asked.fault.is_none()).collect();
    assert!(!came.is_empty() && back.iter().any(|asked| asked.elsewhere));
    assert!(
        came.iter()
            .all(|asked| !asked.authorized && asked.status == 401)
    );
    rig.umount();
    let found = run(Command::new("grep")
        .args(["-rlaF", SECRET])
        .arg(rig.cache()));
    assert_eq!(found.status.code(), Some(1), "{found:?}");
}

/// W12. Web files have mode 444 and directories 555. The user who mounted owns all of them. Times are in whole seconds.
/// A link appears as the file or directory that it leads to.
#[test]
fn w12_attributes_are_few() {
    let rig = Rig::new();
    fs::create_dir(rig.remote().join("d")).unwrap();
    symlink("hello", rig.remote().join("link")).unwrap();
    symlink("d", rig.remote().join("link-to-d")).unwrap();
    let me = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    for listing in [JSON, HTML] {
        let server = Server::nginx(&rig.remote(), listing);
        mount(&rig, &server.url(), &[]);
        for (name, mode) in [
            ("hello", 0o100_444),
            ("link", 0o100_444),
            ("d", 0o040_555),
            ("link-to-d", 0o040_555),
        ] {
            let shown = fs::symlink_metadata(rig.mnt().join(name)).unwrap();
            let is = fs::metadata(rig.remote().join(name)).unwrap();
            assert_eq!(shown.mode(), mode, "{name}");
            assert_eq!((shown.uid(), shown.gid()), me);
            assert_eq!(shown.mtime_nsec(), 0);
            if is.is_file() {
                assert_eq!((shown.len(), shown.mtime()), (is.len(), is.mtime()));
            }
        }
        assert_eq!(names(&rig.mnt()), names(&rig.remote()));
        assert_eq!(
            fs::read(rig.mnt().join("link")).unwrap(),
            b"hello, larder\n"
        );
        rig.umount();
    }
}

/// W13. A file that the web server's listing hides can still be used by its name. larder leaves names that no file can
/// have (`..`, or a name with `/` in it) out of a directory, and logs them.
#[test]
fn w13_hidden_and_impossible_names() {
    let rig = Rig::new();
    fs::write(rig.remote().join(".hidden"), "hidden").unwrap();
    fs::create_dir(rig.remote().join("made")).unwrap();
    let page = r#"[
        { "name":"a/b", "type":"file", "mtime":"Sat, 21 Nov 2020 09:48:03 GMT", "size":1 },
        { "name":"..", "type":"file", "mtime":"Sat, 21 Nov 2020 09:48:03 GMT", "size":1 },
        { "name":"good", "type":"file", "mtime":"Sat, 21 Nov 2020 09:48:03 GMT", "size":1 }
    ]"#;
    fs::write(rig.remote().join("made/listing.json"), page).unwrap();
    let directives =
        "index listing.json; autoindex on; autoindex_format json; default_type application/json;";
    let server = Server::nginx(&rig.remote(), directives);
    mount(&rig, &server.url(), &["--metadata-ttl", "indefinite"]);
    assert_eq!(names(&rig.mnt().join("made")), ["good"]);
    assert!(is_logged(&rig, "cannot be shown", 2));
    for listed in [false, true] {
        let hidden = fs::read(rig.mnt().join(".hidden")).unwrap();
        assert_eq!(hidden, b"hidden", "listed before: {listed}");
        assert!(!names(&rig.mnt()).contains(&".hidden".into()));
    }
    let gone = fs::read(rig.mnt().join(".gone")).unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
    rig.umount();
}

/// W14. larder follows a redirect to an address of this machine (loopback), or of its network link (such as a cloud
/// metadata service), only if the server that sends it has an address of the same kind. If any other server sends such
/// a redirect, the access fails with EIO, and the log names the address.
#[test]
fn w14_redirects_lead_to_nothing_that_only_this_machine_can_ask() {
    let (rig, origin) = (Rig::new(), Origin::start(1).unwrap());
    for name in ["f", "g"] {
        origin.put(name, Object::seeded(1, LEN as u64));
    }
    mount(&rig, &origin.url(), &[]);
    // The origin is at 127.0.0.1: it may lead to this machine, and not to the link.
    origin.fault(Fault::RedirectElsewhere, When::always().path("f"));
    let metadata = "http://169.254.169.254/latest/meta-data/";
    origin.fault(Fault::RedirectTo(metadata), When::always().path("g"));
    assert!(fs::read(rig.mnt().join("f")).unwrap() == bytes(&origin));
    assert_eq!(code(fs::read(rig.mnt().join("g"))), Some(libc::EIO));
    is_logged(&rig, "it redirects to 169.254.169.254", 1);
    rig.umount();
}

/// W15. If the web server answers 429 to a request for a file, the program that reads this file waits as long as the
/// server asks. If that is longer than `--timeout`, the access fails with EIO. All other files stay readable, at a
/// slower pace until the server keeps up again.
#[test]
fn w15_one_who_is_to_wait_holds_up_no_other() {
    let (rig, origin) = (Rig::new(), Origin::start(1).unwrap());
    for name in ["cached", "f", "told", "waits"] {
        origin.put(name, Object::seeded(1, LEN as u64));
    }
    mount(&rig, &origin.url(), &["--timeout", "40s"]);
    let read = |name: &str| fs::read(rig.mnt().join(name));
    assert!(read("cached").unwrap() == bytes(&origin));
    let told = |seconds| Fault::Status(429, Some(seconds));
    origin.fault(told("60"), When::always().path("told"));
    origin.fault(told("1"), When::nth(1).path("waits"));
    assert_eq!(code(read("told")), Some(libc::EIO));
    let asked = origin.log().len();
    assert_eq!(code(read("told")), Some(libc::EIO));
    assert_eq!(
        origin.log().len(),
        asked,
        "it was asked again before the time"
    );
    for name in ["f", "cached", "waits"] {
        assert!(read(name).unwrap() == bytes(&origin), "{name}");
    }
    rig.umount();
}
