//! How a web server is asked, as the caller sets it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};

use crate::remote::api::Room;
use crate::remote::credentials::Credentials;

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
    /// The memory that it may take.
    pub memory: HttpMemory,
}

/// What a web server's answers may take of memory.
#[derive(Clone)]
pub struct HttpMemory {
    /// The room that listings share.
    pub listings: Arc<Room>,
    /// Bytes in flight of all answers of one connection over HTTP/2.
    pub in_flight: u32,
}

impl Default for HttpMemory {
    fn default() -> Self {
        Self {
            listings: Room::unlimited(),
            in_flight: 32 << 20,
        }
    }
}

/// Why a server cannot even be asked.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL, named without its secrets, and what is wrong with it.
    #[error("{0}")]
    Url(String),
    /// A header, by its name.
    #[error("the header '{0}' cannot be sent")]
    Header(String),
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
