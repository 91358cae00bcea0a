//! The mount point: whether something can be mounted there, and clearing it of a dead mount.
//!
//! A mount whose daemon is gone answers stat(2) from the kernel's memory; only opening its directory tells.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::error::MountError;
use super::helper;
use crate::units::{shown, shown_bytes};

/// Dead mounts may lie on top of each other; more than this many are left to the user.
const STACKED_MAX: usize = 16;

/// The absolute path of the mount point, cleared of dead mounts and fit to be mounted on. What it holds may be covered only
/// where `nonempty` says so.
pub(super) fn prepare(mountpoint: &Path, nonempty: bool) -> Result<PathBuf, MountError> {
    let place = absolute(mountpoint)?;
    clear_dead(&place)?;
    match open(&place) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Err(MountError::Missing(place)),
        Err(Errno::NOTDIR) => return Err(MountError::NotADirectory(place)),
        // A mount of another user's looks like this even to root; what it is, is known all the same.
        Err(error) if mounted_at(&place).is_none() => {
            return Err(MountError::Unreachable {
                mountpoint: place,
                error: error.into(),
            });
        }
        Err(_) => {}
    }
    match mounted_at(&place) {
        Some(mount) if mount.fs_type.starts_with("fuse") => Err(MountError::Taken {
            mountpoint: place,
            source_name: mount.source,
            fs_type: mount.fs_type,
        }),
        _ if nonempty => Ok(place),
        _ => refuse_to_cover(&place).map(|()| place),
    }
}

/// Refuses a mount point with something in it. One that cannot be looked into is the business of others.
pub(super) fn refuse_to_cover(place: &Path) -> Result<(), MountError> {
    let first = std::fs::read_dir(place).ok().and_then(|mut all| all.next());
    match first {
        Some(Ok(entry)) => Err(MountError::NotEmpty {
            mountpoint: place.into(),
            entry: shown(&entry.file_name()).to_string(),
        }),
        _ => Ok(()),
    }
}

/// Whether an error says that a mount's daemon is gone: for a moment the connection is being aborted, then it is not
/// connected.
pub fn is_daemon_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOTCONN, Errno::CONNABORTED].map(Errno::raw_os_error);
    error
        .raw_os_error()
        .is_some_and(|code| gone.contains(&code))
}

/// Unmounts what is dead at `place`; whether there was anything.
pub(super) fn clear_dead(place: &Path) -> Result<bool, MountError> {
    let mut cleared = false;
    for _ in 0..STACKED_MAX {
        if !open(place).is_err_and(|error| is_daemon_gone(&error.into())) {
            return Ok(cleared);
        }
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        let done = match rustix::mount::unmount(place, flags) {
            Err(Errno::PERM) => helper::unmount(place, true),
            other => other.map_err(Into::into),
        };
        done.map_err(|error| MountError::Dead {
            mountpoint: place.into(),
            error,
        })?;
        cleared = true;
        tracing::info!("cleared the dead mount point {}", shown(place));
    }
    Ok(cleared)
}

fn open(place: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(place, flags, Mode::empty()).map(drop)
}

/// The path without links and dots. A dead mount cannot be walked through, so only its parent is.
fn absolute(mountpoint: &Path) -> Result<PathBuf, MountError> {
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => MountError::Missing(mountpoint.into()),
        io::ErrorKind::NotADirectory => MountError::NotADirectory(mountpoint.into()),
        _ => MountError::Unreachable {
            mountpoint: mountpoint.into(),
            error,
        },
    };
    let error = match std::fs::canonicalize(mountpoint) {
        Ok(path) => return Ok(path),
        Err(error) => error,
    };
    let path = std::path::absolute(mountpoint).map_err(fail)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if error.kind() != io::ErrorKind::NotFound => {
            Ok(std::fs::canonicalize(parent).map_err(fail)?.join(name))
        }
        _ => Err(fail(error)),
    }
}

/// What is mounted somewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mounted {
    fs_type: String,
    source: String,
}

/// The uppermost mount at exactly this path.
fn mounted_at(place: &Path) -> Option<Mounted> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    find(&table, place)
}

fn find(mountinfo: &[u8], place: &Path) -> Option<Mounted> {
    mountinfo
        .split(|&b| b == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|&b| b == b' ');
            let at = unescaped(fields.nth(4)?);
            let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
            let (fs_type, source) = (tail.next()?, tail.next()?);
            (at == place.as_os_str().as_bytes()).then(|| Mounted {
                fs_type: shown_bytes(fs_type).to_string(),
                source: shown_bytes(&unescaped(source)).to_string(),
            })
        })
        .next_back()
}

/// A field of mountinfo, where blanks, tabs, newlines and backslashes are written in octal.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = match (first, after) {
            (b'\\', [a, b, c, ..]) => octal([*a, *b, *c]),
            _ => None,
        };
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    bytes
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    let value = digits.iter().try_fold(0u32, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        Some(value * 8 + u32::from(digit))
    })?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uppermost_mount_is_found_whatever_its_name() {
        let table = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 22 0:40 / /mnt/a\\040b rw,nosuid shared:5 - fuse.larder /data\\134x ro\n\
            31 22 0:41 / /mnt/c rw - tmpfs none rw\n\
            32 22 0:42 / /mnt/c ro master:1 propagate_from:2 - fuse.other o ro\n\
            garbage\n";
        let at = |path: &str| find(table, Path::new(path));
        let mount = |fs_type: &str, source: &str| {
            Some(Mounted {
                fs_type: fs_type.into(),
                source: source.into(),
            })
        };
        assert_eq!(at("/mnt/a b"), mount("fuse.larder", "/data\\\\x"));
        assert_eq!(at("/mnt/c"), mount("fuse.other", "o"));
        assert_eq!(at("/mnt"), None);
        assert_eq!(unescaped(b"\\04"), b"\\04");
        assert_eq!(unescaped(b"\\999\\777"), b"\\999\\777");
    }

    #[test]
    fn a_bad_mount_point_is_named_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let sentence = |path: PathBuf| prepare(&path, false).unwrap_err().to_string();
        assert!(sentence(dir.path().join("missing")).contains("mkdir"));
        assert!(sentence(file.clone()).contains("is not a directory"));
        assert!(sentence(PathBuf::from("/sys/fs/fuse/missing")).contains("does not exist"));
        let canonical = dir.path().canonicalize().unwrap();
        let here = dir.path().join(".");
        assert!(sentence(here.clone()).contains("holds file"));
        assert_eq!(prepare(&here, true).unwrap(), canonical);
        std::fs::remove_file(dir.path().join("file")).unwrap();
        assert_eq!(prepare(&here, false).unwrap(), canonical);
    }
}
