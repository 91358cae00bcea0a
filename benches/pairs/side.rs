//! One of the two builds, with a directory of its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct Side {
    binary: PathBuf,
    dir: PathBuf,
}

impl Side {
    /// Makes the directory `dir` with a mount point.
    pub(crate) fn new(binary: PathBuf, dir: PathBuf) -> Self {
        fs::create_dir_all(dir.join("mnt")).expect("space");
        Self { binary, dir }
    }

    fn larder(&self, args: &[&OsStr]) -> Vec<u8> {
        let mut command = Command::new(&self.binary);
        command.args(args);
        // Options of the user's own would change what is measured.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"LARDER_") {
                command.env_remove(name);
            }
        }
        let output = command.output().expect("a program");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
        output.stdout
    }

    /// Mounts `remote` with the cache of that name, and returns when larder says that the mount is ready.
    pub(crate) fn mount(&self, remote: impl AsRef<OsStr>, cache: &str, size: &str) -> Mount<'_> {
        let point = self.dir.join("mnt");
        // The drop of this unmounts also what was mounted and then reported an error.
        let mount = Mount {
            side: self,
            point: point.clone(),
        };
        self.larder(&[
            "mount".as_ref(),
            remote.as_ref(),
            point.as_ref(),
            "--cache-dir".as_ref(),
            self.dir.join(cache).as_ref(),
            "--cache-size".as_ref(),
            size.as_ref(),
        ]);
        mount
    }

    /// Removes a cache that is not in use.
    pub(crate) fn remove(&self, cache: &str) {
        fs::remove_dir_all(self.dir.join(cache)).expect("it is not in use");
    }
}

/// A mount, which ends when it is dropped.
pub(crate) struct Mount<'a> {
    side: &'a Side,
    point: PathBuf,
}

impl Mount<'_> {
    pub(crate) fn path(&self) -> &Path {
        &self.point
    }

    /// A counter of `larder stats --json`.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let args = ["stats".as_ref(), "--json".as_ref(), self.point.as_os_str()];
        let stats: serde_json::Value =
            serde_json::from_slice(&self.side.larder(&args)).expect("an object");
        stats[name].as_u64().expect("a counter")
    }

    /// Returns when the cache is no longer in use.
    pub(crate) fn unmount(self) {
        self.side
            .larder(&["umount".as_ref(), self.point.as_os_str()]);
        std::mem::forget(self);
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Only a panic leads here: `unmount` forgets the mount.
        let _ = Command::new(&self.side.binary)
            .args(["umount", "-l"])
            .arg(&self.point)
            .output();
    }
}
