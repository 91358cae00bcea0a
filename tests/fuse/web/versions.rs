//! Files that change at a real server while they are open, read and mapped (decisions 12 and 13): a handle or a mapping
//! sees bytes of one version, or ESTALE or SIGBUS; a new open sees the new version; nobody ever sees a mixture.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Scope;
use std::time::Duration;

use larder::testing::Rng;

use super::super::cli::rig::{Rig, run, stderr, wait_until};
use super::files::{ago, attribute, mount, replace};
use super::servers::{JSON, Server};

const LEN: usize = 24 << 20;

/// One version: words of eight bytes, each of which tells its place and the generation that it came with. A file that
/// grew has a tail of another generation than its head.
#[derive(Clone, Copy, Debug)]
struct Version {
    len: usize,
    head: u32,
    /// Where the tail begins.
    cut: usize,
    tail: u32,
}

impl Version {
    fn whole(generation: u32, len: usize) -> Self {
        Self {
            len,
            head: generation,
            cut: len,
            tail: generation,
        }
    }

    fn word(&self, at: usize) -> [u8; 8] {
        let generation = if at < self.cut { self.head } else { self.tail };
        let place = u32::try_from(at / 8).unwrap();
        let mut word = [0; 8];
        word[..4].copy_from_slice(&generation.to_le_bytes());
        word[4..].copy_from_slice(&place.to_le_bytes());
        word
    }

    fn bytes(&self) -> Vec<u8> {
        (0..self.len)
            .step_by(8)
            .flat_map(|at| self.word(at))
            .collect()
    }

    /// Whether these bytes, from a multiple of eight, are its own.
    fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        let mut words = (at..).step_by(8).zip(bytes.chunks_exact(8));
        at + bytes.len() <= self.len && words.all(|(at, word)| word == self.word(at))
    }

    /// Whether these bytes are the whole version.
    fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.len && self.holds(0, bytes)
    }
}

/// What mapped reading came to, in a process of its own that a SIGBUS may end.
const MAPPED_READER: &str = r"
import errno, json, mmap, os, random, struct, sys
path, stop, versions = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
while not os.path.exists(stop):
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno == errno.ESTALE:
            continue
        raise
    size = os.fstat(file).st_size
    mapping = mmap.mmap(file, size, prot=mmap.PROT_READ)
    os.close(file)
    left = versions
    for _ in range(400):
        at = random.randrange(size // 8) * 8
        generation, place = struct.unpack('<II', mapping[at:at + 8])
        left = [v for v in left if at < v[0] and generation == (v[1] if at < v[2] else v[3])]
        if place != at // 8 or not left:
            sys.exit(f'wrong at {at} of {size}: place {place * 8}, generation {generation}')
";

/// Reads until `buf` is full or the file ends: the kernel answers with what came before a page that fails, and tells of the
/// failure at the next call.
fn read_full(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buf.len() {
        match file.read_at(&mut buf[read..], at + read as u64)? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}

#[derive(Default)]
struct Seen {
    whole: AtomicU64,
    stale: AtomicU64,
    buses: AtomicU64,
}

/// Readers of one file of the mount, until they are told to stop.
struct Readers {
    path: PathBuf,
    stop: AtomicBool,
    stop_file: PathBuf,
    versions: Vec<Version>,
    seen: Seen,
}

impl Readers {
    fn new(rig: &Rig, versions: &[Version]) -> Self {
        Self {
            path: rig.mnt().join("f"),
            stop: AtomicBool::new(false),
            stop_file: rig.path("stop"),
            versions: versions.to_vec(),
            seen: Seen::default(),
        }
    }

    fn start<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        for seed in 0..4 {
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                while !self.stop.load(Ordering::Relaxed) {
                    self.read(&mut rng);
                }
            });
            scope.spawn(|| self.map());
        }
    }

    /// Waits until they have done so much more that some of it was begun after this was called.
    fn go_on(&self) {
        let seen = &self.seen;
        let done = || {
            let all = [&seen.whole, &seen.stale, &seen.buses];
            let done = all.map(|count| count.load(Ordering::Relaxed));
            done.into_iter().sum::<u64>()
        };
        let before = done();
        wait_until("the readers go on", || done() >= before + 8);
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        fs::write(&self.stop_file, "").unwrap();
    }

    /// Reads here and there with one handle.
    fn read(&self, rng: &mut Rng) {
        let outcome = self.read_one_handle(rng);
        match outcome {
            Ok(()) => &self.seen.whole,
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => &self.seen.stale,
            Err(error) => panic!("an honest errno is ESTALE: {error}"),
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    fn read_one_handle(&self, rng: &mut Rng) -> io::Result<()> {
        let file = File::open(&self.path)?;
        // A file that is being appended to may be shown with any size in between.
        let shown = usize::try_from(file.metadata()?.len()).unwrap();
        let pages = shown as u64 / 4096;
        let mut left = self.versions.clone();
        let mut buf = vec![0; 1 << 18];
        for _ in 0..40 {
            let at = rng.next_u64() % pages * 4096;
            let len = [4096, 1 << 16, 1 << 18][(rng.next_u64() % 3) as usize];
            let count = read_full(&file, &mut buf[..len], at)?;
            let at = usize::try_from(at).unwrap();
            let before = left.clone();
            assert_eq!(
                count,
                len.min(shown - at),
                "padded or cut at {at} of {shown}"
            );
            left.retain(|version| version.holds(at, &buf[..count]));
            assert!(
                !left.is_empty(),
                "{count} bytes at {at}: of none of {before:?}"
            );
        }
        Ok(())
    }

    /// Reads through mappings, in processes that a SIGBUS may end.
    fn map(&self) {
        let versions: Vec<_> = self
            .versions
            .iter()
            .map(|v| (v.len, v.head, v.cut, v.tail))
            .collect();
        let versions = serde_json::to_string(&versions).unwrap();
        while !self.stop.load(Ordering::Relaxed) {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "python3", "-c", MAPPED_READER]);
            let output = run(command.arg(&self.path).arg(&self.stop_file).arg(&versions));
            match output.status.signal() {
                Some(libc::SIGBUS) => {
                    self.seen.buses.fetch_add(1, Ordering::Relaxed);
                }
                signal => assert!(output.status.success(), "{signal:?} {}", stderr(&output)),
            }
        }
    }
}

#[test]
fn the_readers_of_these_tests_see_a_mixture() {
    let rig = Rig::new();
    let versions = [1, 2].map(|n| Version::whole(n, 1 << 20));
    let mut mixed = versions[0].bytes();
    assert!(versions[0].is(&mixed) && !versions[1].is(&mixed));
    mixed[1 << 19..].copy_from_slice(&versions[1].bytes()[1 << 19..]);
    fs::write(rig.mnt().join("f"), &mixed).unwrap();
    let readers = Readers::new(&rig, &versions);
    let caught = |read: &(dyn Fn() + Sync)| {
        let outcome = std::thread::scope(|scope| scope.spawn(read).join());
        assert!(outcome.is_err(), "nobody saw it");
    };
    caught(&|| readers.map());
    caught(&|| (0..20).for_each(|seed| readers.read(&mut Rng::new(seed))));
}

/// A way in which a file changes at the server.
type Change = fn(&Path, &Version);

fn renamed_over(path: &Path, new: &Version) {
    replace(path, &new.bytes(), ago(3600 - u64::from(new.head) * 10));
}

fn truncated(path: &Path, new: &Version) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(new.len as u64).unwrap();
}

fn grown(path: &Path, new: &Version) {
    let file = File::options().append(true).open(path);
    file.unwrap().write_all(&new.bytes()[new.cut..]).unwrap();
}

fn renamed_over_with_its_time(path: &Path, new: &Version) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    replace(path, &new.bytes(), modified);
}

fn renamed_over_a_tenth_later(path: &Path, new: &Version) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    replace(path, &new.bytes(), modified + Duration::from_millis(100));
}

/// Changes the file in every way that the server lets one see, under readers, and opens it anew after each change.
fn change_under_readers(server: &Server, rig: &Rig, ttl: &str, more: &[(Change, Version)]) {
    let first = Version::whole(0, LEN);
    let cut = LEN / 2;
    let grows = Version {
        len: LEN,
        head: 2,
        cut,
        tail: 4,
    };
    let mut changes: Vec<(Change, Version)> = vec![
        (renamed_over, Version::whole(1, LEN + 65_536)),
        (renamed_over, Version::whole(2, LEN + 65_536)),
        (truncated, Version::whole(2, cut)),
        (grown, grows),
        (renamed_over_with_its_time, Version::whole(5, LEN - 65_536)),
        (renamed_over, Version::whole(6, LEN - 65_536)),
    ];
    changes.extend(more);
    let path = rig.remote().join("f");
    renamed_over(&path, &first);
    let mut versions = vec![first];
    versions.extend(changes.iter().map(|(_, version)| version));

    mount(rig, &server.url(), &["--metadata-ttl", ttl]);
    let readers = Readers::new(rig, &versions);
    let until_seen = Duration::from_millis(if ttl == "minimal" { 0 } else { 1100 });
    std::thread::scope(|scope| {
        readers.start(scope);
        readers.go_on();
        for (change, new) in &changes {
            change(&path, new);
            std::thread::sleep(until_seen);
            let now = fs::read(rig.mnt().join("f")).unwrap();
            assert_eq!(now.len(), new.len, "{new:?}");
            assert!(new.is(&now), "a new open does not see {new:?}");
            readers.go_on();
        }
        wait_until("the readers come to an end now and then", || {
            readers.seen.whole.load(Ordering::Relaxed) > 20
        });
        readers.stop();
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let seen = &readers.seen;
    let (whole, stale, buses) = (count(&seen.whole), count(&seen.stale), count(&seen.buses));
    eprintln!("{whole} handles read to the end, {stale} stale, {buses} SIGBUS");
    rig.umount();
}

#[test]
fn nginx_under_readers_that_ask_at_every_open() {
    let rig = Rig::new();
    let server = Server::nginx(&rig.remote(), JSON);
    change_under_readers(&server, &rig, "minimal", &[]);
}

#[test]
fn dufs_under_readers_that_ask_every_second() {
    let rig = Rig::new();
    let server = Server::dufs(&rig.remote());
    // Its ETags tell milliseconds: what changes within the same second is seen as well.
    let more = (
        renamed_over_a_tenth_later as Change,
        Version::whole(7, LEN - 65_536),
    );
    change_under_readers(&server, &rig, "1s", &[more]);
}

/// Opens a file and reads here and there, again and again.
fn read_about(path: &Path, seed: u64, stop: &AtomicBool) {
    let mut rng = Rng::new(seed);
    while !stop.load(Ordering::Relaxed) {
        let file = File::open(path).unwrap();
        for _ in 0..10 {
            let at = rng.below(LEN as u64 / 4096 - 16) * 4096;
            file.read_exact_at(&mut [0; 1 << 16], at).unwrap();
        }
    }
}

/// nginx's ETag of the two versions is one. They are provisional while that can happen, so that nothing of the first is
/// left afterwards, although eight readers have had it in their hands.
#[test]
fn the_same_size_within_one_second_is_seen_once_the_second_is_over() {
    let rig = Rig::new();
    let server = Server::nginx(&rig.remote(), JSON);
    let (first, second) = (Version::whole(1, LEN), Version::whole(2, LEN));
    let path = rig.remote().join("f");
    replace(&path, &first.bytes(), ago(3600));
    mount(&rig, &server.url(), &["--metadata-ttl", "minimal"]);
    // On a busy machine all this takes longer than the versions are young: then once more, and with more time.
    let held = [2, 8, 32, 128].into_iter().find_map(|lead| {
        let held = in_a_second_to_come(&rig, lead, &first, &second);
        if held.is_none() {
            replace(&path, &first.bytes(), ago(3600));
            assert!(first.is(&fs::read(rig.mnt().join("f")).unwrap()));
        }
        held
    });
    let held = held.expect("the machine is too slow for this test");

    let settled = Readers::new(&rig, &[second]);
    std::thread::scope(|scope| {
        settled.start(scope);
        settled.go_on();
        settled.stop();
    });
    assert_eq!(settled.seen.buses.load(Ordering::Relaxed), 0);
    assert_eq!(settled.seen.stale.load(Ordering::Relaxed), 0);
    drop(held);
    assert!(second.is(&fs::read(rig.mnt().join("f")).unwrap()));
    rig.umount();
}

/// Replaces one version by another of the same size and time under readers, so many seconds before that time, and lets
/// them read on until it is long over. A file that has the first one open, unless they were not young any more.
fn in_a_second_to_come(rig: &Rig, lead: u64, first: &Version, second: &Version) -> Option<File> {
    let path = rig.remote().join("f");
    let now = ago(0) + Duration::from_secs(lead);
    replace(&path, &first.bytes(), now);
    assert!(first.is(&fs::read(rig.mnt().join("f")).unwrap()));
    let held = File::open(rig.mnt().join("f")).unwrap();
    held.read_exact_at(&mut [0; 4096], 0).unwrap();
    // Nobody can keep the two apart now: what these readers see is not judged, but what they leave behind.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (stop, path) = (&stop, rig.mnt().join("f"));
            scope.spawn(move || read_about(&path, seed, stop));
        }
        std::thread::sleep(Duration::from_millis(100));
        replace(&path, &second.bytes(), now);
        std::thread::sleep(Duration::from_millis(200));
        let cached = attribute(&rig.mnt().join("f"), "cached-bytes");
        // What was answered a second ago at the latest was young then: the server tells whole seconds.
        let in_time = ago(0) < now + Duration::from_secs(1);
        assert!(cached == "0" || !in_time, "{cached} bytes were kept");
        wait_until("both are old", || {
            ago(0) > now + Duration::from_millis(2500)
        });
        stop.store(true, Ordering::Relaxed);
        in_time.then_some(held)
    })
}
