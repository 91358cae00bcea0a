//! The origin of the rigs: some hundred files that a real nginx serves, replaced all the time so that slots get new
//! tenants, and the comparison of a mount with it.
//!
//! Every replaced file gets a time of its own in the past: nginx makes its ETag of time and size, and a version that is
//! older than two seconds is kept at once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use larder::testing::Rng;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::super::web::files::{ago, names, replace};
use super::super::web::servers::{JSON, Server};

const SMALL: u64 = 160;
const MIDDLE: u64 = 14;
const LARGE: u64 = 2;
/// The file that is mostly holes, and its length.
const HOLES: &str = "sparse";
const SPARSE: u64 = 6 << 20;
/// Files compared at a time.
const AT_ONCE: usize = 4;
/// The largest piece that is compared at once.
const PIECE: usize = 1 << 20;
/// Readers during work.
const READERS: u64 = 4;
/// The most that a reader reads of one file before it turns to the next.
const PIECES: u64 = 4 << 20;
/// The tests cannot outlast so many seconds of versions: the oldest file is a year old.
const OLDEST: u64 = 365 * 24 * 3600;

/// Reads of middle and large files go through larger chunks: several sizes in one cache.
pub(super) const CHUNK_RULES: &str = "[[chunk-size]]\nmatch = \"middle*\"\nsize = \"256K\"\n\
    [[chunk-size]]\nmatch = \"large*\"\nsize = \"1M\"\n";

/// The origin.
pub(crate) struct Origin {
    dir: TempDir,
    pub(crate) server: Server,
    /// The names of all files with the length that each had at first.
    files: Vec<(PathBuf, u64)>,
    /// How many versions were made.
    versions: u64,
    made: SystemTime,
}

impl Origin {
    pub(crate) fn new(seed: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let mut rng = Rng::new(seed);
        let mut files = Vec::new();
        for n in 0..SMALL {
            let sub = format!("small{}", n / 40);
            fs::create_dir_all(dir.path().join(&sub)).unwrap();
            files.push((Path::new(&sub).join(n.to_string()), 1 + rng.below(40 << 10)));
        }
        for n in 0..MIDDLE {
            files.push((
                format!("middle{n}").into(),
                (200 << 10) + rng.below(700 << 10),
            ));
        }
        for n in 0..LARGE {
            files.push((format!("large{n}").into(), (2 << 20) + rng.below(2 << 20)));
        }
        let mut origin = Self {
            server: Server::nginx(dir.path(), JSON),
            dir,
            files,
            versions: 0,
            made: ago(OLDEST),
        };
        for n in 0..origin.files.len() {
            origin.renew(n, &mut rng);
        }
        origin.make_sparse();
        origin
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn make_sparse(&mut self) {
        let path = self.path().join(HOLES);
        let file = File::create(&path).unwrap();
        file.set_len(SPARSE).unwrap();
        for at in [0, SPARSE / 3, SPARSE - 5] {
            file.write_all_at(b"bytes", at).unwrap();
        }
        file.set_modified(self.made).unwrap();
    }

    /// Gives a file new bytes, and often a new length.
    fn renew(&mut self, n: usize, rng: &mut Rng) {
        let (name, len) = &self.files[n];
        let len = match rng.below(3) {
            0 => *len,
            _ => len / 2 + rng.below(*len),
        };
        let mut bytes = vec![0; usize::try_from(len.max(1)).unwrap()];
        rng.fill(&mut bytes);
        self.versions += 1;
        let modified = self.made + Duration::from_secs(self.versions);
        replace(&self.path().join(name), &bytes, modified);
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> impl Iterator<Item = PathBuf> {
        let files = self.files.iter().map(|(name, _)| name.clone());
        files.chain([PathBuf::from(HOLES)])
    }

    /// Replaces some files, each in `of_256` of 256 cases, and returns their names.
    pub(crate) fn replace_some(&mut self, of_256: u16, rng: &mut Rng) -> Vec<PathBuf> {
        let mut replaced = Vec::new();
        for n in 0..self.files.len() {
            if rng.chance(of_256) {
                self.renew(n, rng);
                replaced.push(self.files[n].0.clone());
            }
        }
        replaced
    }

    /// Reads the `first` files of the mount and then any, whole or in part, until it is told to stop. Returns what was
    /// wrong; a mount that is gone is not.
    pub(crate) fn read_some(
        &self,
        mount: &Path,
        first: &[PathBuf],
        seed: u64,
        stop: &AtomicBool,
    ) -> Vec<Wrong> {
        let mut rng = Rng::new(seed);
        let mut first = first.to_vec();
        rng.shuffle(&mut first);
        let mut wrong = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let (name, from) = match first.pop() {
                Some(name) => (name, 0),
                None => {
                    let (name, _) = &self.files[rng.index(self.files.len())];
                    (name.clone(), rng.below(2) * rng.below(1 << 20))
                }
            };
            match same(&self.path().join(&name), &mount.join(&name), from, PIECES) {
                Ok((_, differs)) => wrong.extend(differs.map(|at| Wrong::Bytes(name, at))),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        wrong
    }

    /// Reads with several readers while `work` goes on, which ends them. Returns what was wrong, and what `work` returned.
    pub(crate) fn read_during<T>(
        &self,
        mount: &Path,
        first: &[PathBuf],
        seed: u64,
        work: impl FnOnce() -> T,
    ) -> (Vec<Wrong>, T) {
        let stop = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            let seeds = (0..READERS).map(|n| seed.wrapping_add(n));
            let readers: Vec<_> = seeds
                .map(|seed| scope.spawn(move || self.read_some(mount, first, seed, stop)))
                .collect();
            let done = catch_unwind(AssertUnwindSafe(work));
            stop.store(true, Ordering::Relaxed);
            let wrong = readers
                .into_iter()
                .flat_map(|reader| reader.join().unwrap());
            let wrong = wrong.collect();
            (wrong, done.unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    /// Compares the whole mount with the origin: names, lengths and every byte.
    pub(crate) fn compare(&self, mount: &Path) -> Compared {
        let (mut files, mut left) = (Vec::new(), vec![PathBuf::new()]);
        let compared = Compared::default();
        while let Some(path) = left.pop() {
            let (ours, theirs) = (self.path().join(&path), mount.join(&path));
            if !ours.is_dir() {
                files.push(path);
                continue;
            }
            let all = names(&ours);
            match fs::read_dir(&theirs) {
                Ok(_) if names(&theirs) == all => {}
                Ok(_) => compared.note(Wrong::Other(path.clone(), "its names differ".into())),
                Err(error) => compared.note(Wrong::Other(path.clone(), error.to_string())),
            }
            left.extend(all.iter().rev().map(|name| path.join(name)));
        }
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(name) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        compared.file(self.path(), mount, name);
                    }
                });
            }
        });
        compared
    }
}

/// What was wrong.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "what Debug shows is what a failure says")]
pub(crate) enum Wrong {
    /// Bytes that are not the origin's, from this place on.
    Bytes(PathBuf, u64),
    /// Bytes that were cached were asked for again.
    Again(PathBuf),
    /// Something else.
    Other(PathBuf, String),
}

/// The first few of what was wrong, in words.
pub(crate) fn told(wrong: &[Wrong]) -> String {
    let few: Vec<_> = wrong.iter().take(8).collect();
    format!("{} wrong: {few:?}", wrong.len())
}

/// What a comparison has shown.
#[derive(Default, Debug)]
pub(crate) struct Compared {
    pub(crate) bytes: AtomicU64,
    wrong: Mutex<BTreeMap<PathBuf, Wrong>>,
}

impl Compared {
    fn note(&self, wrong: Wrong) {
        let (Wrong::Bytes(name, _) | Wrong::Again(name) | Wrong::Other(name, _)) = &wrong;
        self.wrong.lock().insert(name.clone(), wrong);
    }

    fn file(&self, origin: &Path, mount: &Path, name: &Path) {
        match same(&origin.join(name), &mount.join(name), 0, u64::MAX) {
            Ok((len, differs)) => {
                self.bytes.fetch_add(len, Ordering::Relaxed);
                if let Some(at) = differs {
                    self.note(Wrong::Bytes(name.to_owned(), at));
                }
            }
            Err(error) => self.note(Wrong::Other(name.to_owned(), error.to_string())),
        }
    }

    /// Everything that was wrong, by name.
    pub(crate) fn wrong(&self) -> Vec<Wrong> {
        self.wrong.lock().values().cloned().collect()
    }
}

/// Compares at most `len` bytes of two files. Returns how many are there, and where they begin to differ.
fn same(ours: &Path, theirs: &Path, from: u64, len: u64) -> std::io::Result<(u64, Option<u64>)> {
    let ours = File::open(ours).unwrap();
    let theirs = File::open(theirs)?;
    let end = ours.metadata()?.len();
    if theirs.metadata()?.len() != end {
        return Ok((0, Some(end)));
    }
    let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = from;
    while at < end.min(from.saturating_add(len)) {
        let piece = usize::try_from(end - at).unwrap().min(PIECE);
        ours.read_exact_at(&mut a[..piece], at).unwrap();
        theirs.read_exact_at(&mut b[..piece], at)?;
        if let Some(n) = a[..piece].iter().zip(&b[..piece]).position(|(a, b)| a != b) {
            return Ok((at - from, Some(at + n as u64)));
        }
        at += piece as u64;
    }
    Ok((at - from.min(at), None))
}
