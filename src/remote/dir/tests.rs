//! The directory remote against real directories.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::remote::{DirRemote, DirSettings};
use super::tree::{WallClock, remote_error};
use crate::remote::api::{Entry, Remote, RemoteError, Room, Sink, list_whole};
use crate::remote::slow::{SlowRemote, SlowSettings};
use crate::units::{ByteRange, Facts, FileKind, ObjectName};

/// A sink that remembers.
#[derive(Default)]
struct Kept {
    versions: Vec<(Facts, bool)>,
    data: Vec<u8>,
    pieces: usize,
}

impl Sink for Kept {
    fn whole(&mut self) -> bool {
        true
    }

    fn version(&mut self, facts: &Facts, settled: bool) -> Result<(), RemoteError> {
        assert!(self.data.is_empty(), "the version comes before the data");
        self.versions.push((facts.clone(), settled));
        Ok(())
    }
    fn data(&mut self, bytes: Bytes) {
        self.pieces += 1;
        self.data.extend_from_slice(&bytes);
    }
}

/// A clock that runs `ahead` of the machine's.
#[expect(
    clippy::disallowed_methods,
    reason = "the files of the tests get the machine's time"
)]
fn clock(ahead: u64) -> WallClock {
    Arc::new(move || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap() + Duration::from_secs(ahead)
    })
}

fn run<T>(question: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(question)
}

fn open(root: &Path, ahead: u64) -> DirRemote {
    DirRemote::open(root, DirSettings::new(clock(ahead))).unwrap()
}

fn name(path: &str) -> ObjectName {
    ObjectName::new(path.as_bytes())
}

#[test]
fn names_are_bytes_and_links_are_links() {
    let dir = tempfile::tempdir().unwrap();
    let odd: [&[u8]; 4] = [&[b'n'; 255], b"new\nline", b"\xff\xfe\x80", b" -rf * "];
    for name in odd {
        fs::write(dir.path().join(OsStr::from_bytes(name)), b"content").unwrap();
    }
    symlink("/etc/passwd", dir.path().join("link")).unwrap();
    let remote = open(dir.path(), 0);
    let listed = run(list_whole(&remote, &ObjectName::root())).unwrap();
    assert_eq!(listed.len(), 5);
    for entry in listed.iter() {
        let asked = run(remote.stat(&ObjectName::new(entry.name.clone()))).unwrap();
        assert_eq!(Some(&asked), entry.listed.facts());
    }
    assert!(odd.iter().all(|o| listed.iter().any(|e| *e.name == **o)));
    assert_eq!(
        run(remote.read_link(&name("link"))).unwrap(),
        b"/etc/passwd"
    );
    assert_eq!(
        run(remote.stat(&name("link"))).unwrap().kind,
        FileKind::Symlink
    );
    let fetched = run(remote.fetch(
        &name("link"),
        ByteRange::new(0, 4),
        None,
        &mut Kept::default(),
    ));
    assert!(
        matches!(fetched, Err(RemoteError::WrongKind)),
        "{fetched:?}"
    );
}

#[test]
fn a_range_comes_in_order_and_with_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_000_000u32)
        .map(|i| i.to_le_bytes()[i as usize % 3])
        .collect();
    fs::write(dir.path().join("f"), &content).unwrap();
    let remote = open(dir.path(), 10);
    let mut kept = Kept::default();
    let range = ByteRange::new(500_000, 2_900_001);
    run(remote.fetch(&name("f"), range, None, &mut kept)).unwrap();
    assert_eq!(kept.data, content[500_000..2_900_001]);
    assert_eq!((kept.versions.len(), kept.pieces), (1, 3));
    let (facts, settled) = &kept.versions[0];
    assert_eq!(facts, &run(remote.stat(&name("f"))).unwrap());
    assert!(*settled, "ten seconds old, and no program writes it");
}

#[test]
fn a_young_or_open_file_is_not_settled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, b"content").unwrap();
    let settled = |ahead| {
        let mut kept = Kept::default();
        let remote = open(dir.path(), ahead);
        run(remote.fetch(&name("f"), ByteRange::new(0, 7), None, &mut kept)).unwrap();
        kept.versions[0].1
    };
    assert!(!settled(0));
    assert!(settled(3));
    let writer = fs::File::options().append(true).open(&path).unwrap();
    assert!(!settled(1_000_000));
    drop(writer);
    assert!(settled(3));
}

#[test]
fn another_version_is_refused_with_its_facts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, b"content").unwrap();
    let remote = open(dir.path(), 10);
    let old = run(remote.stat(&name("f"))).unwrap();
    fs::write(dir.path().join("g"), b"CONTENT").unwrap();
    fs::rename(dir.path().join("g"), &path).unwrap();
    let new = run(remote.stat(&name("f"))).unwrap();
    assert!(old.contradicted_by(&new));
    let mut kept = Kept::default();
    let bound = old.validator.as_ref();
    match run(remote.fetch(&name("f"), ByteRange::new(0, 7), bound, &mut kept)) {
        Err(RemoteError::Changed(facts)) => assert_eq!(*facts, new),
        other => panic!("{other:?}"),
    }
    assert!(kept.versions.is_empty() && kept.data.is_empty());
    // A range beyond the end is of a version that was longer: where none was asked for, what there is comes, and the sink
    // hears of the size before.
    run(remote.fetch(&name("f"), ByteRange::new(0, 8), None, &mut kept)).unwrap();
    assert_eq!(kept.versions[0].0, new);
    assert_eq!(kept.data, b"CONTENT");
}

#[test]
fn a_change_between_two_pieces_is_seen() {
    struct Truncating(PathBuf, Kept);
    impl Sink for Truncating {
        fn whole(&mut self) -> bool {
            true
        }

        fn version(&mut self, facts: &Facts, settled: bool) -> Result<(), RemoteError> {
            self.1.version(facts, settled)
        }
        fn data(&mut self, bytes: Bytes) {
            let file = fs::File::options().write(true).open(&self.0).unwrap();
            rustix::io::pwrite(&file, b"x", 2_000_000).unwrap();
            self.1.data(bytes);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, vec![7; 3 << 20]).unwrap();
    let past = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
    fs::File::open(&path).unwrap().set_modified(past).unwrap();
    let remote = open(dir.path(), 10);
    let mut sink = Truncating(path, Kept::default());
    let result = run(remote.fetch(&name("f"), ByteRange::new(0, 3 << 20), None, &mut sink));
    assert!(matches!(result, Err(RemoteError::Changed(_))), "{result:?}");
    assert_eq!(
        sink.1.data.len(),
        1 << 20,
        "only the piece before the change"
    );
}

#[test]
fn fifos_and_sockets_are_shown_and_never_opened() {
    let dir = tempfile::tempdir().unwrap();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        dir.path().join("fifo"),
        Mode::RUSR | Mode::WUSR,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let remote = open(dir.path(), 10);
    for (path, kind) in [("fifo", FileKind::Fifo), ("socket", FileKind::Socket)] {
        assert_eq!(run(remote.stat(&name(path))).unwrap().kind, kind);
        let mut kept = Kept::default();
        let result = run(remote.fetch(&name(path), ByteRange::new(0, 1), None, &mut kept));
        assert!(matches!(result, Err(RemoteError::WrongKind)), "{result:?}");
    }
}

#[test]
fn hidden_directories_are_empty_and_not_looked_through() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/cache/blobs")).unwrap();
    fs::create_dir_all(dir.path().join("a/cache2")).unwrap();
    let remote = DirRemote::open(dir.path(), DirSettings::new(clock(0))).unwrap();
    remote.hide(&[dir.path().join("a/cache"), PathBuf::from("/elsewhere")]);
    let facts = run(remote.stat(&name("a/cache"))).unwrap();
    assert_eq!(facts.kind, FileKind::Dir);
    assert!(
        run(list_whole(&remote, &name("a/cache")))
            .unwrap()
            .is_empty()
    );
    assert!(matches!(
        run(remote.stat(&name("a/cache/blobs"))),
        Err(RemoteError::NotFound)
    ));
    let listed = run(list_whole(&remote, &name("a"))).unwrap();
    assert_eq!(listed.len(), 2);
    assert!(
        listed
            .iter()
            .any(|e| *e.name == *b"cache" && e.listed.facts() == Some(&facts))
    );
    assert!(run(remote.stat(&name("a/cache2"))).is_ok());
}

#[test]
fn errors_tell_what_is_not_from_what_cannot_be_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), b"x").unwrap();
    let remote = open(dir.path(), 0);
    let stat = |path: &str| run(remote.stat(&name(path)));
    assert!(matches!(stat("missing"), Err(RemoteError::NotFound)));
    assert!(matches!(stat("f/below"), Err(RemoteError::NotFound)));
    assert!(matches!(
        run(list_whole(&remote, &name("f"))),
        Err(RemoteError::WrongKind)
    ));
    assert!(matches!(
        run(list_whole(&remote, &name("missing"))),
        Err(RemoteError::NotFound)
    ));
    assert!(matches!(
        remote_error(Errno::ACCESS),
        RemoteError::Forbidden
    ));
    assert!(matches!(
        remote_error(Errno::IO),
        RemoteError::Unreachable(_)
    ));

    let sentence = |path: &Path| match DirRemote::open(path, DirSettings::new(clock(0))) {
        Ok(_) => panic!("opened {path:?}"),
        Err(error) => error.to_string(),
    };
    assert!(sentence(&dir.path().join("missing")).contains("does not exist"));
    assert!(sentence(&dir.path().join("f")).contains("is not a directory"));
}

#[test]
fn two_names_of_one_directory_are_one_identity() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    symlink("d", dir.path().join("l")).unwrap();
    let direct = open(&dir.path().join("d"), 0);
    let linked = open(&dir.path().join("l"), 0);
    assert_eq!(direct.identity(), linked.identity());
    assert!(direct.identity().starts_with("dir:"));
    assert_ne!(direct.identity(), open(dir.path(), 0).identity());
}

#[test]
fn a_slow_remote_delivers_the_same_later() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..300_000u32).map(|i| i.to_le_bytes()[0]).collect();
    fs::write(dir.path().join("f"), &content).unwrap();
    let settings = SlowSettings {
        round_trip: Duration::from_millis(30),
        bytes_per_second: Some(3_000_000),
    };
    let slow = SlowRemote::new(Arc::new(open(dir.path(), 10)), settings);
    let mut kept = Kept::default();
    let took = run(async {
        let start = tokio::time::Instant::now();
        let range = ByteRange::new(0, 300_000);
        slow.fetch(&name("f"), range, None, &mut kept)
            .await
            .unwrap();
        start.elapsed()
    });
    assert_eq!(kept.data, content);
    assert_eq!((slow.requests(), slow.bytes()), (1, 300_000));
    assert!(took >= Duration::from_millis(125), "{took:?}");
    assert!(kept.pieces > 1, "a stream, not one lump");
}

#[test]
fn a_link_whose_size_is_said_to_be_0_shows_its_targets_length() {
    let remote = open(Path::new("/proc/self"), 10);
    let told = std::fs::symlink_metadata("/proc/self/exe").unwrap();
    assert_eq!(told.len(), 0, "this file system says the length by itself");
    let target = run(remote.read_link(&name("exe"))).unwrap();
    let facts = run(remote.stat(&name("exe"))).unwrap();
    assert_eq!(facts.size, target.len() as u64);
    let entries = run(list_whole(&remote, &ObjectName::root())).unwrap();
    let listed = entries.iter().find(|entry| &*entry.name == b"exe").unwrap();
    assert_eq!(listed.listed.facts().unwrap().size, target.len() as u64);
}

/// Everything that a directory lists, page by page.
async fn pages(remote: &DirRemote, at: &str) -> Result<Vec<Vec<Entry>>, RemoteError> {
    let mut pages = remote.list(&name(at)).await?;
    let mut all = Vec::new();
    loop {
        let page = pages.next().await?;
        all.push(page.entries.to_vec());
        if page.is_last {
            return Ok(all);
        }
    }
}

fn many_files(dir: &Path, count: usize) {
    for n in 0..count {
        fs::write(dir.join(format!("n{n}")), b"").unwrap();
    }
}

#[test]
fn a_large_directory_comes_in_pages_and_each_name_once() {
    let dir = tempfile::tempdir().unwrap();
    many_files(dir.path(), 3000);
    let remote = open(dir.path(), 0);
    let all = run(pages(&remote, "")).unwrap();
    assert!(all.len() > 2, "{} pages", all.len());
    assert!(all[0].len() < 1000, "a reader need not wait for the rest");
    let mut names: Vec<_> = all.concat().into_iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 3000);
    assert_eq!(all.concat().len(), 3000);
}

#[test]
fn a_listing_takes_room_page_by_page_and_no_more_than_its_share() {
    let dir = tempfile::tempdir().unwrap();
    many_files(dir.path(), 4000);
    let room = Room::new(1 << 20);
    let mut settings = DirSettings::new(clock(0));
    settings.listings = Arc::clone(&room);
    let remote = DirRemote::open(dir.path(), settings).unwrap();
    run(async {
        let mut pages = remote.list(&ObjectName::root()).await.unwrap();
        assert_eq!(room.used(), 0, "nothing has come");
        let mut kept = Vec::new();
        let error = loop {
            match pages.next().await {
                Ok(page) => {
                    assert!(!page.is_last);
                    kept.push(page.entries);
                }
                Err(error) => break error,
            }
            assert!(room.used() <= 1 << 19);
        };
        assert!(matches!(error, RemoteError::NoMemory(_)), "{error}");
        assert!(kept.len() > 1 && kept.iter().all(|page| !page.is_empty()));
        drop(kept);
        assert_eq!(room.used(), 0);
    });
}

#[test]
fn a_slow_file_server_gets_shorter_pages() {
    let dir = tempfile::tempdir().unwrap();
    many_files(dir.path(), 20);
    // A clock that goes on by 40 ms whenever it is looked at.
    let looks = std::sync::atomic::AtomicU64::new(0);
    let slow: WallClock = Arc::new(move || {
        let before = looks.fetch_add(40, std::sync::atomic::Ordering::Relaxed);
        Duration::from_secs(1_000_000) + Duration::from_millis(before)
    });
    let remote = DirRemote::open(dir.path(), DirSettings::new(slow)).unwrap();
    let all = run(pages(&remote, "")).unwrap();
    assert_eq!(all.concat().len(), 20);
    assert!(all.iter().all(|page| page.len() <= 3), "{all:?}");
}
