//! The answers to requests.

pub use rustix::io::Errno;

/// An answer to one request.
pub type Answer<T> = Result<T, Errno>;
