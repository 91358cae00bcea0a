//! A local (or kernel-mounted) directory as a remote.
//!
//! Invariants: the root is opened once, before anything is mounted, and everything is reached relative to it, so that a
//! mount over it or above it changes nothing; symbolic links are never followed; own mount points and cache directories
//! are never looked through (that would be a question to ourselves). System calls that may block run on the runtime's
//! blocking threads, whose number is bounded.

mod beneath;
mod blocking;
mod facts;
mod fetch;
mod lease;
mod list;
mod remote;
mod tree;

pub use remote::{DirRemote, DirSettings};
pub use tree::WallClock;

#[cfg(test)]
mod tests;
