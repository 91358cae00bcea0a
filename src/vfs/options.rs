//! What a mounted file system can be told.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attr::Owner;
use crate::engine::Clock;

/// For how long names, attributes and listings are believed without asking again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MetadataTtl {
    /// Not at all: every open and every stat asks the remote.
    Minimal,
    /// For ever: the remote never changes.
    Indefinite,
    /// For this long.
    For(Duration),
}

impl MetadataTtl {
    /// For this many seconds.
    pub fn seconds(seconds: u64) -> Self {
        Self::For(Duration::from_secs(seconds))
    }

    /// As a duration; "indefinite" is ten years.
    pub fn duration(self) -> Duration {
        match self {
            Self::Minimal => Duration::ZERO,
            Self::Indefinite => Duration::from_secs(10 * 365 * 24 * 3600),
            Self::For(time) => time.min(Self::Indefinite.duration()),
        }
    }
}

impl Default for MetadataTtl {
    fn default() -> Self {
        Self::seconds(60)
    }
}

/// How a file system is served.
pub struct VfsOptions {
    /// For how long metadata is believed.
    pub metadata_ttl: MetadataTtl,
    /// The clock that measures it.
    pub clock: Arc<dyn Clock>,
    /// What `user.larder.stats` on the root shows: JSON.
    pub stats: Arc<dyn Fn() -> String + Send + Sync>,
    /// What `user.larder.cache-dir` on the root shows: the cache directory's path.
    pub cache_dir: Vec<u8>,
    /// Who owns what is shown.
    pub owner: Owner,
    /// How many entries of listings are kept at most.
    pub listed_max: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_to_live_is_longer_than_for_ever() {
        let ttl = MetadataTtl::seconds;
        assert_eq!(ttl(u64::MAX).duration(), MetadataTtl::Indefinite.duration());
        assert_eq!(ttl(7).duration(), Duration::from_secs(7));
        assert!(ttl(0).duration() == MetadataTtl::Minimal.duration());
    }
}
