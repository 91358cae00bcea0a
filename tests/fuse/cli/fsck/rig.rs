//! A cache without a daemon, ways to damage it, and the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use larder::storage::{CacheDir, CreateOptions, Storage, open_or_create};
use larder::units::SlotId;
use tempfile::TempDir;

use crate::cli::rig::{run, stderr};

/// The program.
pub(super) fn cachefsck() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachefsck"));
    command.stdin(Stdio::null());
    command
}

/// A small cache that nobody has used yet, in a directory of its own.
pub(super) struct Cache {
    dir: TempDir,
}

impl Cache {
    pub(super) fn new() -> Self {
        let cache = Self {
            dir: TempDir::new().unwrap(),
        };
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        open_or_create(&cache.path(), &options, &mut |_| {}).unwrap();
        cache
    }

    /// With two damaged records, of different kinds.
    pub(super) fn damaged() -> Self {
        let cache = Self::new();
        cache.damage();
        cache
    }

    pub(super) fn damage(&self) {
        let open = CacheDir::open(&self.path()).unwrap();
        let geometry = open.superblock().geometry;
        for offset in [geometry.blob_offset(3), geometry.slot_offset(SlotId(5))] {
            open.write_index(offset, &[7; 512]).unwrap();
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.beside("cache")
    }

    /// A path in the directory that the cache directory lies in.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn index(&self) -> Vec<u8> {
        fs::read(self.path().join("index.larder")).unwrap()
    }

    /// Runs the program on it: code, standard output, standard error.
    pub(super) fn fsck(&self, args: &[&str]) -> (i32, String, String) {
        told(cachefsck().args(args).arg(self.path()))
    }

    /// As [`Cache::fsck`], where the cache's disk is mounted read-only: in a mount namespace of its own, which takes the
    /// mount away with it.
    pub(super) fn fsck_read_only(&self, args: &[&str]) -> (i32, String, String) {
        let script =
            "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
        let own_user = !rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.args(if own_user { &["-rm"][..] } else { &["-m"] });
        command.args(["sh", "-c", script, "sh"]).arg(self.path());
        command.arg(env!("CARGO_BIN_EXE_cachefsck"));
        told(command.args(args).arg(self.path()).stdin(Stdio::null()))
    }
}

pub(super) fn told(command: &mut Command) -> (i32, String, String) {
    let output: Output = run(command);
    let code = output.status.code();
    let code = code.unwrap_or_else(|| panic!("{command:?}: {}", output.status));
    let out = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    (code, out, stderr(&output))
}

/// Every file below a directory, with its bytes.
pub(super) fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut files, mut left) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => {
                    let below = path.strip_prefix(dir).unwrap();
                    files.push((below.to_owned(), fs::read(&path).unwrap()));
                }
            }
        }
    }
    files.sort();
    files
}
