//! What is measured, always as seconds.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use larder::testing::Rng;

use crate::given::Scale;
use crate::side::Mount;
use crate::stage::{COLD, GEOMETRY, Stage, read_whole};

/// The size of a cache that holds everything that is read.
const CACHE_SIZE: &str = "3G";
const HIT_LEN: [usize; 2] = [4 << 10, 128 << 10];

pub(crate) struct Measure {
    pub(crate) what: String,
    /// Seconds before and after, of each pair.
    pub(crate) pairs: Vec<[f64; 2]>,
}

/// The measures without any pair, in the order in which `take` takes them.
pub(crate) fn all(scale: &Scale) -> Vec<Measure> {
    let files = scale.small_files;
    [
        "cached read of 4 KiB".to_owned(),
        "cached read of 128 KiB".to_owned(),
        format!("cold read of {} MiB from nginx", scale.cold_len >> 20),
        format!("{files} files of 4 KiB, cold"),
        format!("{files} files of 4 KiB, cached, after a mount"),
        format!("mount of a cache of {} geometry", scale.geometry),
    ]
    .map(|what| Measure {
        what,
        pairs: Vec::new(),
    })
    .into()
}

/// Takes one pair of each measure.
pub(crate) fn take(stage: &Stage, round: usize, measures: &mut [Measure]) {
    let [hits, large_hits] = cached_reads(stage, round);
    let cold = cold_read(stage, round);
    let [small_cold, small_cached] = small_files(stage, round);
    let mounted = mount(stage, round);
    let taken = [hits, large_hits, cold, small_cold, small_cached, mounted];
    for (measure, pair) in measures.iter_mut().zip(taken) {
        measure.pairs.push(pair);
    }
}

/// Seconds of one read, for each length of [`HIT_LEN`]. Both sides are mounted at once, so that their turns can be short.
fn cached_reads(stage: &Stage, round: usize) -> [[f64; 2]; 2] {
    let warm_up = |n: usize| {
        let side = &stage.sides[n];
        let mount = side.mount(stage.tree(), "cache", CACHE_SIZE);
        read_whole(&mount.path().join("warm.bin"));
        // What is still to be written is written when this returns.
        mount.unmount();
        let mount = side.mount(stage.tree(), "cache", CACHE_SIZE);
        let file = Direct::open(&mount);
        // A block is verified at its first read.
        file.read(HIT_LEN[1], (0..stage.scale.warm_len).step_by(HIT_LEN[1]));
        (mount, file)
    };
    let mounts = [warm_up(0), warm_up(1)];
    let pairs = [0, 1].map(|kind| {
        let (len, reads) = (HIT_LEN[kind], stage.scale.hits[kind]);
        let blocks = stage.scale.warm_len / len as u64;
        stage.in_turns(round, 8, |n| {
            let (mount, file) = &mounts[n];
            // Both sides read the same blocks in the same order, other ones in each round.
            let mut rng = Rng::new(round as u64);
            let offsets = (0..reads).map(|_| rng.below(blocks) * len as u64);
            let before = ["remote_bytes", "hit_bytes"].map(|name| mount.counter(name));
            let time = stage.time(|| file.read(len, offsets));
            let after = ["remote_bytes", "hit_bytes"].map(|name| mount.counter(name));
            assert_eq!(after[0], before[0], "everything is cached");
            assert_eq!(
                after[1] - before[1],
                reads * len as u64,
                "larder answered, not the kernel"
            );
            time / reads as f64
        })
    });
    for (side, (mount, file)) in stage.sides.iter().zip(mounts) {
        drop(file);
        mount.unmount();
        side.remove("cache");
    }
    pairs
}

/// The file to read warm, opened with O_DIRECT: the kernel asks larder at every read, and keeps no pages.
struct Direct(File);

impl Direct {
    fn open(mount: &Mount) -> Self {
        let flags = rustix::fs::OFlags::DIRECT.bits();
        let file = File::options()
            .read(true)
            .custom_flags(flags.cast_signed())
            .open(mount.path().join("warm.bin"));
        Self(file.expect("the mount shows it"))
    }

    /// Reads `len` bytes at each of the offsets, which are multiples of `len`.
    fn read(&self, len: usize, offsets: impl Iterator<Item = u64>) {
        const PAGE: usize = 4096;
        let mut buffer = vec![0; len + PAGE];
        let start = buffer.as_ptr().align_offset(PAGE);
        let buffer = &mut buffer[start..start + len];
        for offset in offsets {
            let read = self.0.read_at(buffer, offset).expect("it can be read");
            assert_eq!(read, len, "a whole block");
        }
    }
}

/// Seconds of a sequential read with an empty cache. nginx is on this machine, so that a round trip takes no time.
fn cold_read(stage: &Stage, round: usize) -> [f64; 2] {
    let url = format!("http://127.0.0.1:{}/", stage.nginx.port());
    stage.in_turns(round, 2, |n| {
        let side = &stage.sides[n];
        let mount = side.mount(&url, "cache", CACHE_SIZE);
        let sent = stage.nginx.sent();
        let mut read = 0;
        let time = stage.time(|| read = read_whole(&mount.path().join(COLD)));
        assert_eq!(read, stage.scale.cold_len, "the whole file was read");
        mount.unmount();
        side.remove("cache");
        assert!(stage.nginx.sent() - sent >= read, "nothing was cached");
        time
    })
}

/// Seconds for all small files: with an empty cache, and cached after a new mount.
fn small_files(stage: &Stage, round: usize) -> [[f64; 2]; 2] {
    let cold = stage.in_turns(round, 1, |n| {
        let side = &stage.sides[n];
        let mount = side.mount(stage.tree(), "cache", CACHE_SIZE);
        let time = stage.time(|| stage.read_small(mount.path()));
        mount.unmount();
        // On a slow disk, larder may not have cached every file. Another read caches what is left out.
        let mount = side.mount(stage.tree(), "cache", CACHE_SIZE);
        stage.read_small(mount.path());
        mount.unmount();
        time
    });
    let cached = stage.in_turns(round, 3, |n| {
        let mount = stage.sides[n].mount(stage.tree(), "cache", CACHE_SIZE);
        let time = stage.time(|| stage.read_small(mount.path()));
        assert_eq!(mount.counter("remote_bytes"), 0, "everything is cached");
        mount.unmount();
        time
    });
    for side in &stage.sides {
        side.remove("cache");
    }
    [cold, cached]
}

/// Seconds from the start of `larder mount` to the end of the first cached read.
fn mount(stage: &Stage, round: usize) -> [f64; 2] {
    stage.in_turns(round, 6, |n| {
        let mut mounted = None;
        let time = stage.time(|| {
            let mount = stage.sides[n].mount(stage.tree(), GEOMETRY, stage.scale.geometry);
            read_whole(&mount.path().join("small/0"));
            mounted = Some(mount);
        });
        let mount = mounted.expect("it was mounted");
        assert_eq!(mount.counter("remote_bytes"), 0, "it is cached");
        mount.unmount();
        time
    })
}
