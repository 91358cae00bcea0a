//! `larder umount`: ends a mount and waits until its daemon has closed the cache.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::args::UmountArgs;
use super::error::Failure;
use super::mounts;
use crate::units::shown;

/// Runs the command.
pub(super) fn run(args: &UmountArgs) -> Result<(), Failure> {
    let shown = shown(&args.dir);
    if let Some(failure) = mounts::not_the_owner(&args.dir, "unmount it") {
        return Err(failure);
    }
    let dir = mounts::full_path(&args.dir)
        .map_err(|e| Failure::failed(format_args!("cannot unmount {shown}: {e}")))?;
    unmount(&dir, args.lazy, args.wait)
}

/// Unmounts the larder mount at the full path `dir` and waits up to `wait` for its daemon to end. A lazy unmount does not
/// wait while files are still open: the daemon lives until they are closed.
pub(super) fn unmount(dir: &Path, lazy: bool, wait: Duration) -> Result<(), Failure> {
    if mounts::larder_at(dir)?.is_none() {
        return Err(mounts::not_a_mount(dir));
    }
    // Asked before the unmount, since no daemon answers afterwards. A dead mount has no daemon to wait for.
    let daemon = mounts::stats_of(dir)
        .ok()
        .and_then(|stats| mounts::daemon_of(&stats));
    detach(dir, lazy)?;
    match (daemon, lazy) {
        (Some(pid), false) => wait_for_end(pid, wait),
        // Most often nothing is open, and the cache is free in a moment.
        (Some(pid), true) => wait_for_end(pid, wait.min(Duration::from_secs(5))).or(Ok(())),
        (None, _) => Ok(()),
    }
}

/// Takes the mount away: with umount2(2), or through fusermount3 where that is not allowed.
fn detach(dir: &Path, lazy: bool) -> Result<(), Failure> {
    let shown = shown(dir);
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazy);
    match rustix::mount::unmount(dir, flags) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(busy(dir)),
        Err(Errno::PERM | Errno::ACCESS) => detach_as_user(dir, lazy),
        Err(e) => Err(Failure::failed(format_args!("cannot unmount {shown}: {e}"))),
    }
}

fn busy(dir: &Path) -> Failure {
    let shown = shown(dir);
    Failure::failed(format_args!(
        "{shown} is in use: `fuser -vm {shown}` lists by whom; \
         `larder umount -l {shown}` detaches it now and lets them finish"
    ))
}

fn detach_as_user(dir: &Path, lazy: bool) -> Result<(), Failure> {
    let shown = shown(dir);
    let mode = if lazy { "-uz" } else { "-u" };
    let output = Command::new("fusermount3")
        .args([mode, "--"])
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| {
            Failure::failed(format_args!(
                "cannot unmount {shown}: fusermount3 cannot be run ({e}): install the package fuse3"
            ))
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    match said.trim() {
        said if said.contains("busy") => Err(busy(dir)),
        said => Err(Failure::failed(format_args!(
            "cannot unmount {shown}: {said}"
        ))),
    }
}

/// Waits until the process has ended.
pub(super) fn wait_for_end(pid: u32, wait: Duration) -> Result<(), Failure> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(process) = process else {
        return Ok(());
    };
    let handle = match pidfd_open(process, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(Errno::SRCH) => return Ok(()),
        Err(e) => return Err(Failure::failed(format_args!("cannot wait for {pid}: {e}"))),
    };
    let timeout = Timespec::try_from(wait).ok();
    let mut fds = [PollFd::new(&handle, PollFlags::IN)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) => Err(Failure::failed(format_args!(
            "the mount is gone, but its daemon (process {pid}) still runs after {wait:?}: \
             it may be waiting for a slow cache disk"
        ))),
        Ok(_) => Ok(()),
        Err(e) => Err(Failure::failed(format_args!("cannot wait for {pid}: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_process() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let late = wait_for_end(child.id(), Duration::from_millis(50)).unwrap_err();
        assert!(late.sentence.contains(&child.id().to_string()));
        child.kill().unwrap();
        wait_for_end(child.id(), Duration::from_secs(10)).unwrap();
        child.wait().unwrap();
        wait_for_end(child.id(), Duration::ZERO).unwrap();
    }

    #[test]
    fn an_ordinary_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let failure = unmount(dir.path(), false, Duration::ZERO).unwrap_err();
        assert!(failure.sentence.contains("is not a larder mount"));
    }
}
