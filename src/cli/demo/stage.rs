//! What the demo stands on: a directory with the sample tree, the cache and the mount point, and the daemon.
//!
//! Whatever way the demo ends, dropping the stage unmounts and removes all of it. Nothing is removed below the mount
//! point: it is unmounted first and then removed as the empty directory that it must be.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::origin::Origin;
use super::traffic::Traffic;
use crate::cli::args::{DemoArgs, DemoRemote};
use crate::cli::error::{Exit, Failure};
use crate::cli::mounts;
use crate::cli::quantity::show_size;
use crate::cli::umount::wait_for_end;
use crate::units::shown;

/// The directory with the sample tree, within the demo's own.
const SOURCE: &str = "slow-remote";
/// What the tree needs beside its largest file, and some air: twice, since the cache holds it again.
const BESIDE: u64 = 320 << 20;
/// The smallest largest file that is worth a demo.
const LEAST: u64 = 16 << 20;

/// What plays the remote.
enum Plays {
    /// A web server in this process.
    Web(Origin),
    /// A directory that is made slow: its round trip and its bandwidth, as the command line takes them.
    Dir([String; 2]),
}

/// The demo's own directory and what runs in it.
pub(super) struct Stage {
    root: PathBuf,
    /// The size of the largest sample file, shrunk to what the disk holds.
    pub big: u64,
    remote: Plays,
    interrupted: Arc<AtomicBool>,
}

/// The largest file that `free` bytes allow, at most `wanted`; `None` where it would be too small to show anything.
fn fitting(wanted: u64, free: u64) -> Option<u64> {
    let room = free.saturating_sub(2 * BESIDE) / 2;
    match room {
        room if room >= wanted => Some(wanted),
        room if room >= LEAST => Some(1 << room.ilog2()),
        _ => None,
    }
}

impl Stage {
    /// Makes the directories. Errors name the place and the way out.
    pub(super) fn new(args: &DemoArgs, interrupted: Arc<AtomicBool>) -> Result<Self, Failure> {
        let base = match (&args.dir, std::env::var_os("TMPDIR")) {
            (Some(dir), _) => dir.clone(),
            (None, Some(dir)) if !dir.is_empty() => dir.into(),
            _ => "/var/tmp".into(),
        };
        let cannot = |e: &dyn std::fmt::Display| {
            Failure::failed(format_args!(
                "the demo cannot use {}: {e}; name another directory with --dir",
                shown(&base)
            ))
        };
        let base_full = base.canonicalize().map_err(|e| cannot(&e))?;
        let disk = rustix::fs::statvfs(&base_full).map_err(|e| cannot(&e))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let big = fitting(args.size, free).ok_or_else(|| {
            let (has, needs) = (show_size(free), show_size(2 * (LEAST + BESIDE)));
            cannot(&format_args!(
                "{has} are free, and the demo needs at least {needs}"
            ))
        })?;
        let root = base_full.join(format!("larder-demo-{}", std::process::id()));
        let private = |dir: &Path| std::fs::DirBuilder::new().mode(0o700).create(dir);
        private(&root).map_err(|e| cannot(&e))?;
        let remote = match args.remote {
            DemoRemote::Web => {
                let serve = Origin::serve(root.join(SOURCE), args.round_trip, args.bandwidth);
                Plays::Web(serve.map_err(|e| cannot(&e))?)
            }
            DemoRemote::Dir => Plays::Dir([
                format!("{}ms", args.round_trip.as_millis()),
                args.bandwidth.to_string(),
            ]),
        };
        let stage = Self {
            root,
            big,
            remote,
            interrupted,
        };
        for dir in [stage.source(), stage.mount_point()] {
            private(&dir).map_err(|e| cannot(&e))?;
        }
        Ok(stage)
    }

    /// The directory with the sample tree.
    pub(super) fn source(&self) -> PathBuf {
        self.root.join(SOURCE)
    }

    /// The cache directory.
    pub(super) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Where it is mounted.
    pub(super) fn mount_point(&self) -> PathBuf {
        self.root.join("mnt")
    }

    /// Whether a web server plays the remote: it shows no links.
    pub(super) fn is_web(&self) -> bool {
        matches!(self.remote, Plays::Web(_))
    }

    /// Errors once the user has pressed Ctrl-C.
    pub(super) fn go_on(&self) -> Result<(), Failure> {
        if self.interrupted.load(Ordering::Relaxed) {
            Err(Failure::failed("interrupted"))
        } else {
            Ok(())
        }
    }

    /// Runs `larder mount`, as a user would. Returns what it said.
    pub(super) fn mount(&self) -> Result<String, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        // The demo is about the defaults, whatever this user has set for mounts of his own.
        for (name, _) in std::env::vars_os() {
            if name.as_bytes().starts_with(b"LARDER_") && name != "LARDER_LOG" {
                command.env_remove(name);
            }
        }
        command.arg("mount");
        match &self.remote {
            // The server is in this process: no proxy gets at it.
            Plays::Web(origin) => command.arg(origin.url()).env("NO_PROXY", "127.0.0.1"),
            Plays::Dir([round_trip, bandwidth]) => command
                .arg(self.source())
                .args([
                    "--slow-round-trip",
                    round_trip,
                    "--slow-bandwidth",
                    bandwidth,
                ])
                .args(["--settle", "1s"]),
        };
        let output = command
            .arg(self.mount_point())
            .arg("--cache-dir")
            .arg(self.cache())
            .arg("--cache-size")
            .arg((2 * (self.big + BESIDE)).to_string())
            .stdin(Stdio::null())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let code = output
            .status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(Exit::Failed, Exit::from_code);
        let said = text(&output.stderr);
        let sentence = said.strip_prefix("larder: ").unwrap_or(&said);
        Err(Failure::new(code, sentence))
    }

    /// What was asked of the remote so far: by the server's own count, or by that of the daemon since it started.
    pub(super) fn traffic(&self) -> Result<Traffic, Failure> {
        if let Plays::Web(origin) = &self.remote {
            return Ok(origin.traffic());
        }
        let stats = mounts::stats_of(&self.mount_point())?;
        let count = |name: &str| stats.get(name).and_then(serde_json::Value::as_u64);
        match (
            count("remote_requests"),
            count("remote_questions"),
            count("remote_bytes"),
        ) {
            (Some(fetches), Some(questions), Some(bytes)) => Ok(Traffic {
                requests: fetches + questions,
                bytes,
            }),
            _ => Err(Failure::failed(
                "the daemon's counters of the remote are missing: this is a bug in larder",
            )),
        }
    }

    /// Kills the daemon as a crash would, and waits until it is dead.
    pub(super) fn kill_daemon(&self) -> Result<u32, Failure> {
        let stats = mounts::stats_of(&self.mount_point())?;
        let pid = mounts::daemon_of(&stats).ok_or_else(|| {
            Failure::failed("the daemon does not report its process id: this is a bug in larder")
        })?;
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| {
            Failure::failed(format_args!(
                "{pid} is not a process id: this is a bug in larder"
            ))
        })?;
        kill_process(raw, Signal::KILL).map_err(std::io::Error::from)?;
        wait_for_end(pid, std::time::Duration::from_secs(10))?;
        Ok(pid)
    }

    /// Unmounts and removes everything. Says what could not be removed.
    pub(super) fn strike(&self) -> Result<(), Failure> {
        let mount_point = self.mount_point();
        if mounts::larder_at(&mount_point)?.is_some() {
            crate::cli::umount::unmount(&mount_point, true, std::time::Duration::from_secs(30))?;
        }
        if mount_point.exists() {
            std::fs::remove_dir(&mount_point)?;
        }
        match std::fs::remove_dir_all(&self.root) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Failure::failed(
                format_args!("cannot remove {}: {e}", shown(&self.root)),
            )),
            _ => Ok(()),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(failure) = self.strike() {
            eprintln!("larder: the demo could not clean up: {failure}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_file_shrinks_to_the_disk() {
        assert_eq!(fitting(1 << 30, 100 << 30), Some(1 << 30));
        assert_eq!(fitting(1 << 30, (2 << 30) + (640 << 20)), Some(1 << 30));
        assert_eq!(fitting(1 << 30, 2 << 30), Some(512 << 20));
        assert_eq!(fitting(1 << 30, 0), None);
        assert_eq!(fitting(1 << 20, 100 << 30), Some(1 << 20));
    }
}
