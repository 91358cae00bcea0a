//! Floor 2: the seam to the origin.
//!
//! A [`Remote`] answers questions about names and delivers ranges of bytes with the version that they belong to. It
//! caches nothing and decides nothing. "Not found", "may not" and "cannot say" are different errors all the way up
//! (decision 14).

pub mod connect;
mod credentials;
mod dir;
#[cfg(feature = "http")]
mod http;
mod network;
mod room;
mod slow;

pub use credentials::Credentials;
pub use dir::{DirRemote, DirSettings, WallClock};
#[cfg(feature = "http")]
pub use http::{HttpMemory, HttpRemote, HttpSettings, SettingsError};
#[cfg(all(feature = "testing", feature = "http"))]
pub use http::{listing_probe, probe as answer_probe};
pub use network::Network;
pub use room::{Entries, Held, Room};
pub use slow::{SlowRemote, SlowSettings};

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;

use crate::units::{ByteRange, Facts, FileKind, ObjectName, Validator};

/// A future that a remote returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a remote did not answer as hoped.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RemoteError {
    /// There is no such object: the remote said so.
    #[error("the object does not exist at the remote")]
    NotFound,
    /// The object may not be read with these credentials.
    #[error("the remote denies access")]
    Forbidden,
    /// The object is no longer the version that was asked for; its new facts.
    #[error("the object has changed at the remote")]
    Changed(Box<Facts>),
    /// The object is not of the kind that was asked for (a listing of a file, a link that is none).
    #[error("the object is not of the expected type")]
    WrongKind,
    /// The remote could not be asked, or broke off; the sentence says how.
    #[error("the remote cannot be reached: {0}")]
    Unreachable(String),
    /// The remote answered with what cannot be; the sentence says what.
    #[error("the remote's answer is invalid: {0}")]
    Untrusted(String),
    /// The remote has the directory and cannot say what is in it; the sentence says why. Names in it can be asked for.
    #[error("the remote does not list this directory: {0}")]
    Unlistable(String),
    /// No answer within the deadline.
    #[error("the remote did not answer within the timeout")]
    TimedOut,
    /// This process, or the machine, has no file descriptor left to ask with.
    #[error("larder has no file descriptor left: a higher `ulimit -n` gives it more")]
    NoDescriptor,
    /// The answer takes more memory than there is for it; the sentence says how much, and what gives it more.
    #[error("{0}")]
    NoMemory(String),
}

/// One entry of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name within the directory: no `/`, not `.`, not `..`.
    pub name: Box<[u8]>,
    /// What the listing says of it.
    pub listed: Listed,
}

/// What a listing says of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listed {
    /// All that stat(2) shows.
    Facts(Facts),
    /// Its kind alone: sizes or times that a listing rounds are no facts. [`Remote::stat`] tells, when somebody asks.
    Kind(FileKind),
}

impl Listed {
    /// What the entry is.
    pub fn kind(&self) -> FileKind {
        match self {
            Self::Facts(facts) => facts.kind,
            Self::Kind(kind) => *kind,
        }
    }

    /// All that stat(2) shows, where the listing says it.
    pub fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Facts(facts) => Some(facts),
            Self::Kind(_) => None,
        }
    }
}

/// How much a remote holds and could hold; what df(1) shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes not in use.
    pub free_bytes: u64,
    /// Objects that there can be; 0 where nobody counts them.
    pub total_files: u64,
    /// Objects that there could be more.
    pub free_files: u64,
}

/// Whoever receives the bytes of a fetch, in order.
pub trait Sink: Send {
    /// Called once, before the first bytes: the version that they belong to (`facts.validator` is set), and whether it
    /// is settled. The bytes of a version that is not settled are provisional: they answer waiting readers and are never
    /// recorded. Errors with [`RemoteError::Changed`] where the receiver is bound to another version.
    fn version(&mut self, facts: &Facts, settled: bool) -> Result<(), RemoteError>;

    /// The next bytes of the range. They are of the version announced, checked as well as the remote can check.
    fn data(&mut self, bytes: Bytes);

    /// Called after [`Sink::version`] and before any bytes where the remote delivers the whole object or nothing. `true`:
    /// the bytes that follow are the whole object's, from its first. `false`: another fetch delivers it already; the
    /// remote ends this one, without an error.
    fn whole(&mut self) -> bool;

    /// Whether more bytes are welcome now. A remote that delivers the whole object asks before each piece and waits a
    /// moment where they are not: nobody has counted how much memory it may take.
    fn has_room(&self) -> bool {
        true
    }

    /// Whether the rest of a whole object is of no use to anybody: the remote then ends without an error.
    fn is_enough(&self) -> bool {
        false
    }
}

/// An origin.
pub trait Remote: Send + Sync + 'static {
    /// The canonical identity (scheme, endpoint, bucket or file-system id, prefix): equal for two mounts exactly where
    /// equal names mean equal objects.
    fn identity(&self) -> &str;

    /// The first look at the remote, before it is mounted: learns what the other methods build on, [`Remote::identity`]
    /// among them, and returns sentences that the user who mounts should read. Called once, before anything else. Errors
    /// with [`RemoteError::Forbidden`] where the credentials are refused.
    fn look(&self) -> BoxFuture<'_, Result<Vec<String>, RemoteError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// As whom the remote is asked: part of what names are hashed with, so that two users who may not read the same share
    /// no cached bytes. Contains no secret. Empty where everybody sees the same.
    fn principal(&self) -> String {
        String::new()
    }

    /// Directories of this machine that the remote shows empty and never looks into: the mount point and the cache
    /// directory of its own mount. Absolute, or relative to the working directory; those that it does not hold are ignored.
    /// Called once, before anything is mounted.
    fn hide(&self, _dirs: &[PathBuf]) {}

    /// Whether listings say all that stat(2) shows of every entry ([`Listed::Facts`]). Asked once, when the remote is
    /// mounted.
    fn lists_facts(&self) -> bool {
        true
    }

    /// Whether a name that a directory's listing lacks does not exist. Where it may exist all the same (a web server that
    /// hides what begins with a dot), whoever asks for it makes larder ask the remote.
    fn lists_all(&self) -> bool {
        true
    }

    /// The facts of one object; symbolic links are not followed.
    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>>;

    /// Everything in a directory, in the remote's order. A remote without directories leaves this out.
    fn list<'a>(&'a self, _name: &'a ObjectName) -> BoxFuture<'a, Result<Entries, RemoteError>> {
        Box::pin(async { Err(RemoteError::WrongKind) })
    }

    /// The target of a symbolic link. A remote without links leaves this out.
    fn read_link<'a>(
        &'a self,
        _name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Vec<u8>, RemoteError>> {
        Box::pin(async { Err(RemoteError::WrongKind) })
    }

    /// Delivers `range` of one version of the object to `sink`: of the version `bound` if given (anything else is
    /// [`RemoteError::Changed`]), otherwise of the version that is found. A range of the version `bound` lies within it; of
    /// one that is found, what the object has of the range is delivered, and the sink decides whether that is welcome.
    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>>;

    /// How much the remote holds and could hold, where it can say.
    fn capacity(&self) -> BoxFuture<'_, Result<Option<Capacity>, RemoteError>> {
        Box::pin(async { Ok(None) })
    }
}
