//! A web server as a remote: HTTP/1.1 and HTTP/2, ranged reads checked by validators, listings of the usual servers.
//!
//! Invariants:
//!
//! * A byte reaches a reader only from an answer whose status, Content-Range, lengths, encoding and validator all fit what
//!   was asked for. Anything else is an error of the origin.
//! * Secrets (passwords, header values) are in no error, no log line and no `Debug` output.

#[cfg_attr(
    not(any(test, feature = "testing")),
    expect(
        dead_code,
        reason = "the remote that asks for listings is being built beside it"
    )
)]
mod listing;

#[cfg(feature = "testing")]
pub use listing::probe as listing_probe;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::{BoxFuture, Entry, Remote, RemoteError, Sink};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

/// A user name and its password, for basic authentication.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password; empty where there is none.
    pub password: String,
}

/// How a web server is asked.
#[derive(Clone)]
pub struct HttpSettings {
    /// Sent with every request to the server itself, and to no other that it redirects to.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For basic authentication; likewise never sent elsewhere.
    pub credentials: Option<Credentials>,
    /// Certificates (PEM) that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a request is tried again without a byte of progress.
    pub timeout: Duration,
    /// Who owns what is shown.
    pub uid: u32,
    /// The group that owns what is shown.
    pub gid: u32,
}

/// Why a server cannot even be asked.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL, named without its secrets, and what is wrong with it.
    #[error("{0}")]
    Url(String),
    /// The file of certificates.
    #[error("cannot use the certificates in {path}: {why}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The TLS library.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// A web server, or one file on it.
pub struct HttpRemote {
    identity: String,
}

impl HttpRemote {
    /// A remote at `url` (http or https; without user information, query and fragment). Nothing is asked yet.
    pub fn new(url: &Url, _settings: HttpSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            identity: url.to_string(),
        })
    }

    /// The first look at the server, before it is mounted: whether the URL is a directory or one file, and what its
    /// listings say. Returns sentences that whoever mounts should read. Errors with [`RemoteError::Forbidden`] where the
    /// credentials are refused.
    pub async fn look(&mut self) -> Result<Vec<String>, RemoteError> {
        Err(RemoteError::Unreachable("not yet".into()))
    }

    /// Whom the server sees: part of what names are hashed with, so that two users with two credentials share no bytes.
    /// Contains no secret.
    pub fn principal(&self) -> String {
        String::new()
    }
}

impl Remote for HttpRemote {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn stat<'a>(&'a self, _name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        Box::pin(async { Err(RemoteError::NotFound) })
    }

    fn list<'a>(&'a self, _name: &'a ObjectName) -> BoxFuture<'a, Result<Vec<Entry>, RemoteError>> {
        Box::pin(async { Err(RemoteError::NotFound) })
    }

    fn fetch<'a>(
        &'a self,
        _name: &'a ObjectName,
        _range: ByteRange,
        _bound: Option<&'a Validator>,
        _sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async { Err(RemoteError::NotFound) })
    }
}
