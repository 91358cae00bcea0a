//! The daemon under test: the program itself, in the foreground, so that it can be killed and waited for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::cli::rig::{larder, run, stderr, wait_until};
use super::mounts::unmount;
use super::tree::CHUNK_RULES;

/// What a cache runs out of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Nothing: only superseded versions go, and their places are reused.
    Roomy,
    /// Places: something is culled all the time, and files are overwritten in place.
    FewSlots,
    /// Bytes: something is culled all the time, and some files are unlinked.
    LittleRoom,
}

impl Shape {
    pub(crate) fn of(seed: u64) -> Self {
        match seed % 3 {
            0 => Self::LittleRoom,
            1 => Self::FewSlots,
            _ => Self::Roomy,
        }
    }

    fn args(self) -> [&'static str; 6] {
        let (size, slots) = match self {
            Self::Roomy => ("128M", "2048"),
            Self::FewSlots => ("64M", "128"),
            Self::LittleRoom => ("16M", "768"),
        };
        ["--cache-size", size, "--slots", slots, "--files", "512"]
    }
}

/// What a daemon is started with.
pub(crate) struct Setup<'a> {
    pub(crate) url: &'a str,
    pub(crate) mnt: &'a Path,
    pub(crate) cache: &'a Path,
    /// Takes its output and its configuration.
    pub(crate) scratch: &'a Path,
    pub(crate) variant: Variant,
    pub(crate) shape: Shape,
}

/// The deliberately unsafe variants of larder, by the value of the environment variable that asks for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variant {
    /// larder as it is.
    Safe,
    /// Every checksum counts as right.
    TrustChecksums,
    /// The same, and a block is noted as present before it is written.
    BitsFirst,
}

impl Variant {
    fn put(self, command: &mut Command) {
        match self {
            Self::Safe => command.env_remove("LARDER_UNSAFE"),
            Self::TrustChecksums => command.env("LARDER_UNSAFE", "trust-checksums"),
            Self::BitsFirst => command.env("LARDER_UNSAFE", "bits-first"),
        };
    }
}

/// A running daemon with its mount; both end when it is dropped.
pub(crate) struct Daemon {
    child: Option<Child>,
    pub(crate) mnt: PathBuf,
}

impl Daemon {
    /// Mounts; returns when the mount answers.
    pub(crate) fn start(setup: &Setup<'_>) -> Self {
        let Setup { mnt, scratch, .. } = *setup;
        fs::create_dir_all(mnt).unwrap();
        let config = scratch.join("larder.toml");
        fs::write(&config, CHUNK_RULES).unwrap();
        let said = scratch.join("said");
        let output = File::create(&said).unwrap();
        // It ends with the test, even where that is killed: the kernel sees to it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        command.arg(larder().get_program());
        for (name, value) in larder().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        setup.variant.put(&mut command);
        command
            .arg("mount")
            .args([Path::new(setup.url), mnt])
            .arg("--cache-dir")
            .arg(setup.cache)
            .args(setup.shape.args())
            .args(["--metadata-ttl", "minimal", "--foreground"])
            .arg("--config")
            .arg(&config)
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut daemon = Self {
            child: Some(child),
            mnt: mnt.to_owned(),
        };
        // It says so when the mount answers and nothing that it could still fail at is left.
        let mounted = format!("at {}: Ctrl-C", mnt.display());
        let said = || fs::read_to_string(&said).unwrap();
        while !said().contains(&mounted) {
            let status = daemon
                .child
                .as_mut()
                .and_then(|child| child.try_wait().unwrap());
            assert!(status.is_none(), "larder ended ({status:?}): {}", said());
            std::thread::sleep(Duration::from_millis(2));
        }
        daemon
    }

    /// kill -9. The mount is dead afterwards, and still there.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends it in order: the cache is closed.
    pub(crate) fn stop(mut self) {
        let output = run(larder().arg("umount").arg(&self.mnt));
        assert!(output.status.success(), "{}", stderr(&output));
        let mut child = self.child.take().unwrap();
        wait_until("the daemon has ended", || {
            child.try_wait().unwrap().is_some()
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        unmount(&self.mnt);
    }
}

/// Has cachefsck mend a cache and look again. Errors say what it found the second time, or why it could not be done.
pub(crate) fn check_twice(cache: &Path) -> Result<(), String> {
    let fsck = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cachefsck"));
        let output = run(command.args(args).arg(cache).stdin(Stdio::null()));
        let said = [&output.stdout[..], &output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (code, said) = fsck(&["-p"]);
    if !matches!(code, Some(0 | 1)) {
        return Err(format!("cachefsck -p: {code:?}: {said}"));
    }
    // Presence whose bytes were lost is found by reading them: that is what a mount does, and what --deep is for.
    let (code, said) = fsck(&["-p", "--deep"]);
    if !matches!(code, Some(0 | 1)) {
        return Err(format!("cachefsck -p --deep: {code:?}: {said}"));
    }
    match fsck(&["-n", "--deep", "-v"]) {
        (Some(0), _) => Ok(()),
        (code, said) => Err(format!("cachefsck -n --deep: {code:?}: {said}")),
    }
}
