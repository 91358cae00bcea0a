//! Chunk sizes: several mounts with different ones, one after another, on one cache.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use larder::engine::ChunkPolicy;
use larder::remote::SlowSettings;
use larder::units::ChunkSize;

use super::mounted::{Mounted, Stage, Wish, content};
use super::walk::{same_bytes, same_trees};

const SIZES: [u64; 6] = [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
const HUGE: u64 = 100 << 30;

fn mount(stage: &Stage, size: u64, slow: SlowSettings) -> Mounted {
    let chunk = ChunkSize::from_bytes(size).unwrap();
    stage.mount(Wish {
        chunks: ChunkPolicy::Fixed(chunk),
        capacity: 1 << 30,
        slow,
        ..Wish::default()
    })
}

/// Some small files, one of 4 MiB, one of 40 MiB; returns their bytes in all.
fn plant(stage: &Stage, size: u64) -> u64 {
    let dir = stage.origin(format!("of-{size}"));
    fs::create_dir(&dir).unwrap();
    let lens = [0, 1, 4096, 4097, 65_536, 100_001, 4 << 20, 40 << 20];
    for (len, seed) in lens.iter().zip(size..) {
        fs::write(dir.join(len.to_string()), content(seed, *len)).unwrap();
    }
    let huge = File::create(stage.origin(huge(size))).unwrap();
    huge.set_len(HUGE).unwrap();
    for at in [0, HUGE / 2, HUGE - 100_000] {
        huge.write_all_at(&content(at, 100_000), at).unwrap();
    }
    lens.iter().sum::<usize>() as u64
}

fn huge(size: u64) -> PathBuf {
    format!("huge-{size}").into()
}

/// Compares a hundred gigabytes where something is, and in some of the holes.
fn same_places(stage: &Stage, mounted: &Mounted, size: u64) {
    let ours = File::open(stage.origin(huge(size))).unwrap();
    let theirs = File::open(mounted.path(huge(size))).unwrap();
    assert_eq!(theirs.metadata().unwrap().len(), HUGE);
    for at in [
        0,
        HUGE / 3,
        HUGE / 2 - 50_000,
        HUGE / 2 + 90_000,
        HUGE - 120_000,
    ] {
        let (mut a, mut b) = (vec![1; 120_000], vec![2; 120_000]);
        ours.read_exact_at(&mut a, at).unwrap();
        theirs.read_exact_at(&mut b, at).unwrap();
        assert!(a == b, "chunks of {size}, from {at}");
    }
}

/// What one byte in the middle of a hundred gigabytes costs at the remote.
fn one_byte(stage: &Stage, mounted: &Mounted, of: u64) -> u64 {
    let before = mounted.fetched();
    let at = HUGE / 2 + 12_345;
    let mut bytes = [[0], [1]];
    for (file, byte) in [stage.origin(huge(of)), mounted.path(huge(of))]
        .iter()
        .zip(&mut bytes)
    {
        File::open(file).unwrap().read_exact_at(byte, at).unwrap();
    }
    assert_eq!(bytes[0], bytes[1]);
    mounted.fetched() - before
}

#[test]
fn every_chunk_size_gives_the_same_bytes_on_one_cache() {
    let stage = Stage::new();
    for size in SIZES {
        let planted = plant(&stage, size);
        let mounted = mount(&stage, size, SlowSettings::default());
        let cost = one_byte(&stage, &mounted, size);
        assert!(
            // Its own block, and the first one, which the open asks for.
            cost > 0 && cost <= 2 * (size / 64).max(4096),
            "chunks of {size}: {cost} for one byte"
        );
        let before = mounted.fetched();
        let dir = format!("of-{size}");
        same_trees(&stage.origin(&dir), &mounted.path(&dir));
        assert_eq!(
            mounted.fetched() - before,
            planted,
            "chunks of {size}, cold"
        );
        same_places(&stage, &mounted, size);
        drop(mounted);
        // Mounted again with each size of all: what is cached stays as it is.
        for other in [size, SIZES[0], SIZES[5]] {
            let mounted = mount(&stage, other, SlowSettings::default());
            same_trees(&stage.origin(&dir), &mounted.path(&dir));
            same_places(&stage, &mounted, size);
            one_byte(&stage, &mounted, size);
            assert_eq!(
                mounted.fetched(),
                0,
                "chunks of {size}, mounted with {other}"
            );
        }
    }
}

#[test]
fn a_file_keeps_the_chunk_size_that_it_came_with() {
    let stage = Stage::new();
    for first in SIZES {
        plant(&stage, first);
        let at = first.trailing_zeros() as usize % SIZES.len();
        let later = SIZES[(at + 3) % SIZES.len()];
        let mounted = mount(&stage, first, SlowSettings::default());
        one_byte(&stage, &mounted, first);
        drop(mounted);
        let mounted = mount(&stage, later, SlowSettings::default());
        let file = File::open(mounted.path(huge(first))).unwrap();
        let mut byte = [7];
        file.read_exact_at(&mut byte, HUGE / 5).unwrap();
        assert_eq!(byte, [0]);
        assert_eq!(
            mounted.fetched(),
            (first / 64).max(4096),
            "of {first}, mounted with {later}"
        );
    }
}

#[test]
fn eight_readers_fetch_once_with_every_chunk_size() {
    let stage = Stage::new();
    let slow = SlowSettings {
        round_trip: Duration::from_millis(5),
        bytes_per_second: Some(400 << 20),
    };
    for size in SIZES {
        let name = format!("shared-{size}");
        let (ours, bytes) = (stage.origin(&name), content(size, 20_000_003));
        fs::write(&ours, &bytes).unwrap();
        let mounted = mount(&stage, size, slow);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| same_bytes(&ours, &mounted.path(&name)));
            }
        });
        assert_eq!(mounted.fetched(), bytes.len() as u64, "chunks of {size}");
    }
}
