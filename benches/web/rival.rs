//! Who reads: larder, and rclone with its cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Something that mounts a web server with an empty cache.
pub(crate) trait Rival {
    fn mount(&self, url: &str) -> Mounted;
}

/// A mount, which ends with its cache when it is dropped.
pub(crate) struct Mounted {
    at: PathBuf,
    cache: PathBuf,
    daemon: Child,
}

impl Mounted {
    fn new(dir: &Path, command: impl FnOnce(&Path, &Path) -> Command) -> Self {
        let (at, cache) = (dir.join("mnt"), dir.join("cache"));
        fs::create_dir_all(&at).expect("space");
        fs::create_dir_all(&cache).expect("space");
        let daemon = command(&at, &cache)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("larder is built, rclone is installed (apt-get install rclone)");
        let mounted = Self { at, cache, daemon };
        for _ in 0..500 {
            if mounted.at.join("large.bin").exists() {
                return mounted;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("nothing was mounted");
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// The processor time of the daemon so far.
    pub(crate) fn processor(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.daemon.id()));
        let stat = stat.expect("the daemon runs");
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks: u64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).output();
        let _ = self.daemon.wait();
        let _ = fs::remove_dir_all(&self.cache);
    }
}

pub(crate) struct Larder(PathBuf);

impl Larder {
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.into())
    }
}

impl Rival for Larder {
    fn mount(&self, url: &str) -> Mounted {
        Mounted::new(&self.0, |at, cache| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
            command.args(["mount", "-f", url]).arg(at);
            command.arg("--cache-dir").arg(cache.join("larder"));
            command.args(["--cache-size", "3G"]);
            command
        })
    }
}

pub(crate) struct Rclone(PathBuf);

impl Rclone {
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.into())
    }
}

impl Rival for Rclone {
    fn mount(&self, url: &str) -> Mounted {
        Mounted::new(&self.0, |at, cache| {
            let mut command = Command::new("rclone");
            command.args(["mount", ":http:"]).arg(at);
            command.args(["--http-url", url, "--read-only", "--config", "/dev/null"]);
            command.args(["--vfs-cache-mode", "full"]);
            command.arg("--cache-dir").arg(cache);
            command
        })
    }
}
