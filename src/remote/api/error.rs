//! Why a remote did not answer as hoped: "not found", "may not" and "cannot say" are different errors all the way up.

use crate::units::Facts;

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
