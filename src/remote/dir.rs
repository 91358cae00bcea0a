//! A local directory as a remote.

/// In work.
pub struct DirRemote {}
