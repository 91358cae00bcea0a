//! The size limit where the disk takes more than larder asked of it: a file system that gives files space ahead.

use larder::storage::{CacheDir, ChunkFile, CreateOptions, Storage};
use larder::testing::Rng;
use larder::units::SlotId;

use super::cli::rig::Rig;
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
    let cache = CacheDir::open_or_create(&disk.path("cache"), &options, &mut |_| ()).unwrap();
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
            assert_eq!(
                taken,
                n * chunk / 64,
                "{n} blocks of a chunk of {chunk} bytes, in order: {in_order}"
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
