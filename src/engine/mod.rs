//! Floor 3: the cache.
//!
//! A synchronous core that never waits on the network or on a sick disk: what cannot be answered at once is handed to an
//! [`Executor`] (the disk pool) or a [`Fetcher`] (the network), and the reader is called back. It has no threads and no
//! clock of its own, so that a seeded simulation can drive it. The way of a read through these rooms is told step by step
//! in ARCHITECTURE.md.

mod api;
mod config;
mod error;
mod fill;
mod flight;
mod health;
mod index;
mod policy;
mod proof;
mod read;
mod space;
pub(crate) mod stats;
mod transfer;
mod upkeep;
mod version;

pub use crate::runtime::clock::{Clock, SystemClock};
pub use crate::runtime::executor::{DiskPool, Executor, Job, Lane};
#[cfg(feature = "testing")]
pub use crate::runtime::locks::{Asked, on_lock};
pub use crate::runtime::log_limiter::Trouble;
#[cfg(feature = "testing")]
pub use crate::runtime::test_faults::{Rule, break_rule};
pub use api::blob::{Blob, BlobEvent, BlobInfo};
pub use api::cache::{Cache, Ground};
pub use api::memory::{Shares, TooLittle};
pub use api::source::Source;
pub use config::{ChunkPolicy, ChunkRule, Config, SourceSettings, Verify};
pub use error::{OpenError, ReadError};
pub use flight::read_op::ReadDone;
pub use health::monitored_storage::DiskStats;
pub use health::verdict::DiskState;
#[cfg(feature = "testing")]
pub use policy::trial;
pub use read::head::Head;
pub use read::open::Opening;
pub use read::planner::Reader;
pub use space::free_space::{FreeSpace, Pressure};
pub use space::set_limits::{LimitsError, LimitsView};
pub use stats::counters::Stats;
pub(crate) use stats::described::described;
pub use stats::described::{Field, FieldKind, Unit, unit_of};
pub use transfer::fetch::{FetchJob, Fetcher};
pub use upkeep::forget::Forgotten;
pub use upkeep::last_shutdown::LastStop;
pub use upkeep::scrub::{ScrubEnd, ScrubKind, ScrubState, ScrubStats};
