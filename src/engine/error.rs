//! What can go wrong, as a reader or an opener sees it.

use crate::format::SectorError;
use crate::remote::RemoteError;

/// Why a read brought no bytes. A failing cache is never among the reasons: it is a miss.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The version is no longer to be had.
    #[error("the version that was opened is no longer at the remote and not in the cache")]
    Stale,
    /// The remote said that there is no such object.
    #[error("the object does not exist at the remote")]
    NotFound,
    /// The remote forbids it.
    #[error("the remote denies access")]
    Forbidden,
    /// Not answered within the deadline.
    #[error("no answer within the timeout")]
    TimedOut,
    /// The remote could not be asked, or its answer was not to be trusted.
    #[error("{0}")]
    Remote(String),
    /// The cache was closed.
    #[error("the cache was closed")]
    Closed,
}

impl From<RemoteError> for ReadError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::NotFound => Self::NotFound,
            RemoteError::Forbidden => Self::Forbidden,
            // What is no file any more has no more bytes of this version.
            RemoteError::Changed(_) | RemoteError::WrongKind => Self::Stale,
            RemoteError::TimedOut => Self::TimedOut,
            other => Self::Remote(other.to_string()),
        }
    }
}

/// Why a cache cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk said no.
    #[error("cannot read or write the index: {0}")]
    Io(#[from] std::io::Error),
    /// No superblock holds.
    #[error("neither copy of the superblock is valid ({0}): repair the cache with cachefsck -p")]
    Superblock(SectorError),
    /// No session holds.
    #[error("neither copy of the session is valid: repair the cache with cachefsck -p")]
    Session,
    /// Unknown incompatible features.
    #[error("the cache uses features that this version does not know (incompatible bits {0:#x})")]
    Features(u64),
    /// The index has another length than its superblock says.
    #[error(
        "the index is {actual} bytes long, but its superblock says {expected}: repair the cache with cachefsck -p"
    )]
    Length {
        /// What the file has.
        actual: u64,
        /// What it should have.
        expected: u64,
    },
    /// The cache was mounted 2^24 times.
    #[error(
        "the cache has been mounted {0} times, the most that its format can count: remove it, and larder creates a new one"
    )]
    Epochs(u64),
}
