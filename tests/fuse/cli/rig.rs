//! What the tests of the program stand on: a remote, a mount point, a cache, and the program itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::engine::{Clock, SystemClock};
use rustix::process::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// A remote, a mount point and a place for the cache; whatever is still mounted at the end is taken away.
pub(crate) struct Rig {
    dir: TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let rig = Self {
            dir: TempDir::new().unwrap(),
        };
        fs::create_dir(rig.remote()).unwrap();
        fs::create_dir(rig.mnt()).unwrap();
        fs::write(rig.remote().join("hello"), "hello, larder\n").unwrap();
        fs::write(rig.remote().join("data"), pattern(3 << 20)).unwrap();
        rig
    }

    /// With files that are old enough to be kept.
    pub(crate) fn settled() -> Self {
        let rig = Self::new();
        std::thread::sleep(Duration::from_millis(2200));
        rig
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn remote(&self) -> PathBuf {
        self.path("remote")
    }

    pub(crate) fn mnt(&self) -> PathBuf {
        self.path("mnt")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    pub(crate) fn mount_command(&self) -> Command {
        let mut command = larder();
        command
            .arg("mount")
            .args([self.remote(), self.mnt()])
            .arg("--cache-dir")
            .arg(self.cache())
            .args(["--cache-size", "64M"]);
        command
    }

    pub(crate) fn mount(&self) -> String {
        let output = self.mount_command().output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Mounts another directory in the rig's place, with a cache of this size.
    pub(crate) fn mount_other(&self, remote: &Path, size: &str, more: &[&str]) {
        let mut command = larder();
        command.arg("mount").arg(remote).arg(self.mnt());
        command.arg("--cache-dir").arg(self.cache());
        command.args(["--cache-size", size]).args(more);
        if !more.contains(&"--timeout") {
            // larder asks once more where an answer is late: what comes twice on a busy machine is not the tests' affair.
            command.args(["--timeout", "20m"]);
        }
        let output = run(&mut command);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// A program that another test is starting has for a moment, until it is the program, what this one had open.
    pub(crate) fn umount(&self) {
        wait_until("nobody else has a file of it open", || {
            let output = run(larder().arg("umount").arg(self.mnt()));
            let said = stderr(&output);
            let is_over = output.status.success();
            assert!(is_over || said.contains("is in use"), "{said}");
            is_over
        });
    }

    pub(crate) fn stats(&self, path: &Path) -> Value {
        let output = run(larder().args(["stats", "--json"]).arg(path));
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn daemon(&self) -> Pid {
        let pid = self.stats(&self.mnt())["pid"].as_u64().unwrap();
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    pub(crate) fn is_mounted(&self) -> bool {
        mount_type(&self.mnt()).is_some()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.is_mounted() {
            run(larder().args(["umount", "--lazy"]).arg(self.mnt()));
        }
    }
}

pub(crate) fn larder() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.stdin(Stdio::null()).env_remove("LARDER_LOG");
    // Passwords of whoever runs the tests are none of theirs, and no proxy gets at this machine's servers.
    command
        .env("NETRC", "/dev/null")
        .env("NO_PROXY", "127.0.0.1");
    command
}

pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs the command, which is to fail with this code and a message that holds all these words.
pub(crate) fn refused(command: &mut Command, code: i32, words: &[&str]) -> String {
    let output = run(command);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{command:?}: no {word:?} in: {said}");
    }
    said
}

pub(crate) fn pattern(len: u32) -> Vec<u8> {
    (0..len / 4)
        .flat_map(|n| n.wrapping_mul(0x9E37_79B9).to_le_bytes())
        .collect()
}

/// The type of the mount at exactly this path, from the kernel's list.
pub(crate) fn mount_type(path: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let at = path.to_str().unwrap();
    table.lines().rev().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        (front.split(' ').nth(4)? == at).then(|| back.split(' ').next().unwrap().to_owned())
    })
}

/// Tells threads to end when this goes, whatever fails meanwhile: a scope waits for them.
pub(crate) struct SetAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long a test waits for what must come. It says when to give up, and never what is quick enough: on a machine that
/// has much else to do everything comes late.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = SystemClock::default();
    while !done() {
        assert!(clock.monotonic() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every file of a directory with its bytes, for "nothing was touched".
pub(crate) fn snapshot(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}
