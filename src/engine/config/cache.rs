//! How a cache runs, whatever is read through it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::free_space::FreeSpace;
use crate::remote::Room;

/// How a cache runs, whatever is read through it.
#[derive(Clone, Debug)]
pub struct Config {
    /// A disk read that is not done by then is asked of the remote as well.
    pub disk_patience: Duration,
    /// What the mount may take of memory in all, as statistics show it; 0 where it was not said.
    /// [`crate::engine::Shares`] turns it into the bounds below.
    pub memory: u64,
    /// The room that listings share.
    pub listings: Arc<Room>,
    /// Bytes of fetches in flight, including those that wait to be written to disk.
    pub fetch_budget: u64,
    /// The most that one request asks for, in bytes.
    pub request_max: u64,
    /// The furthest that readahead reaches at a remote that answers at once, in bytes.
    pub readahead_max: u64,
    /// The furthest that it reaches at any remote.
    pub readahead_far: u64,
    /// How often a block's bytes are compared with their checksum.
    pub verify: Verify,
    /// Bytes a second of the scrub that begins by itself after a power cut; 0 is no limit, `None` is no scrub.
    pub scrub_rate: Option<u64>,
    /// What has to stay free on the cache's disk.
    pub free_space: FreeSpace,
}

/// How often a block's bytes are compared with their checksum.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Verify {
    /// Once for as long as they stay in memory.
    #[default]
    First,
    /// At every read.
    Always,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            disk_patience: Duration::from_secs(2),
            memory: 0,
            listings: Room::unlimited(),
            fetch_budget: 256 << 20,
            request_max: 4 << 20,
            readahead_max: 16 << 20,
            readahead_far: 64 << 20,
            verify: Verify::First,
            scrub_rate: Some(32 << 20),
            free_space: FreeSpace::default(),
        }
    }
}
