//! From what a user names to a spec: a path or a URL, read and checked. No server is asked.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[cfg(not(feature = "http"))]
use super::ConnectError;
#[cfg(feature = "http")]
use super::web;
use super::{RemoteSpec, SpecError};

impl RemoteSpec {
    /// What a path, or a URL of the schemes `file`, `http` and `https`, names. A directory must be there and readable. The
    /// user name and the password of a URL become the credentials; a password that the URL lacks is empty.
    pub fn parse(remote: &OsStr) -> Result<Self, SpecError> {
        let bytes = remote.as_bytes();
        let scheme = bytes.windows(3).position(|w| w == b"://");
        match scheme.and_then(|at| bytes.get(..at)) {
            Some(scheme) if is_web(scheme) => of_web(remote),
            Some(scheme) if is_scheme(scheme) && !scheme.eq_ignore_ascii_case(b"file") => {
                Err(SpecError::url(
                    "larder cannot mount this kind of remote yet; it mounts local directories and web servers (http://, https://)",
                ))
            }
            Some(scheme) if is_scheme(scheme) => {
                let path = bytes.get(scheme.len() + 3..).unwrap_or_default();
                directory(OsStr::from_bytes(path)).map(Self::Dir)
            }
            _ => directory(remote).map(Self::Dir),
        }
    }
}

#[cfg(feature = "http")]
fn of_web(remote: &OsStr) -> Result<RemoteSpec, SpecError> {
    web::parse(remote).map(RemoteSpec::Web)
}

#[cfg(not(feature = "http"))]
fn of_web(_: &OsStr) -> Result<RemoteSpec, SpecError> {
    Err(SpecError::url(ConnectError::NotBuilt("http")))
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

/// The directory of this path, in full.
fn directory(path: &OsStr) -> Result<PathBuf, SpecError> {
    let path = Path::new(path);
    let refuse = |why: &dyn fmt::Display| SpecError {
        path: Some(path.to_owned()),
        why: why.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(remote: &str) -> Result<String, SpecError> {
        RemoteSpec::parse(OsStr::new(remote)).map(|spec| spec.to_string())
    }

    #[test]
    fn a_remote_is_a_directory_or_a_url() {
        let s3 = parsed("s3://key:geheim@bucket/x").unwrap_err();
        assert!(s3.why.contains("yet; it mounts local directories") && s3.path.is_none());
        assert!(!format!("{s3} {s3:?}").contains("geheim"));
        let gone = parsed("/no/such/thing").unwrap_err();
        assert!(gone.why.contains("no such directory"));
        assert_eq!(gone.path, Some("/no/such/thing".into()));
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = parsed(file.path().to_str().unwrap()).unwrap_err();
        assert!(refused.why.contains("not a directory"));
        let dir = tempfile::tempdir().unwrap();
        let full = dir.path().canonicalize().unwrap();
        let url = format!("file://{}", dir.path().display());
        assert_eq!(parsed(&url).unwrap(), full.display().to_string());
        // A path may look like a URL further on.
        std::fs::create_dir_all(full.join("a:/b")).unwrap();
        let odd = format!("{}/a://b", full.display());
        assert_eq!(
            parsed(&odd).unwrap(),
            full.join("a:/b").display().to_string()
        );
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_url_is_shown_as_it_is_asked_for_and_without_its_user() {
        let web = parsed("HTTPS://u:geheim@Example.org/a b/").unwrap();
        assert_eq!(web, "https://example.org/a%20b/");
    }
}
