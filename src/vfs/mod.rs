//! Floor 4: a file system over the cache, without a kernel.
//!
//! Names, inodes, handles and their lifetimes. Nothing here waits: what the table knows is answered on the caller's
//! thread, everything else is asked of the remote, and the answer comes through a callback. Invariants:
//!
//! * One inode serves one version for its whole life (decision 12); the rules are in `table`, which is pure.
//! * OPEN is the check: within the time-to-live it costs nothing, beyond it one question. A superseded inode answers
//!   ESTALE at open, and the kernel looks the name up again.
//! * The first open of an inode waits for the head of its first fetch (`files`), so that a version of another size or time
//!   than was shown is found before the kernel reads a page of it.
//! * The table's lock is never held while the engine or the remote is called: the engine calls back into here.
//! * A remote that cannot be asked changes nothing: what was known of a name goes on being served.

mod announced;
mod ask;
mod attr;
mod dirs;
mod errno;
mod events;
mod files;
mod forget;
mod guard;
mod listing;
mod names;
mod number;
mod options;
mod request;
mod silence;
mod table;
mod xattr;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::{Mutex, RwLock};

pub use attr::{Attr, Owner};
pub use dirs::{DirEntries, DirEntry, OpenedDir};
pub use events::Invalidator;
pub use files::{OpenFile, Opened};
pub use guard::guarded;
pub use names::{Looked, Statfs};
pub use options::{MetadataTtl, VfsOptions};
pub use request::is_request;
pub use rustix::io::Errno;

use self::announced::Announced;
use self::dirs::OpenDirs;
use self::events::Event;
use self::forget::Absent;
use self::silence::Silence;
use self::table::{Table, Verdict};
use crate::engine::{Blob, Clock, Source, Trouble};
use crate::remote::{Network, Remote, RemoteError};
use crate::units::{ObjectName, Validator};

/// What an inode keeps for its blob: made at the first open, once.
type Cell = OnceLock<Arc<Blob>>;

impl table::Kept for Cell {
    fn validator(&self) -> Option<Validator> {
        self.get()?.known_validator()
    }
}

/// An answer to one request.
pub type Answer<T> = Result<T, Errno>;

/// How long the kernel may keep an answer that was given because the remote could not be asked.
const STALE_TTL: Duration = Duration::from_secs(1);

/// A mounted remote.
pub struct Vfs {
    source: Arc<Source>,
    remote: Arc<dyn Remote>,
    lists_facts: bool,
    network: Arc<Network>,
    clock: Arc<dyn Clock>,
    stats: Arc<dyn Fn() -> String + Send + Sync>,
    cache_dir: Vec<u8>,
    owner: Owner,
    silence: Silence,
    trouble: Trouble,
    ttl: Duration,
    table: Mutex<Table<Cell>>,
    files: RwLock<HashMap<u64, Arc<OpenFile>>>,
    dirs: RwLock<OpenDirs>,
    next_handle: AtomicU64,
    events: Sender<Event>,
    invalidator: OnceLock<Box<dyn Invalidator>>,
    absent: Absent,
    announced: Announced,
}

impl Vfs {
    /// A file system over `source`, which caches `remote`. Waits for the remote's answer about its root, so that a
    /// remote that refuses or does not answer is refused at the mount.
    pub fn new(
        source: Arc<Source>,
        remote: Arc<dyn Remote>,
        network: Arc<Network>,
        options: VfsOptions,
    ) -> Result<Arc<Self>, RemoteError> {
        let (tell, told) = crossbeam_channel::bounded(1);
        let asked = options.clock.monotonic();
        let root = Arc::clone(&remote);
        network.ask(
            async move { root.stat(&ObjectName::root()).await },
            move |answer| {
                let _ = tell.send(answer);
            },
        );
        let closed = || RemoteError::Unreachable("the network threads have been shut down".into());
        let facts = told.recv().map_err(|_| closed())??;
        if facts.kind != crate::units::FileKind::Dir {
            return Err(RemoteError::WrongKind);
        }
        let ttl = options.metadata_ttl.duration();
        let lists_all = remote.lists_all();
        let (events, inbox) = crossbeam_channel::unbounded();
        let vfs = Arc::new(Self {
            source,
            lists_facts: remote.lists_facts(),
            remote,
            network,
            clock: options.clock,
            stats: options.stats,
            cache_dir: options.cache_dir,
            owner: options.owner,
            silence: Silence::default(),
            trouble: Trouble::default(),
            ttl,
            table: Mutex::new(Table::new(
                facts,
                (asked, ttl),
                lists_all,
                options.listed_max,
            )),
            files: RwLock::default(),
            dirs: RwLock::default(),
            next_handle: AtomicU64::new(1),
            events,
            invalidator: OnceLock::new(),
            absent: Absent::default(),
            announced: Announced::default(),
        });
        events::start(Arc::downgrade(&vfs), inbox)
            .map_err(|error| RemoteError::Unreachable(format!("cannot start a thread: {error}")))?;
        Ok(vfs)
    }

    /// Sets what tells the kernel that something has changed. Called once, after the mount.
    pub fn set_invalidator(&self, invalidator: Box<dyn Invalidator>) {
        if self.invalidator.set(invalidator).is_err() {
            tracing::error!("the invalidator was set twice: this is a bug in larder");
        }
    }

    /// Whether every entry of a listing comes with its facts, so that READDIRPLUS can be offered.
    pub fn lists_facts(&self) -> bool {
        self.lists_facts
    }

    /// How many inodes the kernel holds, and how many files are open.
    pub fn held(&self) -> (usize, usize) {
        (self.table.lock().len(), self.files.read().len())
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn handle(&self) -> u64 {
        self.next_handle.fetch_add(1, Ordering::Relaxed)
    }
}

/// Tells the blob of an inode that was just superseded. To be called under no lock.
fn carry_out(verdict: Verdict<Cell>) {
    if let Verdict::Superseded(cell) = verdict
        && let Some(blob) = cell.get()
    {
        blob.supersede();
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Stop);
    }
}
