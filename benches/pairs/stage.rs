//! What both builds read: nginx with a large file, and a directory with a file to read warm and many small ones.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::engine::{Clock, SystemClock};
use larder::testing::Rng;

use crate::given::{Given, Scale};
use crate::median;
use crate::origin::Nginx;
use crate::side::Side;

/// Bytes of a small file.
const SMALL_LEN: usize = 4 << 10;
/// The cache that is only mounted.
pub(crate) const GEOMETRY: &str = "geometry";
/// The file that nginx serves.
pub(crate) const COLD: &str = "cold.bin";

pub(crate) struct Stage {
    /// BEFORE and AFTER.
    pub(crate) sides: [Side; 2],
    pub(crate) nginx: Nginx,
    pub(crate) scale: Scale,
    clock: SystemClock,
    interrupted: Arc<AtomicBool>,
    dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new(given: &Given) -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted)).expect("a handler");
        }
        let dir = tempfile::Builder::new()
            .prefix("larder-bench-")
            .tempdir_in(&given.dir)
            .expect("a directory to work in");
        require_room(dir.path(), given.scale.needed);
        let side =
            |n: usize, name: &str| Side::new(given.binaries[n].clone(), dir.path().join(name));
        let stage = Self {
            sides: [side(0, "before"), side(1, "after")],
            nginx: Nginx::start(dir.path()),
            scale: given.scale,
            clock: SystemClock::default(),
            interrupted,
            dir,
        };
        eprintln!("preparing files");
        stage.nginx.make(COLD, stage.scale.cold_len);
        stage.make_tree();
        for side in &stage.sides {
            eprintln!("preparing a cache of {} geometry", stage.scale.geometry);
            let mount = side.mount(stage.tree(), GEOMETRY, stage.scale.geometry);
            stage.read_small(mount.path());
            mount.unmount();
        }
        stage
    }

    /// The directory that is mounted as a remote: `warm.bin`, and the small files in `small`.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn make_tree(&self) {
        let small = self.tree().join("small");
        fs::create_dir_all(&small).expect("space");
        let mut rng = Rng::new(1);
        let mut bytes = vec![0; 1 << 20];
        for n in 0..self.scale.small_files {
            rng.fill(&mut bytes[..SMALL_LEN]);
            fs::write(small.join(n.to_string()), &bytes[..SMALL_LEN]).expect("space");
        }
        let mut warm = File::create(self.tree().join("warm.bin")).expect("space");
        for _ in 0..self.scale.warm_len >> 20 {
            rng.fill(&mut bytes);
            warm.write_all(&bytes).expect("space");
        }
        drop(warm);
        // larder caches a file once it has not changed for two seconds.
        std::thread::sleep(Duration::from_millis(2500));
    }

    /// Lists the directory of small files, and reads each of them whole.
    pub(crate) fn read_small(&self, mount: &Path) {
        let small = mount.join("small");
        let names = fs::read_dir(&small).expect("the mount shows it").count();
        assert_eq!(names as u64, self.scale.small_files, "all are listed");
        for n in 0..self.scale.small_files {
            assert_eq!(read_whole(&small.join(n.to_string())), SMALL_LEN as u64);
        }
    }

    /// The seconds that `work` takes.
    pub(crate) fn time(&self, work: impl FnOnce()) -> f64 {
        let began = self.clock.monotonic();
        work();
        (self.clock.monotonic() - began).as_secs_f64()
    }

    /// Measures both sides `turns` times in turns, and returns the median of each side. The side that goes first changes
    /// from turn to turn and from round to round.
    pub(crate) fn in_turns(
        &self,
        round: usize,
        turns: usize,
        mut measure: impl FnMut(usize) -> f64,
    ) -> [f64; 2] {
        let mut times = [Vec::new(), Vec::new()];
        for turn in 0..turns {
            let first = (round + turn) % 2;
            for side in [first, 1 - first] {
                self.settle();
                times[side].push(measure(side));
            }
        }
        times.map(|times| median(&times))
    }

    /// Lets the disk write what is left over from the last turn, so that it does not slow down the next one.
    fn settle(&self) {
        assert!(
            !self.interrupted.load(Ordering::Relaxed),
            "interrupted; everything is unmounted and removed"
        );
        let dir = File::open(self.dir.path()).expect("our own directory");
        rustix::fs::syncfs(&dir).expect("the disk works");
    }
}

fn require_room(dir: &Path, needed: u64) {
    let disk = rustix::fs::statvfs(dir).expect("it was just made");
    let free = disk.f_bavail * disk.f_frsize;
    // larder stops caching when less than a tenth is free.
    let needed = needed + disk.f_blocks * disk.f_frsize / 10;
    assert!(
        free >= needed,
        "{} has {} MiB free and this needs {}: give it a --dir with more",
        dir.display(),
        free >> 20,
        needed >> 20
    );
}

/// Reads a file from end to end, and returns its length.
pub(crate) fn read_whole(path: &Path) -> u64 {
    thread_local! {
        static BUFFER: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; 1 << 20]);
    }
    let mut file = File::open(path).expect("the mount shows it");
    BUFFER.with_borrow_mut(|buffer| {
        let mut total = 0;
        loop {
            match file.read(buffer).expect("it can be read") {
                0 => return total,
                n => total += n as u64,
            }
        }
    })
}
