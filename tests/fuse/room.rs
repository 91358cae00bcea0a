//! The size limit where more lies on the disk than larder's books say: a file system that gives files space ahead, chunk
//! files that the index does not know.

use std::fs;
use std::path::Path;
use std::process::Command;

use larder::storage::{ChunkFile, CreateOptions, Storage, open_or_create};
use larder::testing::Rng;
use larder::units::SlotId;

use super::cli::rig::{Rig, run};
use super::full::disk_use;
use super::limits::{Origin, SmallDisk, mount, number};
use super::web::servers::{JSON, Server};

const MIB: u64 = 1 << 20;

/// The blocks of a chunk, one after the other or in an order that is drawn.
fn blocks(in_order: bool, rng: &mut Rng) -> Vec<u64> {
    let mut left: Vec<u64> = (0..64).collect();
    if in_order {
        return left;
    }
    (0..64)
        .map(|_| left.swap_remove(rng.index(left.len())))
        .collect()
}

#[test]
fn a_chunk_file_takes_what_was_written_to_it_on_xfs() {
    let disk = SmallDisk::xfs();
    let options = CreateOptions {
        capacity: 64 * MIB,
        slots: None,
        files: None,
    };
    let cache = open_or_create(&disk.path("cache"), &options, &mut |_| ()).unwrap();
    let mut rng = Rng::new(1);
    for (slot, (chunk, in_order)) in (0..).zip(
        [MIB, 4 * MIB, 32 * MIB]
            .into_iter()
            .flat_map(|chunk| [(chunk, true), (chunk, false)]),
    ) {
        let block = vec![7; usize::try_from(chunk / 64).unwrap()];
        let file = ChunkFile {
            slot: SlotId(slot),
            generation: 1,
        };
        for (n, place) in (1..).zip(blocks(in_order, &mut rng)) {
            let taken = cache.write_chunk(file, place * chunk / 64, &block).unwrap();
            let written = n * chunk / 64;
            // Where the extents of a file are many, their list takes a page of its own.
            let list = if in_order { 0 } else { 4096 };
            assert!(
                taken == written || taken == written + list,
                "{taken} bytes for {written} of a chunk of {chunk}, in order: {in_order}"
            );
        }
    }
}

#[test]
fn the_limit_holds_on_xfs() {
    let (disk, origin) = (SmallDisk::xfs(), Origin::new());
    let server = Server::nginx(origin.dir.path(), JSON);
    for chunk in ["1M", "4M", "32M"] {
        let rig = Rig::new();
        let more = [
            "--cache-size",
            "48M",
            "--chunk-size",
            chunk,
            "--free-space-ratio",
            "0",
        ];
        mount(&rig, &server.url(), &disk.path(chunk), &more);
        let (mut most, mut samples) = (0, 0);
        for file in 0..4 {
            for at in (0..20).map(|n| n << 20) {
                origin.read(&rig.mnt(), file, at, 1 << 20);
                most = number(&rig.stats(&rig.mnt()), "used_bytes").max(most);
                samples += 1;
            }
        }
        eprintln!("xfs: chunks of {chunk}: at most {most} bytes in {samples} samples");
        assert!(most <= 48 * MIB, "{most} bytes, chunks of {chunk}");
        rig.umount();
    }
}

/// A cache of 40 MiB over the eight files, of 20 MiB each.
struct Small {
    rig: Rig,
    origin: Origin,
    server: Server,
}

const LIMIT: u64 = 40 * MIB;

impl Small {
    fn new() -> Self {
        let origin = Origin::new();
        let server = Server::nginx(origin.dir.path(), JSON);
        let rig = Rig::new();
        Self {
            rig,
            origin,
            server,
        }
    }

    /// Mounts, reads these files in chunks of this size, and unmounts. Returns the most that the cache was seen to take.
    fn use_it(&self, chunk: &str, files: std::ops::Range<usize>) -> u64 {
        let more = [
            "--cache-size",
            "40M",
            "--chunk-size",
            chunk,
            "--free-space-ratio",
            "0",
        ];
        let (cache, mnt) = (self.rig.cache(), self.rig.mnt());
        mount(&self.rig, &self.server.url(), &cache, &more);
        let mut most = disk_use(&cache);
        for file in files {
            for at in (0..20).map(|n| n << 20) {
                self.origin.read(&mnt, file, at, 1 << 20);
                most = most.max(disk_use(&cache));
            }
        }
        self.rig.umount();
        most.max(disk_use(&cache))
    }

    /// Nothing lies in the cache that the index does not know, but what is the user's.
    fn is_known(&self, strays: &[&Path]) {
        let mut fsck = Command::new(env!("CARGO_BIN_EXE_cachefsck"));
        let output = run(fsck.arg("-n").arg(self.rig.cache()));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!said.contains("F-FILE-ORPHAN"), "{said}");
        for stray in strays {
            let text = fs::read_to_string(self.rig.cache().join(stray)).unwrap();
            assert_eq!(text, "precious");
        }
    }
}

/// Directories, the lock and the log are beside the limit; and a walk is no snapshot: what one file gave back while it went
/// on may be seen once more in another one.
const BESIDE: u64 = (512 << 10) + (4 << 20);

#[test]
fn a_lost_index_leaves_no_chunk_files_beside_a_new_one() {
    let small = Small::new();
    // Many places are used, and a few of them later.
    small.use_it("128K", 0..3);
    let cache = small.rig.cache();
    let strays = ["chunks/notes", "chunks/00/0000/notes"].map(Path::new);
    for stray in strays {
        fs::write(cache.join(stray), "precious").unwrap();
    }
    fs::remove_file(cache.join("index.larder")).unwrap();
    let most = small.use_it("4M", 3..6);
    assert!(most <= LIMIT + BESIDE, "{most}");
    small.is_known(&strays);
}

#[test]
fn an_older_index_is_told_what_the_chunk_files_take() {
    let small = Small::new();
    let cache = small.rig.cache();
    small.use_it("128K", 0..0);
    let (index, backup) = (cache.join("index.larder"), small.rig.path("backup"));
    fs::copy(&index, &backup).unwrap();
    small.use_it("128K", 0..3);
    // As a backup program does, with its old time and under its old name.
    let restored = cache.join("restored");
    fs::copy(&backup, &restored).unwrap();
    fs::rename(&restored, &index).unwrap();
    let stray = Path::new("chunks/00/0000/notes");
    fs::write(cache.join(stray), "precious").unwrap();
    let most = small.use_it("4M", 3..6);
    assert!(most <= LIMIT + BESIDE, "{most}");
    small.is_known(&[stray]);
}
