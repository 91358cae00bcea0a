//! A web server as a remote: HTTP/1.1 and HTTP/2, ranged reads checked by validators, listings of the usual servers.
//!
//! Invariants:
//!
//! * A byte reaches a reader only from an answer whose status, Content-Range, lengths, encoding and validator all fit what
//!   was asked for. Anything else is an error of the origin.
//! * Secrets (passwords, header values) are in no error, no log line and no `Debug` output.

mod answer;
mod client;
mod clients;
mod dirs;
mod facts;
mod fetch;
mod listing;
mod look;
mod names;
mod pacer;
mod patience;
mod reach;
mod retry;
mod secrets;
mod stamps;
mod trouble;
mod validator;
mod web;

#[cfg(feature = "testing")]
pub mod probe;

#[cfg(feature = "testing")]
pub use listing::probe as listing_probe;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use self::clients::Resolver;
use self::listing::Style;
use self::web::Web;
use super::Credentials;
use super::api::{BoxFuture, Pages, Remote, RemoteError, Room, Sink, whole};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

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

/// A web server, or one file on it.
pub struct HttpRemote {
    url: Url,
    principal: String,
    /// As it is without a look.
    unseen: Face,
    /// As it was when it was looked at.
    seen: OnceLock<Face>,
}

/// What of a web server is known, or taken for granted.
struct Face {
    identity: String,
    web: Arc<Web>,
}

impl Face {
    fn of(web: Web) -> Self {
        Self {
            identity: names::identity(&web.site.base),
            web: Arc::new(web),
        }
    }
}

impl HttpRemote {
    /// A remote at `url` (http or https; without user information, query and fragment). Nothing is asked yet.
    pub fn new(url: &Url, settings: HttpSettings) -> Result<Self, SettingsError> {
        Self::over(url, settings, Resolver::real())
    }

    fn over(url: &Url, settings: HttpSettings, resolver: Resolver) -> Result<Self, SettingsError> {
        let fail = |why: &str| {
            let shown = names::shown(url);
            Err(SettingsError::Url(format!("cannot mount {shown}: {why}")))
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return fail("give a URL that begins with http:// or https:// and names a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return fail("the URL must not contain a user or a password here");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return fail("give a URL without ? and #; a ? in a name is written %3F");
        }
        let web = Web::new(url, &settings, resolver)?;
        Ok(Self {
            url: url.clone(),
            principal: secrets::principal(&settings),
            unseen: Face::of(web),
            seen: OnceLock::new(),
        })
    }

    fn face(&self) -> &Face {
        self.seen.get().unwrap_or(&self.unseen)
    }
}

impl Remote for HttpRemote {
    fn identity(&self) -> &str {
        &self.face().identity
    }

    /// Whether the URL is a directory or one file, and what its listings say.
    fn look(&self) -> BoxFuture<'_, Result<Vec<String>, RemoteError>> {
        Box::pin(async {
            let web = &self.unseen.web;
            let (site, notes) = look::look(web, &self.url).await?;
            let shared = Arc::clone(&web.shared);
            // A second look changes nothing.
            let _ = self.seen.set(Face::of(Web { site, shared }));
            Ok(notes)
        })
    }

    fn principal(&self) -> String {
        self.principal.clone()
    }

    fn lists_facts(&self) -> bool {
        self.face().web.site.style == Style::Exact
    }

    fn lists_all(&self) -> bool {
        false
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        Box::pin(facts::stat(&self.face().web, name))
    }

    /// A web server's listing is known when its answer is there to the end: it is one page.
    fn list<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Box<dyn Pages>, RemoteError>> {
        Box::pin(async move { dirs::list(&self.face().web, name).await.map(whole) })
    }

    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(fetch::fetch(&self.face().web, name, range, bound, sink))
    }
}

#[cfg(test)]
mod tests;
