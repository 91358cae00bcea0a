//! Why a check did not come to its end.

use std::io;

use crate::format::SectorError;

/// Why a check did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The disk said no.
    #[error("cannot read the cache: {0}")]
    Io(#[from] io::Error),
    /// No superblock holds, so that nothing can be proven.
    #[error(
        "none of the three superblocks is valid ({0}), so the cached data cannot be verified: cachefsck -y moves the old index to quarantine/ and starts an empty cache"
    )]
    Superblock(SectorError),
    /// The observer ended it.
    #[error("cancelled")]
    Cancelled,
}
