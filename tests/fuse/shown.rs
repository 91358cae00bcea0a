//! What a program was shown, and what it then reads: a file that changes between stat(2) and its first read is read in one
//! of its versions, whole and not a byte longer, or the read fails with ESTALE.
//!
//! Every byte tells its version and its place, and every version has a length of its own: an answer that is padded, cut or
//! mixed is in no version.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use larder::testing::Rng;
use larder::vfs::MetadataTtl;

use super::cli::rig::{Rig, larder, run, stderr, wait_until};
use super::mounted::{Mounted, Stage, Wish};
use super::web::files::{ago, attribute, mount, replace};
use super::web::servers::{HTML, JSON, Server};

/// Old and new sizes: across the kernel's pages, what is asked for at an open, and larder's blocks.
const SIZES: [(usize, usize); 16] = [
    (300, 3),
    (3, 300),
    (1, 4096),
    (4095, 511),
    (511, 4095),
    (4096, 4097),
    (8300, 100),
    (5000, 200_000),
    (200_000, 4096),
    (65_536, 65_537),
    (70_000, 131_072),
    (131_072, 131_073),
    (131_073, 70_000),
    (150_000, 300_000),
    (300_000, 150_000),
    (9000, 9000),
];
const WAYS: [Way; 5] = [
    Way::Pread,
    Way::Mmap,
    Way::Sendfile,
    Way::Splice,
    Way::Direct,
];
const FILES: usize = 26;
const THREADS: usize = 4;

/// How a program reads.
#[derive(Clone, Copy, Debug)]
enum Way {
    Pread,
    Mmap,
    Sendfile,
    Splice,
    Direct,
}

/// The bytes of a version from `from` on.
fn bytes(version: usize, len: usize, from: usize) -> Vec<u8> {
    // Never zero, which is what padding consists of.
    let byte = |at: usize| 1 + u8::try_from((version * 101 + at * 7 + at / 251) % 255).unwrap();
    (from.min(len)..len).map(byte).collect()
}

/// Reads a file from `from` to its end.
fn read(path: &Path, way: Way, from: usize) -> io::Result<Vec<u8>> {
    let mut options = File::options();
    if let Way::Direct = way {
        options.custom_flags(libc::O_DIRECT);
    }
    let file = options.read(true).open(path)?;
    match way {
        Way::Pread | Way::Direct => pread(&file, from),
        Way::Mmap => mapped(&file, from),
        Way::Sendfile | Way::Splice => spliced(&file, from, way),
    }
}

fn pread(file: &File, from: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read_at(&mut piece, (from + all.len()) as u64)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

/// The kernel copies out of the mapping: a page that cannot be had is EFAULT, and no SIGBUS.
#[expect(unsafe_code, reason = "a mapping is what is tested")]
fn mapped(file: &File, from: usize) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.metadata()?.len()).unwrap();
    if len <= from {
        return Ok(Vec::new());
    }
    // SAFETY: nobody else looks at the mapping, and it is only handed to write(2).
    let mapping = unsafe { memmap2::Mmap::map(file)? };
    let mut copy = tempfile::tempfile()?;
    match copy.write_all(&mapping[from..]) {
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => {
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        other => other?,
    }
    pread(&copy, 0)
}

#[expect(
    unsafe_code,
    reason = "std offers neither sendfile(2) nor splice(2) by itself"
)]
fn spliced(file: &File, from: usize, way: Way) -> io::Result<Vec<u8>> {
    let (mut reader, writer) = io::pipe()?;
    let mut offset = i64::try_from(from).unwrap();
    std::thread::scope(|scope| {
        let drain = scope.spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        let sent = loop {
            let (out, file) = (writer.as_raw_fd(), file.as_raw_fd());
            // SAFETY: both descriptors are open, and the offset outlives the call.
            let count = unsafe {
                match way {
                    Way::Splice => {
                        libc::splice(file, &mut offset, out, std::ptr::null_mut(), 1 << 20, 0)
                    }
                    _ => libc::sendfile(out, file, &mut offset, 1 << 20),
                }
            };
            match count {
                0 => break Ok(()),
                -1 => break Err(io::Error::last_os_error()),
                _ => {}
            }
        };
        drop(writer);
        let all = drain.join().unwrap()?;
        sent.map(|()| all)
    })
}

/// What came of the reads.
#[derive(Default)]
struct Tally {
    reads: AtomicUsize,
    stale: AtomicUsize,
    wrong: AtomicUsize,
}

impl Tally {
    /// Judges one answer: the bytes from `from` of one of these versions, each with its length.
    fn judge(
        &self,
        what: &str,
        answer: io::Result<Vec<u8>>,
        from: usize,
        versions: &[(usize, usize)],
    ) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(got) => {
                let right = |&(version, len): &(usize, usize)| got == bytes(version, len, from);
                if !versions.iter().any(right) {
                    self.wrong.fetch_add(1, Ordering::Relaxed);
                    eprintln!("{what}: {} bytes that are in no version", got.len());
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => {
                self.stale.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

/// Where the files are, and where they are mounted.
struct Place {
    what: &'static str,
    origin: PathBuf,
    mnt: PathBuf,
    // Dropped in this order.
    _mounted: Option<Mounted>,
    _stage: Option<Stage>,
    _rig: Option<Rig>,
    _server: Option<Server>,
}

impl Place {
    /// A directory whose files are old enough to be kept.
    fn settled(ttl: MetadataTtl) -> Self {
        let stage = Stage::new();
        let mounted = stage.mount(Wish {
            ttl,
            ..Wish::default()
        });
        Self {
            what: "a directory, settled",
            origin: stage.origin(""),
            mnt: mounted.path(""),
            _mounted: Some(mounted),
            _stage: Some(stage),
            _rig: None,
            _server: None,
        }
    }

    /// The program itself over a directory, whose files are young.
    fn young(more: &[&str]) -> Self {
        let rig = Rig::new();
        mount(&rig, rig.remote().to_str().unwrap(), more);
        Self::of("a directory, young", rig, None)
    }

    fn web(what: &'static str, directives: &str, more: &[&str]) -> Self {
        let rig = Rig::new();
        let server = Server::nginx(&rig.remote(), directives);
        mount(&rig, &server.url(), more);
        Self::of(what, rig, Some(server))
    }

    fn of(what: &'static str, rig: Rig, server: Option<Server>) -> Self {
        Self {
            what,
            origin: rig.remote(),
            mnt: rig.mnt(),
            _mounted: None,
            _stage: None,
            _rig: Some(rig),
            _server: server,
        }
    }
}

fn file_name(n: usize) -> String {
    format!("f{n}")
}

/// Shows files of the old sizes, replaces them, and reads them in one way from one place.
fn change_before_open(place: &Place, way: Way, from_middle: bool, tally: &Tally) {
    let dir = format!("{way:?}-{from_middle}");
    let (origin, mnt) = (place.origin.join(&dir), place.mnt.join(&dir));
    fs::create_dir(&origin).unwrap();
    let files: Vec<_> = (0..FILES * SIZES.len())
        .map(|n| (n, SIZES[n % SIZES.len()]))
        .collect();
    for &(n, (old, _)) in &files {
        let path = origin.join(file_name(n));
        replace(&path, &bytes(2 * n, old, 0), ago(7200));
    }
    // As `ls -l` does it.
    let shown = fs::read_dir(&mnt).unwrap();
    let shown = shown.map(|entry| entry.unwrap().path().metadata().unwrap().len());
    let sum: usize = files.iter().map(|&(_, (old, _))| old).sum();
    assert_eq!(shown.sum::<u64>(), sum as u64, "{}: {dir}", place.what);
    for &(n, (_, new)) in &files {
        let path = origin.join(file_name(n));
        replace(&path, &bytes(2 * n + 1, new, 0), ago(3600));
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(&(n, (old, new))) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let from = if from_middle { old.min(new) / 2 } else { 0 };
                    let what = format!("{}, {way:?} from {from}, {old} to {new}", place.what);
                    let answer = read(&mnt.join(file_name(n)), way, from);
                    tally.judge(&what, answer, from, &[(2 * n, old), (2 * n + 1, new)]);
                }
            });
        }
    });
}

fn no_answer_is_in_no_version(place: &Place) {
    let tally = Tally::default();
    for way in WAYS {
        for from_middle in [false, true] {
            change_before_open(place, way, from_middle, &tally);
        }
    }
    let [reads, stale, wrong] =
        [tally.reads, tally.stale, tally.wrong].map(AtomicUsize::into_inner);
    eprintln!(
        "{}: {reads} reads, {stale} stale, {wrong} in no version",
        place.what
    );
    assert_eq!(wrong, 0, "{}: of {reads} reads", place.what);
    assert!(
        reads >= 4000 && stale * 100 <= reads,
        "{}: {stale} of {reads} are stale",
        place.what
    );
}

#[test]
fn a_settled_file_of_a_directory_that_changed_since_it_was_shown() {
    no_answer_is_in_no_version(&Place::settled(MetadataTtl::default()));
}

#[test]
fn a_young_file_of_a_directory_that_changed_since_it_was_shown() {
    no_answer_is_in_no_version(&Place::young(&[]));
}

#[test]
fn a_web_file_with_exact_listings_that_changed_since_it_was_shown() {
    no_answer_is_in_no_version(&Place::web("nginx, JSON", JSON, &[]));
}

#[test]
fn a_web_file_with_listings_for_people_that_changed_since_it_was_shown() {
    no_answer_is_in_no_version(&Place::web("nginx, HTML", HTML, &[]));
}

#[test]
fn a_web_file_without_etag_that_changed_since_it_was_shown() {
    no_answer_is_in_no_version(&Place::web(
        "nginx, no ETag",
        &format!("etag off; {JSON}"),
        &[],
    ));
}

/// A file that changes all the time, in its length too, is read in one of its versions, and can be opened.
fn readers_beside_a_writer(place: &Place) {
    let lens = [4095, 511, 100_000, 5000, 0, 120_000, 1, 300_000];
    let path = place.origin.join("racing");
    let len_of = |version: usize| lens[version % lens.len()];
    replace(&path, &bytes(0, len_of(0), 0), ago(90_000));
    let (over, newest) = (AtomicBool::new(false), AtomicUsize::new(0));
    let tally = Tally::default();
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let (over, newest, tally) = (&over, &newest, &tally);
            scope.spawn(move || {
                let mut rng = Rng::new(seed as u64);
                while !over.load(Ordering::Relaxed) {
                    let way = WAYS[rng.index(WAYS.len())];
                    let answer = read(&place.mnt.join("racing"), way, 0);
                    let last = newest.load(Ordering::Acquire) + 1;
                    let versions: Vec<_> = (0..=last).map(|v| (v, len_of(v))).collect();
                    tally.judge(&format!("{}, {way:?}", place.what), answer, 0, &versions);
                }
            });
        }
        for version in 1..600 {
            replace(
                &path,
                &bytes(version, len_of(version), 0),
                ago(80_000 - version as u64),
            );
            newest.store(version, Ordering::Release);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        over.store(true, Ordering::Relaxed);
    });
    let [reads, stale, wrong] =
        [tally.reads, tally.stale, tally.wrong].map(AtomicUsize::into_inner);
    eprintln!(
        "{}, racing: {reads} reads, {stale} stale, {wrong} in no version",
        place.what
    );
    assert_eq!(wrong, 0, "{}: of {reads} reads", place.what);
    assert!(reads > stale, "{}: nothing could be read", place.what);
}

#[test]
fn a_file_that_changes_its_length_all_the_time() {
    let strict = ["--metadata-ttl", "minimal"];
    readers_beside_a_writer(&Place::settled(MetadataTtl::Minimal));
    readers_beside_a_writer(&Place::young(&strict));
    readers_beside_a_writer(&Place::web("nginx, JSON", JSON, &strict));
}

/// One after the other, with nothing beside it: a file of which nothing is kept, because it is young, is read in each of its
/// versions.
#[test]
fn a_young_file_is_read_after_each_change() {
    let more = ["--metadata-ttl", "indefinite"];
    for place in [Place::young(&more), Place::web("nginx, JSON", JSON, &more)] {
        for version in 0..20 {
            let text = format!("version {version}");
            // Ahead of the clock, so that it stays young.
            let when = ago(0) + Duration::from_secs(100 + version);
            replace(&place.origin.join("f"), text.as_bytes(), when);
            let read = fs::read_to_string(place.mnt.join("f"));
            assert_eq!(read.unwrap(), text, "{}", place.what);
        }
    }
}

/// Overwrites a file in a way that nginx does not tell: with the same size and time.
fn overwrite(path: &Path, bytes: &[u8], when: SystemTime) {
    fs::write(path, bytes).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(when).unwrap();
}

/// What an open has fetched of a young version is for its own handle, and for no longer than the version is young: nothing
/// of it comes into the pages that later opens read.
#[test]
fn the_first_bytes_of_an_open_do_not_outlive_the_version_that_they_were_of() {
    const LEN: usize = 8000;
    let more = ["--metadata-ttl", "indefinite"];
    let place = Place::web("nginx, JSON", JSON, &more);
    let (origin, path) = (place.origin.join("f"), place.mnt.join("f"));
    let (old, new) = (bytes(1, LEN, 0), bytes(2, LEN, 0));
    // For two seconds after that it is young.
    let when = ago(0) + Duration::from_secs(8);
    overwrite(&origin, &old, when);
    let early = File::open(&path).unwrap();
    assert!(pread(&early, 0).unwrap() == old);
    overwrite(&origin, &new, when);
    wait_until("the new bytes are kept", || {
        assert!(fs::read(&path).unwrap().len() == LEN);
        attribute(&path, "cached-bytes") == LEN.to_string()
    });
    assert!(fs::read(&path).unwrap() == new);
    // As memory pressure does it.
    rustix::fs::fadvise(&early, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let _ = pread(&early, 0);
    for _ in 0..2 {
        assert!(
            fs::read(&path).unwrap() == new,
            "old bytes came into the pages"
        );
    }
}

/// With the cached data that a user has dropped go the kernel's pages of an open file, and what is held for a handle.
#[test]
fn what_an_open_has_fetched_is_flushed_too() {
    const LEN: usize = 8000;
    let place = Place::web("nginx, JSON", JSON, &[]);
    let (origin, path) = (place.origin.join("f"), place.mnt.join("f"));
    let (old, new) = (bytes(1, LEN, 0), bytes(2, LEN, 0));
    overwrite(&origin, &old, ago(3600));
    // One was opened, the other one read: the kernel has its pages.
    let (early, read) = (File::open(&path).unwrap(), File::open(&path).unwrap());
    assert!(pread(&read, 0).unwrap() == old);
    let when = early.metadata().unwrap().modified().unwrap();
    overwrite(&origin, &new, when);
    wait_until("nothing of it is cached any more", || {
        let output = run(larder().arg("flush").arg(&place.mnt));
        assert!(output.status.success(), "{}", stderr(&output));
        attribute(&path, "cached-bytes") == "0"
    });
    for handle in [&early, &read] {
        assert!(pread(handle, 0).unwrap() == new);
    }
    assert!(fs::read(&path).unwrap() == new);
}
