//! mount(2) and umount(2).
//!
//! As root the mount is made here rather than by fuser, whose own mount shows as type `fuse` instead of `fuse.larder`.
//! Other users go through fusermount3 (`helper.rs`), which opens /dev/fuse as well.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{Config, Session};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::error::DeviceError;
use super::glue::Glue;
use super::helper;
use super::options::{Options, SUBTYPE};

/// A mount that no session serves yet. Dropped, it is taken down again.
pub(super) struct Device {
    fd: Option<OwnedFd>,
    place: PathBuf,
}

/// Whether the user lacks what only root has, so that the helper is to be asked.
pub(super) fn is_for_root_alone(error: &DeviceError) -> bool {
    let (DeviceError::Open(error) | DeviceError::Mount(error)) = error;
    error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root()
}

const PATH: &str = "/dev/fuse";

/// Whether mount(2) is allowed to this process: to root, as a rule.
pub(super) fn may_mount() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| {
        sets.effective
            .contains(rustix::thread::CapabilitySet::SYS_ADMIN)
    })
}

/// Opens the kernel's side.
pub(super) fn open() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(PATH, flags, Mode::empty()).map_err(Into::into)
}

impl Device {
    /// Opens /dev/fuse and mounts it.
    pub(super) fn mount(
        place: &Path,
        fsname: &str,
        allow_other: bool,
        options: &Options,
    ) -> Result<Self, DeviceError> {
        let fd = open().map_err(DeviceError::Open)?;
        let data = format!(
            "fd={},rootmode=40000,user_id={},group_id={},default_permissions{}",
            fd.as_raw_fd(),
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
            if allow_other { ",allow_other" } else { "" }
        );
        let data = CString::new(data).map_err(|error| DeviceError::Mount(error.into()))?;
        let fs_type = format!("fuse.{SUBTYPE}");
        rustix::mount::mount(fsname, place, fs_type, options.flags, data.as_c_str())
            .map_err(|error| DeviceError::Mount(error.into()))?;
        Ok(Self {
            fd: Some(fd),
            place: place.into(),
        })
    }

    /// Has the helper open and mount it.
    pub(super) fn mount_as_user(
        place: &Path,
        fsname: &str,
        allow_other: bool,
        options: &Options,
    ) -> io::Result<Self> {
        let fd = helper::mount(place, &options.for_helper(fsname, allow_other))?;
        Ok(Self {
            fd: Some(fd),
            place: place.into(),
        })
    }

    /// Shakes hands with the kernel.
    pub(super) fn start(mut self, glue: Glue, config: Config) -> io::Result<Session<Glue>> {
        let Some(fd) = self.fd.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let acl = config.acl;
        let started = Session::from_fd(glue, fd, acl, config);
        if started.is_err() {
            self.take_down();
        }
        started
    }

    fn take_down(&self) {
        // Nothing can be done where it fails. The mount point is dead then, and the next mount there clears it.
        if rustix::mount::unmount(&self.place, UnmountFlags::DETACH) == Err(Errno::PERM) {
            let _ = helper::unmount(&self.place, true);
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // No session serves it: a program that used it would wait for ever.
        if self.fd.is_some() {
            self.take_down();
        }
    }
}

/// What unmounts a mount, from any thread.
#[derive(Clone)]
pub struct Unmounter {
    device: Arc<OwnedFd>,
    place: PathBuf,
}

impl Unmounter {
    pub(super) fn new(session: &Session<Glue>, place: &Path) -> io::Result<Self> {
        let device = session.as_fd().try_clone_to_owned()?;
        Ok(Self {
            device: Arc::new(device),
            place: place.into(),
        })
    }

    /// Unmounts; nothing where that was done already (another mount may be at that place by now). `lazy` detaches at
    /// once what is still in use; otherwise that is EBUSY.
    pub fn unmount(&self, lazy: bool) -> io::Result<()> {
        if !self.is_mounted() {
            return Ok(());
        }
        let flags = if lazy {
            UnmountFlags::DETACH | UnmountFlags::NOFOLLOW
        } else {
            UnmountFlags::NOFOLLOW
        };
        match rustix::mount::unmount(&self.place, flags) {
            Err(Errno::PERM) => helper::unmount(&self.place, lazy),
            other => other.map_err(Into::into),
        }
    }

    /// The kernel marks the device of a mount that is gone.
    fn is_mounted(&self) -> bool {
        let mut fds = [PollFd::new(&self.device, PollFlags::empty())];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(0) => true,
            Ok(_) => !fds[0].revents().contains(PollFlags::ERR),
            Err(_) => true,
        }
    }
}
