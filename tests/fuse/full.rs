//! A cache that is full all the time: four readers of far more than it holds, over a real nginx, chunk sizes mixed.
//!
//! Judged are every byte, the limit (the disk use of the whole cache directory, sampled every 20 ms), and that chunks of one
//! size take over each other's files without a create, an unlink or a cut. `LARDER_FULL_GIB=n` reads so many GiB instead
//! of one.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use larder::testing::Rng;
use rustix::fs::Advice;
use serde_json::Value;

use super::cli::rig::Rig;
use super::web::files::age_all;
use super::web::servers::{JSON, Server};

const LIMIT: u64 = 256 << 20;
const READERS: u64 = 4;
const PIECE: u64 = 1 << 20;
/// The chunk sizes, by the directories that the files lie in.
const RULES: &str = "\
    [[chunk-size]]\nmatch = \"/b/**\"\nsize = \"256K\"\n\
    [[chunk-size]]\nmatch = \"/c/**\"\nsize = \"1M\"\n\
    [[chunk-size]]\nmatch = \"/d/**\"\nsize = \"4M\"\n\
    [[chunk-size]]\nmatch = \"/e/**\"\nsize = \"16M\"\n";
/// For each directory how many files it has, and how long the longest is.
const TREE: [(&str, u64, u64); 5] = [
    ("a", 400, 300 << 10),
    ("b", 40, 3 << 20),
    ("c", 30, 6 << 20),
    ("d", 12, 24 << 20),
    ("e", 6, 64 << 20),
];
/// Files whose chunks are all full and all of 4 MiB, in a directory of their own.
const EVEN: u64 = 24;
const EVEN_LEN: u64 = 16 << 20;

/// Makes the tree, and a directory `d/even` in it.
fn make(root: &Path) {
    let mut rng = Rng::new(5);
    let mut file = |path: PathBuf, len: u64| {
        let words = (0..len.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes());
        let bytes: Vec<u8> = words.take(usize::try_from(len).unwrap()).collect();
        fs::write(path, bytes).unwrap();
    };
    for (dir, files, most) in TREE {
        fs::create_dir_all(root.join(dir)).unwrap();
        for n in 0..files {
            let len = most * (1 + n % 7) / 7 + n;
            file(root.join(dir).join(n.to_string()), len);
        }
    }
    fs::create_dir(root.join("d/even")).unwrap();
    for n in 0..EVEN {
        file(root.join("d/even").join(n.to_string()), EVEN_LEN);
    }
    age_all(root);
}

/// The bytes that everything in a directory takes on disk; what is gone meanwhile takes none.
pub(crate) fn disk_use(path: &Path) -> u64 {
    let Ok(found) = path.symlink_metadata() else {
        return 0;
    };
    let below = match found.is_dir() {
        true => fs::read_dir(path).map_or(0, |entries| {
            entries.flatten().map(|e| disk_use(&e.path())).sum()
        }),
        false => 0,
    };
    found.blocks() * 512 + below
}

/// What the sampler has seen.
#[derive(Default)]
struct Seen {
    samples: AtomicU64,
    most: AtomicU64,
    over: AtomicBool,
}

impl Seen {
    fn watch(&self, cache: &Path) {
        while !self.over.load(Ordering::Relaxed) {
            self.most.fetch_max(disk_use(cache), Ordering::Relaxed);
            self.samples.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Reads files of these directories here and there until so many bytes were read, and compares each piece.
fn read(root: &Path, mnt: &Path, dirs: &[&str], bytes: u64, seed: u64) {
    let mut rng = Rng::new(seed);
    let (mut done, mut got, mut right) = (0, Vec::new(), Vec::new());
    while done < bytes {
        let dir = dirs[rng.index(dirs.len())];
        let files: Vec<_> = fs::read_dir(root.join(dir)).unwrap().flatten().collect();
        let file = &files[rng.index(files.len())];
        if !file.file_type().unwrap().is_file() {
            continue;
        }
        let origin = File::open(file.path()).unwrap();
        let cached = File::open(mnt.join(dir).join(file.file_name())).unwrap();
        let len = origin.metadata().unwrap().len();
        // Half of the files of several directories are read whole, of the others a part.
        let (mut at, end) = match dirs.len() == 1 || rng.chance(128) {
            true => (0, len),
            false => {
                let start = rng.below(len);
                (start, len.min(start + rng.below(4 << 20)))
            }
        };
        done += end - at;
        while at < end {
            let piece = usize::try_from(PIECE.min(end - at)).unwrap();
            got.resize(piece, 0);
            right.resize(piece, 0);
            cached.read_exact_at(&mut got, at).unwrap();
            origin.read_exact_at(&mut right, at).unwrap();
            assert!(
                got == right,
                "wrong bytes of {dir}/{:?} at {at}",
                file.file_name()
            );
            at += piece as u64;
        }
        // The kernel's own copy would answer the next reader.
        rustix::fs::fadvise(&cached, 0, None, Advice::DontNeed).unwrap();
    }
}

fn gibibytes() -> u64 {
    let text = std::env::var("LARDER_FULL_GIB").unwrap_or_else(|_| "1".into());
    text.parse()
        .unwrap_or_else(|_| panic!("LARDER_FULL_GIB={text} is no number"))
}

/// Reads from four threads.
fn crowd(root: &Path, mnt: &Path, dirs: &[&str], bytes: u64) {
    std::thread::scope(|scope| {
        for seed in 0..READERS {
            scope.spawn(move || read(root, mnt, dirs, bytes / READERS, seed));
        }
    });
}

#[test]
fn the_limit_holds_and_files_are_reused_in_place() {
    let rig = Rig::new();
    make(&rig.remote());
    let server = Server::nginx(&rig.remote(), JSON);
    let config = rig.path("larder.toml");
    fs::write(&config, RULES).unwrap();
    let config = config.to_str().unwrap();
    let more = ["--config", config];
    rig.mount_other(server.url().as_ref(), "256M", &more);
    let (root, mnt, cache) = (rig.remote(), rig.mnt(), rig.cache());
    let seen = Seen::default();
    let count = |stats: &Value, name: &str| stats[name].as_u64().unwrap();
    let (mixed, warm, steady) = std::thread::scope(|scope| {
        scope.spawn(|| seen.watch(&cache));
        crowd(
            &root,
            &mnt,
            &["a", "b", "c", "d", "e", "d/even"],
            gibibytes() << 30,
        );
        let mixed = rig.stats(&mnt);
        // Now only full chunks of one size come in; once no other is left, each takes over another's file.
        crowd(&root, &mnt, &["d/even"], 3 << 29);
        let warm = rig.stats(&mnt);
        crowd(&root, &mnt, &["d/even"], 1 << 30);
        let steady = rig.stats(&mnt);
        seen.over.store(true, Ordering::Relaxed);
        (mixed, warm, steady)
    });
    let (samples, most) = (seen.samples.into_inner(), seen.most.into_inner());
    let grown = |name: &str| count(&steady, name) - count(&warm, name);
    eprintln!(
        "full: {} bytes from nginx, {samples} samples, at most {most} of {LIMIT} bytes on disk; \
         {} chunks culled, {} files reused in place, {} cut, {} unlinked while sizes were mixed; \
         then of one size {} reused, {} created, {} unlinked, {} cut",
        count(&steady, "remote_bytes"),
        count(&mixed, "slots_culled"),
        count(&mixed, "slots_reused"),
        count(&mixed, "files_cut"),
        count(&mixed, "files_unlinked"),
        grown("slots_reused"),
        grown("files_created"),
        grown("files_unlinked"),
        grown("files_cut"),
    );
    assert!(samples > 50, "{samples} samples show nothing");
    // Directories, the lock and the log are beside the limit. And a walk is no snapshot: while it goes on, what one file
    // gave back may be seen once more in another one, the bytes of one fill at the most.
    let beside: u64 = (512 << 10) + (4 << 20);
    assert!(most <= LIMIT + beside, "{most} bytes on disk");
    assert!(count(&mixed, "slots_culled") > 100 && count(&mixed, "slots_reused") > 20);
    assert!(grown("slots_reused") > 50, "{steady}");
    for moved in ["files_created", "files_unlinked", "files_cut"] {
        assert_eq!(grown(moved), 0, "{moved}: {steady}");
    }
    assert_eq!(count(&steady, "disk_errors"), 0);
    rig.umount();
}
