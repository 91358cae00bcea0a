//! Floor 6: one cache at work, with its mounts.
//!
//! The engine has no threads, no runtime and no clock. The host gives it all three, once, for `larder` and for programs
//! that embed the cache:
//!
//! * [`OpenedCache`] is a cache directory with its disk pool, its network and its ticker; it closes the cache cleanly.
//! * [`CacheConfig`] says which cache and how it runs; [`MountRequest`] says what is mounted where. Both are plain values.
//! * [`CacheBuilder`] connects to the remote of a request and then opens the cache; [`Mount`] is the remote as a file
//!   system.

mod builder;
mod config;
mod counted;
mod fetcher;
mod memory;
mod mount;
mod opened;
mod request;
mod stats;
mod ticker;

pub use builder::CacheBuilder;
pub use config::CacheConfig;
pub use fetcher::RemoteFetcher;
pub use memory::{Budget, MemoryError};
pub use mount::Mount;
pub use opened::{HostError, OpenedCache, REMOTE_THREADS};
pub use request::MountRequest;
pub use stats::{LABELS, MountStats, Served, fields};
