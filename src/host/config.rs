//! Which cache is put to work, and how it runs.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::{Config, FreeSpace, Shares, Verify};
use crate::remote::Room;
use crate::storage::CreateOptions;
use crate::units::path_as_bytes;

/// The size of a new cache where the user names none, in bytes.
const DEFAULT_SIZE: u64 = 10 << 30;

/// One cache, as its user wants it: what all its mounts share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CacheConfig {
    /// The cache directory, in full; it need not exist.
    #[serde(with = "path_as_bytes")]
    pub dir: PathBuf,
    /// The most that the cache takes on disk, in bytes. `None`: an existing one keeps its size.
    pub size: Option<u64>,
    /// How many chunks a new cache can hold. `None`: to suit its size.
    pub slots: Option<u64>,
    /// How many files a new cache can know. `None`: to suit its size.
    pub files: Option<u64>,
    /// The memory that it may take, in bytes. `None`: half of what there is.
    pub memory: Option<u64>,
    /// What has to stay free on the cache's disk.
    pub free_space: FreeSpace,
    /// How often a block's bytes are compared with their checksum.
    pub verify: Verify,
    /// Bytes a second of the scrub that begins by itself after a power cut; 0 is no limit, `None` is no scrub.
    pub scrub_rate: Option<u64>,
}

impl CacheConfig {
    /// What a new cache is made with.
    pub fn create_options(&self) -> CreateOptions {
        CreateOptions {
            capacity: self.size.unwrap_or(DEFAULT_SIZE),
            slots: self.slots,
            files: self.files,
        }
    }

    /// What the engine is told, within these shares of memory.
    pub(super) fn engine(&self, shares: Shares, listings: Arc<Room>) -> Config {
        shares.bound(Config {
            verify: self.verify,
            scrub_rate: self.scrub_rate,
            free_space: self.free_space,
            listings,
            ..Config::default()
        })
    }
}
