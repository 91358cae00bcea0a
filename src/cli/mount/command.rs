//! From the command line to what is asked of the host: resolved and checked, before anything is made.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::netrc_login::{credentials, readable_by_others};
use super::owner;
use crate::cli::args::MountArgs;
use crate::cli::error::{Exit, Failure};
use crate::cli::mounts;
use crate::cli::secret::masked;
use crate::fuse::{MountError, can_mount, check_options, check_place, is_daemon_gone};
use crate::host::{CacheConfig, MountRequest};
use crate::remote::SlowSettings;
use crate::remote::connect::{Header, HeaderError, RemoteSpec, WebSpec};
use crate::units::shown;
use crate::vfs::Owner;

/// Errors where this machine, or this user on it, cannot use FUSE at all.
pub(in crate::cli) fn need_fuse() -> Result<(), Failure> {
    can_mount().map_err(|error| Failure::new(Exit::Mount, error))
}

/// One `larder mount`: what a daemon is handed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MountCommand {
    /// The mount.
    pub request: MountRequest,
    /// The cache that it is to have.
    pub cache: CacheConfig,
    /// Where its counters are given to Prometheus, if anywhere.
    pub metrics: Option<String>,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl MountCommand {
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
        let remote = remote(args, &mut notes)?;
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
        let mount_point = resolve_mount_point(&args.dir)?;
        check_place(&mount_point, &args.options)
            .map_err(|error| Failure::new(Exit::Mount, error))?;
        let cache_dir = cache_dir(args)?;
        if cache_dir.starts_with(&mount_point) {
            return Err(Failure::new(
                Exit::Cache,
                format_args!(
                    "the cache directory {} lies within the mount point {}: choose another --cache-dir",
                    shown(&cache_dir),
                    shown(&mount_point)
                ),
            ));
        }
        Ok(Self {
            request: mount_request(args, remote, owner, mount_point),
            cache: cache_config(args, cache_dir),
            metrics: args.metrics.clone(),
            notes,
        })
    }
}

fn mount_request(
    args: &MountArgs,
    remote: RemoteSpec,
    owner: Owner,
    mount_point: PathBuf,
) -> MountRequest {
    MountRequest {
        remote,
        mount_point,
        options: args.options.clone(),
        allow_other: args.allow_other,
        threads: args.threads,
        owner,
        chunks: args.chunk_size.clone(),
        metadata_ttl: args.metadata_ttl,
        timeout: args.timeout,
        settle: args.settle,
        unvalidated_ttl: args.unvalidated_ttl,
        slow: SlowSettings {
            round_trip: args.slow_round_trip.unwrap_or_default(),
            bytes_per_second: args.slow_bandwidth,
        },
    }
}

/// What the command line says of a cache in the directory `dir`.
pub(super) fn cache_config(args: &MountArgs, dir: PathBuf) -> CacheConfig {
    CacheConfig {
        dir,
        size: args.cache_size,
        slots: args.slots,
        files: args.files,
        memory: args.memory,
        free_space: args.free_space_ratio,
        verify: args.verify.into(),
        scrub_rate: args.scrub_rate.limit(),
    }
}

/// The cache directory, in full.
fn cache_dir(args: &MountArgs) -> Result<PathBuf, Failure> {
    let dir = match &args.cache_dir {
        Some(dir) => dir.clone(),
        None => {
            let var = |name: &str| std::env::var_os(name);
            let is_root = rustix::process::geteuid().is_root();
            default_cache_dir(is_root, var("XDG_CACHE_HOME"), var("HOME")).ok_or_else(|| {
                Failure::new(
                    Exit::Cache,
                    "neither XDG_CACHE_HOME nor HOME says where caches go: name a directory with --cache-dir",
                )
            })?
        }
    };
    Ok(std::path::absolute(dir)?)
}

/// Where the cache goes where the user names no place.
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

/// What REMOTE names, with all that the options and ~/.netrc say of it.
fn remote(args: &MountArgs, notes: &mut Vec<String>) -> Result<RemoteSpec, Failure> {
    let given = args.remote.reveal();
    let spec = RemoteSpec::parse(given).map_err(|error| {
        let named = match &error.path {
            Some(path) => shown(path).to_string(),
            None => masked(given),
        };
        let sentence = format_args!("cannot mount the remote {named}: {error}");
        Failure::new(Exit::Remote, sentence)
    })?;
    let RemoteSpec::Web(web) = spec else {
        return Ok(spec);
    };
    let headers = args.header.iter().map(|given| {
        Header::parse(given.reveal().as_bytes()).map_err(|error| header_failure(&error))
    });
    let headers = headers.collect::<Result<_, _>>()?;
    let ca_file = args.ca_file.as_ref().map(std::path::absolute).transpose()?;
    let credentials = credentials(web.credentials.clone(), &web.host(), notes)?;
    Ok(RemoteSpec::Web(WebSpec {
        headers,
        ca_file,
        credentials,
        ..web
    }))
}

fn header_failure(error: &HeaderError) -> Failure {
    let sentence = match error {
        HeaderError::NoColon => {
            "--header takes 'Name: value', and one that was given has no colon".to_owned()
        }
        HeaderError::Own(name) => {
            format!("--header '{name}' cannot be given: larder sets it itself")
        }
        HeaderError::Name(name) => format!("--header: '{name}' is not a valid name of a header"),
        HeaderError::Value(name) => {
            format!("--header '{name}': its value has bytes that no header may contain")
        }
    };
    Failure::new(Exit::Usage, sentence)
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
    use crate::cli::args::Command;

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

    fn request(more: &[&str]) -> Result<MountRequest, Failure> {
        let args = [&["larder", "mount"], more].concat();
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let Command::Mount(args) = crate::cli::args::parse(&args).unwrap().command else {
            panic!("not a mount");
        };
        let remote = remote(&args, &mut Vec::new())?;
        Ok(mount_request(&args, remote, Owner::default(), "/b".into()))
    }

    #[test]
    fn a_remote_that_is_refused_is_named_without_its_secrets() {
        for (remote, sentence) in [
            (
                "s3://key:geheim@bucket/x",
                "remote s3://***@bucket/x: larder cannot mount",
            ),
            (
                "https://u:geheim@h/a#x",
                "remote https://***@h/a#*: the URL",
            ),
            (
                "file:///no/such/thing",
                "remote /no/such/thing: there is no",
            ),
        ] {
            let refused = request(&[remote, "/b"]).unwrap_err();
            assert_eq!(refused.exit, Exit::Remote);
            assert!(refused.sentence.contains(sentence), "{refused}");
        }
        let refused = request(&["https://h/", "/b", "--header", "geheim"]).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(!refused.sentence.contains("geheim"), "{refused}");
    }

    #[test]
    fn the_command_line_becomes_a_request() {
        let request = request(&[
            "https://u:p@h/a",
            "/b",
            "--header=X: 1",
            "--slow-bandwidth=1M",
            "--chunk-size=1M",
            "--timeout=5s",
        ])
        .unwrap();
        let RemoteSpec::Web(web) = &request.remote else {
            panic!("not a web server");
        };
        assert_eq!((web.url.as_str(), web.headers.len()), ("https://h/a", 1));
        assert_eq!(request.slow.bytes_per_second, Some(1 << 20));
        assert_eq!(request.timeout.as_secs(), 5);
        assert_eq!(request.remote.source(), "https://h/a");
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
