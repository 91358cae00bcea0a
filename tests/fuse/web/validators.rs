//! Servers that say little of their versions: what is kept over a remount, what `larder info` shows, and
//! that two requests never bring bytes of two versions.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use larder::testing::Rng;
use larder::testing::origin::{Content, Etag, Listing, Object, Origin, Settings};
use larder::units::ByteRange;

use super::super::cli::rig::{Rig, larder, run};
use super::super::mounted::content;
use super::super::tree::fetched;
use super::files::{age, ago, attribute, is_logged, mount, names, replace};
use super::servers::{HTML, JSON, Server};

const LEN: usize = 8 << 20;
/// Too long to be fetched whole because its first byte was read.
const LONG: usize = 80 << 20;

fn info(path: &Path) -> String {
    let output = run(larder().arg("info").arg(path));
    String::from_utf8(output.stdout).unwrap()
}

fn errno(result: std::io::Result<()>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

/// Reads the file `f` of a mount whole, twice, and again after remounts, which brings nothing.
///
/// Where a listing tells times and answers do not, the first request of a remount has to tell the version.
fn comes_once(rig: &Rig, url: &str, bytes: &[u8], class: &str, first_tells: bool) {
    let path = rig.mnt().join("f");
    let len = bytes.len() as u64;
    let first = if first_tells { len / 4 } else { 0 };
    for (brings, lists) in [(len..=len, true), (0..=0, false), (0..=first, true)] {
        mount(rig, url, &[]);
        if lists {
            // What the listing says of the file is what is known of it then.
            assert!(names(&rig.mnt()).contains(&"f".into()));
        }
        for _ in 0..2 {
            assert!(fs::read(&path).unwrap() == bytes);
        }
        let came = fetched(rig);
        assert!(brings.contains(&came), "{class}: {came} bytes");
        assert_eq!(attribute(&path, "validator-class"), class);
        assert_eq!(attribute(&path, "settled"), "yes");
        assert!(info(&path).contains(class), "{}", info(&path));
        rig.umount();
    }
}

#[test]
fn nginx_without_etags_is_known_by_time_and_size() {
    let rig = Rig::new();
    let origin = rig.remote().join("f");
    for (listing, seed) in [(JSON, 1), (HTML, 2)] {
        let server = Server::nginx(&rig.remote(), &format!("etag off; {listing}"));
        fs::write(&origin, content(seed, LEN)).unwrap();
        age(&origin, 3600);
        comes_once(
            &rig,
            &server.url(),
            &content(seed, LEN),
            "last-modified",
            false,
        );
    }

    let server = Server::nginx(&rig.remote(), &format!("etag off; {JSON}"));
    // A younger time is refused by the condition, and an older one shows in the answer.
    for age_of_new in [1800, 7200] {
        fs::write(&origin, content(1, LONG)).unwrap();
        age(&origin, 3600);
        mount(&rig, &server.url(), &[]);
        let new = content(2, LONG);
        changes_between_two_requests(&rig, &content(1, LONG), &new, || {
            replace(&origin, &new, ago(age_of_new));
        });
        rig.umount();
    }
}

/// A handle that has read the start of `f` gets nothing of what the file became, and a new open gets that alone.
fn changes_between_two_requests(rig: &Rig, old: &[u8], new: &[u8], change: impl FnOnce()) {
    let path = rig.mnt().join("f");
    let file = File::open(&path).unwrap();
    let mut head = [0; 4096];
    file.read_exact_at(&mut head, 0).unwrap();
    assert!(head == old[..4096]);
    change();
    let mut tail = [0; 4096];
    let end = old.len() as u64 - 4096;
    assert_eq!(
        errno(file.read_exact_at(&mut tail, end)),
        Some(libc::ESTALE)
    );
    file.read_exact_at(&mut head, 0).unwrap();
    assert!(head == old[..4096], "what was cached stays");
    assert!(
        fs::read(&path).unwrap() == new,
        "a new open sees the new version"
    );
}

/// An origin with one file `f`, in versions with bytes from 1, 2, ...
struct OneFile {
    origin: Origin,
    shape: fn(Object) -> Object,
}

impl OneFile {
    fn new(shape: fn(Object) -> Object, listing: Listing, len: usize) -> Self {
        let origin = Origin::start(7).unwrap();
        origin.set(Settings {
            listing,
            ..Settings::default()
        });
        let this = Self { origin, shape };
        this.put(len);
        this
    }

    /// Puts the next version.
    fn put(&self, len: usize) {
        let number = self.origin.versions("f").len() as u64 + 1;
        let object = Object::seeded(number, len as u64);
        self.origin.put("f", (self.shape)(object));
    }

    fn tells_modified(&self) -> bool {
        self.origin.versions("f")[0].object.tells_modified
    }

    fn bytes(&self) -> Vec<u8> {
        let versions = self.origin.versions("f");
        let content: &Content = &versions.last().unwrap().object.content;
        content.bytes(ByteRange::new(0, content.size())).to_vec()
    }
}

/// The file comes once, whatever listings say, and a change between two requests is no mixture.
fn is_kept_and_not_mixed(shape: fn(Object) -> Object, class: &str) {
    for listing in [Listing::NginxJson, Listing::Html] {
        let file = OneFile::new(shape, listing, LEN);
        let first_tells = listing == Listing::NginxJson && !file.tells_modified();
        let bytes = file.bytes();
        comes_once(&Rig::new(), &file.origin.url(), &bytes, class, first_tells);
    }
    let file = OneFile::new(shape, Listing::NginxJson, LONG);
    let rig = Rig::new();
    mount(&rig, &file.origin.url(), &["--metadata-ttl", "minimal"]);
    let old = file.bytes();
    let mut new = OneFile::new(shape, Listing::NginxJson, LONG);
    new.put(LONG);
    let bytes = new.bytes();
    changes_between_two_requests(&rig, &old, &bytes, || file.put(LONG));
    new = file;
    assert!(new.bytes() == bytes, "the same versions");
    rig.umount();
}

#[test]
fn weak_etags_are_versions_and_flagged() {
    is_kept_and_not_mixed(|object| object.with_etag(Etag::Weak), "weak-etag");
}

#[test]
fn weak_etags_without_times_are_versions() {
    let shape = |object: Object| object.with_etag(Etag::Weak).without_modified();
    is_kept_and_not_mixed(shape, "weak-etag");
}

#[test]
fn strong_etags_without_times_are_versions() {
    is_kept_and_not_mixed(Object::without_modified, "strong");
}

#[test]
fn what_has_no_validator_is_one_response() {
    let shape = |object: Object| object.with_etag(Etag::Absent).without_modified();
    for listing in [Listing::NginxJson, Listing::Html] {
        let file = OneFile::new(shape, listing, LEN);
        let rig = Rig::new();
        comes_once(&rig, &file.origin.url(), &file.bytes(), "stamp", false);
        assert!(is_logged(&rig, "sends neither ETag nor Last-Modified", 1));
        // Nobody can tell that it changed, for an hour.
        let old = file.bytes();
        file.put(LEN);
        mount(&rig, &file.origin.url(), &["--metadata-ttl", "minimal"]);
        assert!(fs::read(rig.mnt().join("f")).unwrap() == old);
        // Its size does tell.
        file.put(LEN + 1);
        assert!(fs::read(rig.mnt().join("f")).unwrap() == file.bytes());
        rig.umount();
        file.put(LEN + 1);
        let more = ["--metadata-ttl", "minimal", "--unvalidated-ttl", "1s"];
        mount(&rig, &file.origin.url(), &more);
        std::thread::sleep(Duration::from_millis(1100));
        assert!(fs::read(rig.mnt().join("f")).unwrap() == file.bytes());
        rig.umount();
    }
}

#[test]
fn a_file_without_validator_that_changes_is_not_mixed() {
    let shape = |object: Object| object.with_etag(Etag::Absent).without_modified();
    let file = OneFile::new(shape, Listing::NginxJson, LONG);
    let rig = Rig::new();
    mount(&rig, &file.origin.url(), &["--metadata-ttl", "minimal"]);
    let old = file.bytes();
    let handle = File::open(rig.mnt().join("f")).unwrap();
    let mut part = [0; 4096];
    handle.read_exact_at(&mut part, 0).unwrap();
    file.put(LONG);
    let new = file.bytes();
    // One response brought all of it; another is another version.
    let mut rng = Rng::new(1);
    for _ in 0..200 {
        let at = rng.index(LONG / 4096) * 4096;
        handle.read_exact_at(&mut part, at as u64).unwrap();
        assert!(part == old[at..at + 4096], "{}", part == new[at..at + 4096]);
    }
    assert_eq!(fetched(&rig), LONG as u64);
    drop(handle);
    rig.umount();
}

#[test]
fn a_server_that_ignores_ranges_is_read_once() {
    let rig = Rig::new();
    let bytes = content(1, 3 * LEN);
    fs::write(rig.remote().join("f"), &bytes).unwrap();
    age(&rig.remote().join("f"), 3600);
    let mut server = Server::python(&rig.remote());
    mount(&rig, &server.url(), &[]);
    server.forget();
    let path = rig.mnt().join("f");
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (path, bytes) = (&path, &bytes);
            scope.spawn(move || {
                let file = File::open(path).unwrap();
                let mut rng = Rng::new(seed);
                let mut part = [0; 4096];
                for _ in 0..300 {
                    let at = rng.index(bytes.len() / 4096) * 4096;
                    file.read_exact_at(&mut part, at as u64).unwrap();
                    assert!(part == bytes[at..at + 4096]);
                }
            });
        }
    });
    assert_eq!(fetched(&rig), bytes.len() as u64, "it came once");
    let gets = server
        .asked()
        .iter()
        .filter(|asked| asked.method == "GET")
        .count();
    assert!(gets <= 9, "{gets} requests for the file and a listing");
    assert!(is_logged(&rig, "ignores range requests", 1));
    rig.umount();
    comes_nothing(&rig, &server, &bytes);
}

/// After a remount all of `f` is in the cache.
fn comes_nothing(rig: &Rig, server: &Server, bytes: &[u8]) {
    mount(rig, &server.url(), &[]);
    assert!(fs::read(rig.mnt().join("f")).unwrap() == bytes);
    assert_eq!(fetched(rig), 0);
    rig.umount();
}

#[test]
fn an_honest_origin_is_asked_for_each_block_once() {
    let file = OneFile::new(|object| object, Listing::NginxJson, LEN);
    let rig = Rig::new();
    comes_once(&rig, &file.origin.url(), &file.bytes(), "strong", false);
    let sent: u64 = file
        .origin
        .log()
        .iter()
        .filter(|asked| asked.name == "f")
        .map(|asked| asked.body_bytes)
        .sum();
    assert_eq!(sent, LEN as u64);
}

/// A listing tells size and time, and neither of them tells that the file has changed.
#[test]
fn a_change_that_the_etag_alone_tells_is_seen_after_the_ttl() {
    let shape = |object: Object| object.modified_at(1_600_000_000);
    for lists in [false, true] {
        for remounts in [false, true] {
            let file = OneFile::new(shape, Listing::NginxJson, LEN);
            let rig = Rig::new();
            let path = rig.mnt().join("f");
            let look = || {
                if lists {
                    assert_eq!(names(&rig.mnt()), ["f"]);
                }
                fs::read(&path).unwrap()
            };
            let more = ["--metadata-ttl", "1s"];
            mount(&rig, &file.origin.url(), &more);
            assert!(look() == file.bytes());
            if remounts {
                rig.umount();
                mount(&rig, &file.origin.url(), &more);
                assert!(look() == file.bytes());
            }
            file.put(LEN);
            std::thread::sleep(Duration::from_millis(1100));
            let now = fs::read(&path).unwrap();
            assert!(now == file.bytes(), "lists {lists}, remounts {remounts}");
            rig.umount();
        }
    }
}
