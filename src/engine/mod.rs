//! Floor 3: the cache.
//!
//! A synchronous core that never waits on the network or on a sick disk: what cannot be answered at once is handed to an
//! [`Executor`] (the disk pool) or a [`Fetcher`] (the network), and the reader is called back. It has no threads and no
//! clock of its own, so that a seeded simulation can drive it. The way of a read through these files is told step by step
//! in ARCHITECTURE.md.

mod backlog;
mod belief;
mod blob;
mod blobs;
mod broken;
mod cache;
mod clock;
mod config;
mod counters;
mod cull;
mod deadlines;
mod described;
mod disk;
mod embed;
mod errand;
mod error;
mod evict;
mod executor;
mod fetch;
mod fill;
mod flight;
mod flush;
mod forget;
mod free_space;
mod gate;
mod head;
mod health;
mod inline;
mod left;
mod limits;
mod memory;
mod network;
mod op;
mod opening;
mod outstanding;
mod pace;
mod park;
mod probe;
mod read;
mod readahead;
mod reclaim;
mod recount;
mod scrub;
mod scrub_slot;
mod set_limits;
mod shrink;
mod slot;
mod slots;
mod source;
mod standing;
mod stop;
mod sync;
mod table;
mod trouble;
mod verify;
mod versions;
mod watched;

pub use blob::{Blob, BlobEvent, BlobInfo};
#[cfg(feature = "testing")]
pub use broken::{Rule, break_rule};
pub use cache::{Cache, Ground};
pub use clock::{Clock, SystemClock};
pub use config::{ChunkPolicy, ChunkRule, Config, Verify};
pub use counters::Stats;
#[cfg(feature = "testing")]
pub use cull::trial;
pub(crate) use described::described;
pub use described::{Field, FieldKind, Unit, unit_of};
pub use embed::{EmbedError, OpenedCache};
pub use error::{OpenError, ReadError};
pub use executor::{DiskPool, Executor, Job, Lane};
pub use fetch::FetchJob;
pub use forget::Forgotten;
pub use free_space::{FreeSpace, Pressure};
pub use head::Head;
pub use health::DiskState;
pub use memory::{Shares, TooLittle};
pub use network::Network;
pub use opening::Opening;
pub use read::Reader;
pub use scrub::{ScrubEnd, ScrubKind, ScrubState, ScrubStats};
pub use set_limits::{LimitsError, LimitsView};
pub use source::Source;
pub use stop::LastStop;
#[cfg(feature = "testing")]
pub use sync::{Asked, on_lock};
pub use trouble::Trouble;
pub use watched::DiskStats;

use bytes::Bytes;

/// Called with the bytes of a read, which are fewer than asked only at the blob's end, or with why there are none.
pub type ReadDone = Box<dyn FnOnce(Result<Bytes, ReadError>) + Send>;

/// What the engine starts fetches through.
pub trait Fetcher: Send + Sync + 'static {
    /// Starts one fetch and returns at once. The job is the sink of the bytes; when it is finished or dropped, its
    /// readers are answered.
    fn start(&self, job: FetchJob);
}
