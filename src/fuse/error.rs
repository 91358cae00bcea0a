//! Why a mount did not come about.

use std::io;
use std::path::{Path, PathBuf};

use crate::units::shown;

/// What failed of a mount that larder makes itself.
#[derive(Debug)]
pub(super) enum DeviceError {
    Open(io::Error),
    Mount(io::Error),
}

/// Why a mount did not come about: a sentence that names the thing and the way out.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is nothing where it should be mounted.
    #[error("the mount point {} does not exist: make it with mkdir", shown(.0))]
    Missing(PathBuf),
    /// It is not a directory.
    #[error("the mount point {} is not a directory: give a directory", shown(.0))]
    NotADirectory(PathBuf),
    /// There is something in it.
    #[error(
        "the mount point {} is not empty: it holds {entry}, which the mount would cover. Give an empty directory, or cover \
         it with -o nonempty",
        shown(.mountpoint)
    )]
    NotEmpty {
        /// Where.
        mountpoint: PathBuf,
        /// One of the names in it.
        entry: String,
    },
    /// Something like us is mounted there already.
    #[error(
        "{} is already the mount point of {source_name} ({fs_type}): unmount it first (larder umount {})",
        shown(.mountpoint), shown(.mountpoint)
    )]
    Taken {
        /// Where.
        mountpoint: PathBuf,
        /// What is mounted.
        source_name: String,
        /// Its type, as /proc/mounts shows it.
        fs_type: String,
    },
    /// The mount point cannot be looked at.
    #[error("the mount point {} cannot be reached: {error}", shown(.mountpoint))]
    Unreachable {
        /// Where.
        mountpoint: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A mount point whose daemon is gone could not be cleared.
    #[error(
        "{} is a dead mount point that cannot be cleared ({error}): try umount -l {} as root",
        shown(.mountpoint), shown(.mountpoint)
    )]
    Dead {
        /// Where.
        mountpoint: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is no /dev/fuse.
    #[error(
        "there is no /dev/fuse: load the kernel module (`modprobe fuse`), or start the container with \
         --device /dev/fuse --cap-add SYS_ADMIN"
    )]
    NoDevice,
    /// /dev/fuse cannot be opened.
    #[error(
        "/dev/fuse cannot be opened ({0}): its mode should be 0666, which the package fuse3 sees to; \
         a container needs --device /dev/fuse --cap-add SYS_ADMIN"
    )]
    Device(io::Error),
    /// Not root, and no helper.
    #[error(
        "other users than root mount with the program fusermount3, which is not installed: install the package fuse3"
    )]
    NoHelper,
    /// Not root, and the machine does not let others into such mounts.
    #[error(
        "on this machine only root may use allow_other: to let other users do so too, root adds a line `user_allow_other` \
         to /etc/fuse.conf. Or leave allow_other out"
    )]
    OthersForbidden,
    /// An option that is unknown or not possible.
    #[error("the mount option {option} {why}")]
    Option {
        /// The option.
        option: String,
        /// What is wrong, and the way out.
        why: &'static str,
    },
    /// The mount itself failed.
    #[error("mounting at {} failed: {error}", shown(.mountpoint))]
    Mount {
        /// Where.
        mountpoint: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl MountError {
    /// Newer versions of the helper open the device with the user's rights alone, and say so where it is root's.
    pub(super) fn from_helper(mountpoint: &Path, error: io::Error) -> Self {
        let said = error.to_string();
        if said.contains("failed to open") && said.contains("/dev/fuse") {
            return Self::Device(error);
        }
        Self::Mount {
            mountpoint: mountpoint.into(),
            error,
        }
    }

    pub(super) fn from_device(mountpoint: &Path, error: DeviceError) -> Self {
        match error {
            DeviceError::Open(error) if error.kind() == io::ErrorKind::NotFound => Self::NoDevice,
            DeviceError::Open(error) => Self::Device(error),
            DeviceError::Mount(error) => Self::Mount {
                mountpoint: mountpoint.into(),
                error,
            },
        }
    }
}
