//! What a rig takes down again, whatever happens: mounts, loop devices.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::super::cli::rig::{mount_type, run, stderr};

/// How often a busy mount is tried before it is detached lazily.
const TRIES: usize = 200;

/// Unmounts what is mounted at a place, if anything is: at once where nobody uses it, lazily where somebody goes on to.
pub(crate) fn unmount(place: &Path) {
    for _ in 0..TRIES {
        match rustix::mount::unmount(place, UnmountFlags::NOFOLLOW) {
            Err(Errno::BUSY) => std::thread::sleep(Duration::from_millis(5)),
            // Nothing is mounted there, or nothing is there.
            _ => return,
        }
    }
    eprintln!("{} is still in use: unmounted lazily", place.display());
    let lazily = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    let _ = rustix::mount::unmount(place, lazily);
}

/// Runs a program of the system, which is to succeed.
pub(crate) fn tool<S: AsRef<OsStr>>(program: &str, package: &str, args: &[S]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output = Command::new(program).env("PATH", path).args(args).output();
    let output = output.unwrap_or_else(|e| {
        panic!("{program} cannot be run ({e}): the tests need it (apt-get install {package})")
    });
    let args: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        stderr(&output)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A mounted file system, until it is dropped.
pub(crate) struct Mounted {
    place: PathBuf,
}

impl Mounted {
    pub(crate) fn new(device: &Path, place: &Path, fs: &str, options: &str) -> Self {
        let mounted = Self {
            place: place.to_owned(),
        };
        tool(
            "mount",
            "mount",
            &[
                OsStr::new("-t"),
                OsStr::new(fs),
                OsStr::new("-o"),
                OsStr::new(options),
                device.as_os_str(),
                place.as_os_str(),
            ],
        );
        assert!(
            mount_type(place).is_some(),
            "{} is mounted",
            place.display()
        );
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.place);
    }
}

/// A loop device over a file, until it is dropped.
pub(crate) struct Loop {
    device: PathBuf,
}

impl Loop {
    /// Attaches the file to a free loop device. Only root can.
    pub(crate) fn over(file: &Path, direct: bool) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "loop devices are root's: run this test as root"
        );
        let direct = format!("--direct-io={}", if direct { "on" } else { "off" });
        let args = [
            OsStr::new("--find"),
            OsStr::new("--show"),
            OsStr::new(&direct),
            file.as_os_str(),
        ];
        Self {
            device: tool("losetup", "mount", &args).into(),
        }
    }

    pub(crate) fn device(&self) -> &Path {
        &self.device
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // A device in use goes when its last user does.
        let mut command = Command::new("losetup");
        command.env(
            "PATH",
            format!(
                "{}:/usr/sbin:/sbin",
                std::env::var("PATH").unwrap_or_default()
            ),
        );
        run(command.arg("--detach").arg(&self.device));
    }
}
