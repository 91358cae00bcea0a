//! What is to be mounted, where, and on which cache: the command line, resolved and checked before anything is made.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::owner;
use super::web::{WebOrigin, readable_by_others};
use crate::fuse::{MountError, can_mount, check_options, check_place, is_daemon_gone};
use crate::vfs::Owner;

use crate::cli::args::MountArgs;
use crate::cli::error::{Exit, Failure};
use crate::cli::mounts;
use crate::cli::secret::masked;
use crate::units::shown;

/// Errors where this machine, or this user on it, cannot use FUSE at all.
pub(in crate::cli) fn need_fuse() -> Result<(), Failure> {
    can_mount().map_err(|error| Failure::new(Exit::Mount, error))
}

/// What is mounted.
pub(super) enum Origin {
    /// A directory, in full.
    Dir(PathBuf),
    /// A web server.
    Web(WebOrigin),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(path) => shown(path).fmt(f),
            Self::Web(web) => web.url.fmt(f),
        }
    }
}

impl Origin {
    /// As programs are told of it: the source of the mount.
    pub(super) fn source(&self) -> String {
        match self {
            Self::Dir(path) => path.to_string_lossy().into_owned(),
            Self::Web(web) => web.url.to_string(),
        }
    }
}

/// The resolved command line.
pub(super) struct Plan {
    /// The remote.
    pub origin: Origin,
    /// The mount point, in full.
    pub dir: PathBuf,
    /// The cache directory, in full; it need not exist.
    pub cache_dir: PathBuf,
    /// Who is to own what is shown.
    pub owner: Owner,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Plan {
    /// Resolves the command line. Nothing is made or changed.
    pub(super) fn new(args: &MountArgs) -> Result<Self, Failure> {
        need_fuse()?;
        check_options(&args.options, args.allow_other).map_err(|error| {
            let exit = match error {
                MountError::Option { .. } => Exit::Usage,
                _ => Exit::Mount,
            };
            Failure::new(exit, error)
        })?;
        let owner = owner::resolve(args)?;
        let mut notes = Vec::new();
        let origin = resolve_remote(args, &mut notes)?;
        if let Some(file) = args
            .config
            .as_ref()
            .filter(|file| !args.header.is_empty() && readable_by_others(file))
        {
            let shown = shown(file);
            notes.push(format!(
                "note: other users can read the headers in {shown}: `chmod 600 {shown}`"
            ));
        }
        let dir = resolve_mount_point(&args.dir)?;
        check_place(&dir, &args.options).map_err(|error| Failure::new(Exit::Mount, error))?;
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
                    shown(&cache_dir),
                    shown(&dir)
                ),
            ));
        }
        Ok(Self {
            origin,
            dir,
            cache_dir,
            owner,
            notes,
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

/// What REMOTE names.
fn resolve_remote(args: &MountArgs, notes: &mut Vec<String>) -> Result<Origin, Failure> {
    let remote = args.remote.reveal();
    let bytes = remote.as_bytes();
    let scheme = bytes.windows(3).position(|w| w == b"://");
    match scheme.and_then(|at| bytes.get(..at)) {
        Some(scheme) if is_web(scheme) => WebOrigin::new(remote, args, notes).map(Origin::Web),
        Some(scheme) if is_scheme(scheme) && !scheme.eq_ignore_ascii_case(b"file") => {
            Err(Failure::new(
                Exit::Remote,
                format_args!(
                    "cannot mount the remote {}: not yet, larder mounts local directories and web servers \
                 (http://, https://) in this version",
                    masked(remote)
                ),
            ))
        }
        Some(scheme) if is_scheme(scheme) => {
            let path = bytes.get(scheme.len() + 3..).unwrap_or_default();
            resolve_directory(OsStr::from_bytes(path)).map(Origin::Dir)
        }
        _ => resolve_directory(remote).map(Origin::Dir),
    }
}

fn is_web(scheme: &[u8]) -> bool {
    [&b"http"[..], b"https"]
        .iter()
        .any(|web| web.eq_ignore_ascii_case(scheme))
}

/// Whether these bytes can stand before `://`; a path with that in it has a slash before.
fn is_scheme(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
}

/// The directory of this path.
fn resolve_directory(path: &OsStr) -> Result<PathBuf, Failure> {
    let refuse = |why: &dyn fmt::Display| {
        let shown = shown(path);
        Failure::new(
            Exit::Remote,
            format_args!("cannot mount the remote {shown}: {why}"),
        )
    };
    let path = Path::new(path);
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
    let shown = shown(dir);
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
        // A mount whose remote cannot be listed cannot be looked into, and is one all the same.
        looked => match (mounts::larder_at(&full)?, looked) {
            (Some(mount), _) => Err(refuse(&format_args!(
                "larder has {} mounted there already (`larder umount {shown}` ends it)",
                self::shown(&mount.source)
            ))),
            (None, Err(e)) => Err(refuse(&e)),
            (None, Ok(_)) => Ok(full),
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

    fn resolved(remote: &str) -> Result<String, Failure> {
        let args = crate::cli::args::parse(&["larder", "mount", remote, "/b"].map(Into::into));
        let crate::cli::args::Command::Mount(args) = args.unwrap().command else {
            panic!("not a mount");
        };
        resolve_remote(&args, &mut Vec::new()).map(|origin| origin.to_string())
    }

    #[test]
    fn a_remote_is_a_directory_or_a_url() {
        let s3 = resolved("s3://key:geheim@bucket/x").unwrap_err();
        assert_eq!(s3.exit, Exit::Remote);
        assert!(s3.sentence.contains("not yet") && s3.sentence.contains("bucket/x"));
        assert!(!s3.sentence.contains("geheim"));
        let gone = resolved("/no/such/thing").unwrap_err();
        assert!(gone.sentence.contains("no such directory"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let sentence = resolved(file.path().to_str().unwrap())
            .unwrap_err()
            .sentence;
        assert!(sentence.contains("not a directory"));
        let dir = tempfile::tempdir().unwrap();
        let full = dir.path().canonicalize().unwrap();
        let url = format!("file://{}", dir.path().display());
        assert_eq!(resolved(&url).unwrap(), full.display().to_string());
        // A path may look like a URL further on.
        std::fs::create_dir_all(full.join("a:/b")).unwrap();
        let odd = format!("{}/a://b", full.display());
        assert_eq!(
            resolved(&odd).unwrap(),
            full.join("a:/b").display().to_string()
        );
        let web = resolved("HTTPS://u:geheim@Example.org/a b/").unwrap();
        assert_eq!(web, "https://example.org/a%20b/");
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
