//! What a rig takes down again, whatever happens: mounts, loop devices.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::super::cli::rig::{run, stderr};

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
    let (code, said) = try_tool(program, package, args);
    assert_eq!(code, Some(0), "{said}");
    said
}

/// Runs a program of the system. Returns its exit code with its output, or with its errors and how it was called.
pub(crate) fn try_tool<S: AsRef<OsStr>>(
    program: &str,
    package: &str,
    args: &[S],
) -> (Option<i32>, String) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output = Command::new(program).env("PATH", path).args(args).output();
    let output = output.unwrap_or_else(|e| {
        panic!("{program} cannot be run ({e}): the tests need it (apt-get install {package})")
    });
    let args: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    let said = match output.status.success() {
        true => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        false => format!("{program} {args:?}: {}", stderr(&output)),
    };
    (output.status.code(), said)
}

/// A mounted file system, until it is dropped.
pub(crate) struct Mounted {
    place: PathBuf,
}

impl Mounted {
    /// Mounts a device, or says why it cannot be.
    pub(crate) fn new(
        device: &Path,
        place: &Path,
        fs: &str,
        options: &str,
    ) -> Result<Self, String> {
        let mounted = Self {
            place: place.to_owned(),
        };
        let (device, place) = (device.to_str().unwrap(), place.to_str().unwrap());
        match try_tool("mount", "mount", &["-t", fs, "-o", options, device, place]) {
            (Some(0), _) => Ok(mounted),
            (_, said) => Err(said),
        }
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
