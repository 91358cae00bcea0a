//! Floor 5: the kernel's side of a mount. The only place that names fuser.
//!
//! [`FuseMount::mount`] returns when the mount answers; it ends with [`FuseMount::join`] (the user unmounted it),
//! [`FuseMount::unmount`], or when it is dropped. Invariants: a mount is read-only, without set-user-id programs and
//! device nodes, and the kernel checks permissions; a panic in a handler is one EIO; a cached read is answered on the
//! thread that received it, and a thread waits for nothing else.

mod convert;
mod device;
mod error;
mod glue;
mod helper;
mod kernel;
mod options;
mod place;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fuser::{BackgroundSession, Session};

pub use device::Unmounter;
pub use error::MountError;
pub use place::is_daemon_gone;

use self::device::Device;
use self::glue::Glue;
use self::kernel::Kernel;
use self::options::Options;
use crate::units::shown;
use crate::vfs::Vfs;

/// How a file system is mounted.
#[derive(Clone, Debug)]
pub struct MountSettings {
    /// Where.
    pub mountpoint: PathBuf,
    /// The source that /proc/mounts and df(1) show: the remote.
    pub fsname: String,
    /// The threads that take requests; at least two are used.
    pub threads: usize,
    /// Whether other users than the one who mounts may use the mount (as far as the permissions of the files go).
    pub allow_other: bool,
    /// Mount options as `-o` takes them, each perhaps several with commas between.
    pub options: Vec<String>,
}

/// The readahead that the kernel is given after the mount, in KiB: with its default of 128 a sequential reader gets a
/// third of the speed.
const READ_AHEAD_KIB: u32 = 1024;

/// A live mount.
pub struct FuseMount {
    session: Option<BackgroundSession>,
    unmounter: Unmounter,
    mountpoint: PathBuf,
}

impl FuseMount {
    /// Mounts `vfs`. A dead mount point (its daemon is gone) is cleared first. Errors are sentences that say what is in
    /// the way.
    pub fn mount(vfs: &Arc<Vfs>, settings: &MountSettings) -> Result<Self, MountError> {
        let options = Options::parse(&settings.options)?;
        let place = place::prepare(&settings.mountpoint, options.nonempty)?;
        let fsname = options.fsname.as_deref().unwrap_or(&settings.fsname);
        let allow_other = settings.allow_other || options.allow_other;
        let can_expire = Arc::new(AtomicBool::new(false));
        let glue = Glue::new(Arc::clone(vfs), Arc::clone(&can_expire));
        let config = Options::config(allow_other, settings.threads, device::open().is_ok());
        let failed = |error: io::Error| MountError::Mount {
            mountpoint: place.clone(),
            error,
        };
        let session = match Device::mount(&place, fsname, allow_other, &options) {
            Ok(device) => device.start(glue, config).map_err(failed)?,
            Err(error) if device::is_for_root_alone(&error) => {
                Device::mount_as_user(&place, fsname, allow_other, &options)
                    .map_err(|error| MountError::from_helper(&place, error))?
                    .start(glue, config)
                    .map_err(failed)?
            }
            Err(error) => return Err(MountError::from_device(&place, error)),
        };
        Self::start(vfs, session, can_expire, place)
    }

    fn start(
        vfs: &Vfs,
        session: Session<Glue>,
        can_expire: Arc<AtomicBool>,
        place: PathBuf,
    ) -> Result<Self, MountError> {
        let failed = |error: io::Error| MountError::Mount {
            mountpoint: place.clone(),
            error,
        };
        let unmounter = Unmounter::new(&session, &place).map_err(failed)?;
        let kernel = Kernel::new(&session, can_expire).map_err(failed)?;
        vfs.set_invalidator(Box::new(kernel));
        let session = session.spawn().map_err(failed)?;
        let mount = Self {
            session: Some(session),
            unmounter,
            mountpoint: place.clone(),
        };
        rustix::fs::stat(&place).map_err(|error| failed(error.into()))?;
        raise_read_ahead(&place);
        Ok(mount)
    }

    /// Where it is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// What unmounts it from another thread.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Serves until it is unmounted.
    pub fn join(mut self) -> io::Result<()> {
        self.wait()
    }

    /// Unmounts and waits until nothing is served any more. While files are open on it this fails with EBUSY and goes
    /// on serving, unless `lazy`: then the mount disappears at once and ends when the last of them is closed.
    pub fn unmount(&mut self, lazy: bool) -> io::Result<()> {
        self.unmounter.unmount(lazy)?;
        self.wait()
    }

    fn wait(&mut self) -> io::Result<()> {
        match self.session.take() {
            Some(session) => session.join(),
            None => Ok(()),
        }
    }
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        if self.session.is_none() {
            return;
        }
        if let Err(error) = self.unmounter.unmount(true) {
            let at = shown(&self.mountpoint);
            tracing::warn!("cannot unmount {at}: {error}");
            return;
        }
        if let Err(error) = self.wait() {
            tracing::debug!("the session ended with an error: {error}");
        }
    }
}

/// Raises the kernel's readahead for the mount; only root may, and nothing depends on it.
fn raise_read_ahead(place: &Path) {
    let raised = rustix::fs::stat(place)
        .map_err(io::Error::from)
        .and_then(|stat| {
            let (major, minor) = (
                rustix::fs::major(stat.st_dev),
                rustix::fs::minor(stat.st_dev),
            );
            let knob = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
            std::fs::write(knob, READ_AHEAD_KIB.to_string())
        });
    if let Err(error) = raised {
        tracing::debug!("the kernel's readahead stays as it is: {error}");
    }
}

/// Whether the mount point may be mounted on with these options: before anything is made for a mount.
pub fn check_place(place: &Path, options: &[String]) -> Result<(), MountError> {
    if Options::parse(options)?.nonempty {
        Ok(())
    } else {
        place::refuse_to_cover(place)
    }
}

/// Whether these mount options, as `-o` takes them, can be given: before anything is made for a mount.
pub fn check_options(options: &[String], allow_other: bool) -> Result<(), MountError> {
    let allow_other = Options::parse(options)?.allow_other || allow_other;
    if allow_other && !rustix::process::geteuid().is_root() && !helper::lets_others_in() {
        return Err(MountError::OthersForbidden);
    }
    Ok(())
}

/// Whether this user can mount with FUSE on this machine, as far as that can be known before: the device is there, and can
/// be opened, by the user or by fusermount3.
pub fn can_mount() -> Result<(), MountError> {
    match device::open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MountError::NoDevice),
        Err(error) if rustix::process::geteuid().is_root() => Err(MountError::Device(error)),
        // Even where the device can be opened, not every user may mount it.
        opened if opened.is_err() || !device::may_mount() => {
            helper::find().map(drop).ok_or(MountError::NoHelper)
        }
        _ => Ok(()),
    }
}

/// Clears a mount point whose daemon is gone, if it is one.
pub fn clear_dead_mount(mountpoint: &Path) -> Result<bool, MountError> {
    place::clear_dead(mountpoint)
}
