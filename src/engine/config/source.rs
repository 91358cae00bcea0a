//! How one remote is read through a cache.

use std::time::Duration;

use super::chunk_policy::ChunkPolicy;

/// How one remote is read through a cache; several mounts of one cache may differ in it.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// How the chunk size of a blob's new version is chosen.
    pub chunks: ChunkPolicy,
    /// A read that is not answered by then gets [`crate::engine::ReadError::TimedOut`].
    pub timeout: Duration,
    /// How long a version that the remote has no validator for is believed to be the current one while its size stays.
    pub unvalidated_ttl: Duration,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            chunks: ChunkPolicy::Auto,
            timeout: Duration::from_secs(30),
            unvalidated_ttl: Duration::from_secs(3600),
        }
    }
}

impl From<ChunkPolicy> for SourceSettings {
    fn from(chunks: ChunkPolicy) -> Self {
        Self {
            chunks,
            ..Self::default()
        }
    }
}
