//! Floor 3: the cache.
//!
//! A synchronous core that never waits on the network or on a sick disk: what cannot be answered at once is handed to
//! an [`Executor`] (the disk pool) or a [`Fetcher`] (the network), and the reader is called back. It has no threads and
//! no clock of its own, so that a seeded simulation can drive it. The way of a read through these rooms is told step by
//! step in ARCHITECTURE.md.

mod api;
mod config;
mod deps;
mod error;
mod fill;
mod flight;
mod health;
mod index;
mod placement;
mod policy;
mod proof;
mod read;
mod services;
mod space;
pub(crate) mod stats;
mod transfer;
mod upkeep;
mod version;

pub use crate::runtime::clock::{Clock, SystemClock};
pub use crate::runtime::executor::{DiskPool, Executor, Job, Lane};
#[cfg(feature = "testing")]
pub use crate::runtime::locks::{Asked, on_lock};
pub use crate::runtime::log_limiter::LogLimiter;
#[cfg(feature = "testing")]
pub use crate::runtime::test_faults::{Rule, break_rule};
pub use api::blob::{Blob, BlobInfo, LentChunk, Reader};
pub use api::cache::Cache;
pub use api::documents::{DocumentKind, Documents};
pub use api::memory::{Shares, TooLittle};
pub use api::source::Source;
pub use api::stats::Stats;
pub use config::cache::{Config, Verify};
pub use config::chunk_policy::{ChunkPolicy, ChunkRule};
pub use config::free_space::{FreeSpace, Pressure};
pub use config::source::SourceSettings;
pub use deps::CacheDeps;
pub use error::{OpenError, ReadError};
pub use flight::read_op::ReadDone;
pub use health::disk_stats::DiskStats;
pub use health::verdict::DiskState;
pub use index::last_shutdown::LastShutdown;
#[cfg(feature = "testing")]
pub use policy::trial;
pub use read::open::Opening;
pub use space::set_limits::{LimitsError, LimitsView};
pub(crate) use stats::described::described;
pub use stats::described::{Field, FieldKind, Unit, unit_of};
pub use transfer::fetch::{FetchJob, Fetcher};
pub use upkeep::evict::Evicted;
pub use upkeep::scrub_stats::{ScrubEnd, ScrubKind, ScrubState, ScrubStats};
pub use version::head::Head;
pub use version::object::BlobEvent;
