//! What a cache and a mount can be told.

use std::time::Duration;

use crate::units::ChunkSize;

/// How the engine runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// A read that is not answered by then gets [`super::ReadError::TimedOut`].
    pub timeout: Duration,
    /// A disk read that is not done by then is asked of the remote as well.
    pub disk_patience: Duration,
    /// Bytes of fetches in flight, including those that wait to be written to disk.
    pub fetch_budget: u64,
    /// The most that one request asks for, in bytes.
    pub request_max: u64,
    /// The furthest that readahead reaches at a remote that answers at once, in bytes.
    pub readahead_max: u64,
    /// The furthest that it reaches at any remote.
    pub readahead_far: u64,
    /// How long a version that the remote has no validator for is believed to be the current one while its size stays.
    pub unvalidated_ttl: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            disk_patience: Duration::from_secs(2),
            fetch_budget: 256 << 20,
            request_max: 4 << 20,
            readahead_max: 16 << 20,
            readahead_far: 64 << 20,
            unvalidated_ttl: Duration::from_secs(3600),
        }
    }
}

/// How the chunk size of a blob's new version is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChunkPolicy {
    /// One chunk for a blob of up to 64 MiB (the next power of two, at least 64 KiB), 4 MiB for larger ones.
    Auto,
    /// This size for every blob.
    Fixed(ChunkSize),
}

impl ChunkPolicy {
    /// The chunk size for a blob of `size` bytes.
    pub fn choose(self, size: u64) -> ChunkSize {
        match self {
            Self::Fixed(chunk) => chunk,
            Self::Auto if size <= ChunkSize::MAX.bytes() => ChunkSize::covering(size),
            Self::Auto => ChunkSize::DEFAULT,
        }
    }
}
