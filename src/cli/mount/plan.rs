//! What is to be mounted, where, and on which cache: the command line, resolved and checked before anything is made.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::fuse::{check_options, is_daemon_gone};

use crate::cli::args::MountArgs;
use crate::cli::error::{Exit, Failure};
use crate::cli::mounts;

/// Errors where this machine, or this user on it, cannot use FUSE at all.
pub(in crate::cli) fn need_fuse() -> Result<(), Failure> {
    let device = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse");
    let sentence = match device {
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            "there is no /dev/fuse: load the kernel module (`modprobe fuse`), or start the container with \
             --device /dev/fuse --cap-add SYS_ADMIN"
                .to_owned()
        }
        Err(e) => format!(
            "/dev/fuse cannot be opened ({e}): its mode should be 0666, which the package fuse3 sees to; \
             a container needs --device /dev/fuse --cap-add SYS_ADMIN"
        ),
    };
    Err(Failure::new(Exit::Mount, sentence))
}

/// The resolved command line.
#[derive(Debug)]
pub(super) struct Plan {
    /// The remote directory, in full.
    pub remote: PathBuf,
    /// The mount point, in full.
    pub dir: PathBuf,
    /// The cache directory, in full; it need not exist.
    pub cache_dir: PathBuf,
}

impl Plan {
    /// Resolves the command line. Nothing is made or changed.
    pub(super) fn new(args: &MountArgs) -> Result<Self, Failure> {
        need_fuse()?;
        check_options(&args.options).map_err(|error| Failure::new(Exit::Usage, error))?;
        let remote = resolve_remote(&args.remote)?;
        let dir = resolve_mount_point(&args.dir)?;
        let cache_dir = match &args.cache_dir {
            Some(dir) => dir.clone(),
            None => {
                let var = |name: &str| std::env::var_os(name);
                default_cache_dir(
                    rustix::process::geteuid().is_root(),
                    var("XDG_CACHE_HOME"),
                    var("HOME"),
                )
                .ok_or_else(|| {
                    Failure::new(
                        Exit::Cache,
                        "neither XDG_CACHE_HOME nor HOME says where caches go: name a directory with --cache-dir",
                    )
                })?
            }
        };
        let cache_dir = std::path::absolute(cache_dir)?;
        if cache_dir.starts_with(&dir) {
            return Err(Failure::new(
                Exit::Cache,
                format_args!(
                    "the cache directory {} lies within the mount point {}: choose another --cache-dir",
                    cache_dir.display(),
                    dir.display()
                ),
            ));
        }
        Ok(Self {
            remote,
            dir,
            cache_dir,
        })
    }
}

/// Where the cache goes when nobody says.
fn default_cache_dir(root: bool, xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    if root {
        return Some("/var/cache/larder".into());
    }
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let cache = xdg
        .and_then(absolute)
        .or_else(|| home.and_then(absolute).map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("larder"))
}

/// The directory that REMOTE names.
fn resolve_remote(remote: &OsStr) -> Result<PathBuf, Failure> {
    let refuse = |why: &dyn std::fmt::Display| {
        let shown = remote.to_string_lossy();
        Failure::new(
            Exit::Remote,
            format_args!("cannot mount the remote {shown}: {why}"),
        )
    };
    let bytes = remote.as_bytes();
    let path = match bytes.strip_prefix(b"file://") {
        Some(path) => PathBuf::from(OsString::from_vec(path.to_vec())),
        None if bytes.windows(3).any(|w| w == b"://") => {
            return Err(refuse(
                &"not yet: larder mounts local directories in this version \
                (a mount of a slow disk or server, for instance)",
            ));
        }
        None => PathBuf::from(remote),
    };
    let full = path.canonicalize().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => refuse(&"there is no such directory"),
        _ => refuse(&e),
    })?;
    match std::fs::read_dir(&full) {
        Ok(_) => Ok(full),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Err(refuse(
            &"it is not a directory; mount the directory that it lies in",
        )),
        Err(e) => Err(refuse(&e)),
    }
}

/// The directory to mount at. A dead mount point is one: mounting clears it.
fn resolve_mount_point(dir: &Path) -> Result<PathBuf, Failure> {
    let shown = dir.display();
    let refuse = |why: &dyn std::fmt::Display| {
        Failure::new(Exit::Mount, format_args!("cannot mount at {shown}: {why}"))
    };
    let full = mounts::full_path(dir).map_err(|e| refuse(&e))?;
    match std::fs::read_dir(&full) {
        Err(e) if is_daemon_gone(&e) => Ok(full),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(refuse(&format_args!(
            "there is no such directory (`mkdir -p {shown}` makes it)"
        ))),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Err(refuse(&"it is not a directory")),
        Err(e) => Err(refuse(&e)),
        Ok(_) => match mounts::larder_at(&full)? {
            Some(mount) => Err(refuse(&format_args!(
                "larder has {} mounted there already (`larder umount {shown}` ends it)",
                mount.source.to_string_lossy()
            ))),
            None => Ok(full),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_goes_where_caches_go() {
        let at = |root, xdg: Option<&str>, home: Option<&str>| {
            default_cache_dir(root, xdg.map(Into::into), home.map(Into::into))
        };
        let path = |p: &str| Some(PathBuf::from(p));
        assert_eq!(at(true, Some("/x"), None), path("/var/cache/larder"));
        assert_eq!(at(false, Some("/x"), Some("/h")), path("/x/larder"));
        assert_eq!(at(false, None, Some("/h")), path("/h/.cache/larder"));
        assert_eq!(
            at(false, Some("relative"), Some("/h")),
            path("/h/.cache/larder")
        );
        assert_eq!(at(false, None, None), None);
    }

    #[test]
    fn remotes_are_directories_for_now() {
        let refused = |remote: &str| resolve_remote(OsStr::new(remote)).unwrap_err();
        let web = refused("https://example.org/x");
        assert_eq!(web.exit, Exit::Remote);
        assert!(web.sentence.contains("https://example.org/x"));
        assert!(web.sentence.contains("not yet"));
        assert!(
            refused("/no/such/thing")
                .sentence
                .contains("no such directory")
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        let sentence = refused(file.path().to_str().unwrap()).sentence;
        assert!(sentence.contains("not a directory"));
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}", dir.path().display());
        assert_eq!(
            resolve_remote(OsStr::new(&url)).unwrap(),
            dir.path().canonicalize().unwrap()
        );
    }

    #[test]
    fn a_mount_point_must_be_there() {
        let missing = resolve_mount_point(Path::new("/no/such/parent/dir")).unwrap_err();
        assert_eq!(missing.exit, Exit::Mount);
        assert!(missing.sentence.contains("/no/such/parent/dir"));
        let dir = tempfile::tempdir().unwrap();
        let absent = resolve_mount_point(&dir.path().join("absent")).unwrap_err();
        assert!(absent.sentence.contains("mkdir -p"));
        assert!(resolve_mount_point(dir.path()).is_ok());
    }
}
