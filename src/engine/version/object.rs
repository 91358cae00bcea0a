//! One version of one object, as the rooms of the engine work on it.
//!
//! Invariants:
//!
//! * From the first byte served on, an object serves one version and no other, until it is dropped. `bound`
//!   is set with the flight locked, before the byte is handed out; the binding changes only with the flight locked and
//!   `bound` clear, and only to a version of which stat(2) shows the same.
//! * Bytes of a version that is not settled are never recorded as present.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::engine::config::source::SourceSettings;
use crate::engine::flight::blocks::{Flight, JobId};
use crate::engine::flight::read_op::ReadOp;
use crate::engine::index::cache_index::Index;
use crate::engine::placement::layout::Layout;
use crate::engine::placement::stale_version::StaleVersion;
use crate::engine::services::Services;
use crate::engine::space::cache_space::Space;
use crate::engine::version::head::Heads;
use crate::runtime::locks::{Mutex, RwLock};
use crate::units::{BlobKey, Facts, ObjectName, Validator};

/// What becomes of a blob behind its owner's back.
#[derive(Clone, Debug)]
pub enum BlobEvent {
    /// The first fetch found another version, of which stat(2) shows the same: the blob serves that one.
    Rebound(Box<Facts>),
    /// The remote has a newer version: what is not cached can no longer be read.
    Superseded,
}

/// Called for what becomes of a blob.
type Watcher = Box<dyn Fn(BlobEvent) + Send + Sync>;

/// What the objects of one source stand on.
pub(crate) struct VersionDeps {
    pub(crate) services: Arc<Services>,
    pub(crate) index: Arc<Index>,
    pub(crate) space: Arc<Space>,
    pub(crate) settings: SourceSettings,
}

/// What puts reads and blocks on their way: the room of reads, which the rooms below it call back.
pub(crate) trait Dispatch: Send + Sync {
    /// Begins a read, or begins it again.
    fn begin(&self, object: &Arc<Object>, op: Arc<ReadOp>);

    /// Fetches what the job `from` left behind: the blocks keep their waiters.
    fn fetch_instead(
        &self,
        object: &Arc<Object>,
        layout: &Arc<Layout>,
        blocks: &[u64],
        from: JobId,
    );

    /// Asks the remote for a read that has waited too long for the cache disk.
    fn hedge(&self, object: Arc<Object>, op: Arc<ReadOp>);
}

/// One version of one object.
pub(crate) struct Object {
    pub(crate) deps: Arc<VersionDeps>,
    pub(crate) dispatch: Arc<dyn Dispatch>,
    pub(crate) name: ObjectName,
    pub(crate) key: BlobKey,
    pub(crate) flight: Mutex<Flight>,
    pub(super) binding: RwLock<Binding>,
    bound: AtomicBool,
    pub(super) settled: AtomicBool,
    /// Provisional bytes were handed out since an open last dropped the kernel's pages.
    provisional: AtomicBool,
    superseded: AtomicBool,
    watcher: OnceLock<Watcher>,
    pub(crate) heads: Heads,
}

/// What the blob is bound to, so far.
pub(super) struct Binding {
    pub(super) facts: Arc<Facts>,
    pub(super) layout: Option<Arc<Layout>>,
}

impl Object {
    /// The object of this name in the version that `facts` describe.
    pub(crate) fn new(
        deps: Arc<VersionDeps>,
        dispatch: Arc<dyn Dispatch>,
        name: &ObjectName,
        key: BlobKey,
        facts: &Facts,
    ) -> Self {
        Self {
            deps,
            dispatch,
            name: name.clone(),
            key,
            flight: Mutex::default(),
            binding: RwLock::new(Binding {
                facts: Arc::new(facts.clone()),
                layout: None,
            }),
            bound: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            provisional: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            watcher: OnceLock::new(),
            heads: Heads::default(),
        }
    }

    /// The facts of the version that the blob serves.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.binding.read().facts)
    }

    /// Whether the bytes last fetched, or the record found, were those of a settled version.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Whether an open may keep the pages that a reader's kernel holds of this blob: not where provisional bytes may be
    /// among them. The first open that finds the version settled drops them, so the opens after it may keep theirs; an
    /// open of pages that were right all along must not wait for a fetch that is filling one of them.
    pub(crate) fn keeps_pages(&self) -> bool {
        let provisional = self.is_provisional();
        if provisional && self.is_settled() {
            self.provisional.store(false, Ordering::Release);
        }
        !provisional
    }

    pub(crate) fn is_provisional(&self) -> bool {
        self.provisional.load(Ordering::Acquire)
    }

    /// Called before provisional bytes are handed out.
    pub(crate) fn note_provisional(&self) {
        self.provisional.store(true, Ordering::Release);
    }

    /// Whether a byte was served: from then on the blob is this version for good.
    pub(crate) fn is_bound(&self) -> bool {
        self.bound.load(Ordering::Acquire)
    }

    /// Whether a newer version was seen.
    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }

    /// Tells the blob that the remote has a newer version: no more fetches, what is cached stays readable.
    pub(crate) fn supersede(&self) {
        if !self.superseded.swap(true, Ordering::AcqRel) {
            let layout = self.layout();
            let stale = layout.and_then(|l| Some(StaleVersion::new(l.tag()?, l.chunk, l.size)));
            stale
                .into_iter()
                .for_each(|stale| self.deps.space.stale.superseded(stale));
            self.tell(BlobEvent::Superseded);
        }
    }

    /// Has `watcher` called for what becomes of the blob; set once. It must not call back into the blob's reads.
    pub(crate) fn watch(&self, watcher: Box<dyn Fn(BlobEvent) + Send + Sync>) {
        let _ = self.watcher.set(watcher);
    }

    /// How the version lies in the cache, once that is known.
    pub(crate) fn layout(&self) -> Option<Arc<Layout>> {
        self.binding.read().layout.clone()
    }

    /// Called with the flight locked, before a byte is handed out.
    pub(crate) fn bind(&self, _flight: &mut Flight) {
        self.bound.store(true, Ordering::Release);
    }

    /// The validator of the version that the blob is planned for, or that its facts name.
    pub(crate) fn known_validator(&self) -> Option<Validator> {
        let binding = self.binding.read();
        let planned = binding
            .layout
            .as_ref()
            .and_then(|layout| layout.validator());
        planned.or_else(|| binding.facts.validator.clone())
    }

    /// Binds the blob for bytes of the version `served`, unless it has gone over to another one meanwhile.
    pub(crate) fn bind_to(&self, served: Option<&Validator>) -> bool {
        let mut flight = self.flight.lock();
        let same = served.is_some() && self.known_validator().as_ref() == served;
        if same {
            self.bind(&mut flight);
        }
        same
    }

    /// Whether the cache disk is asked for what is not in memory. Where the remote has the version no more, it always
    /// is.
    pub(crate) fn disk_answers(&self) -> bool {
        self.is_superseded() || !self.deps.index.storage.bypasses_reads()
    }

    pub(super) fn tell(&self, event: BlobEvent) {
        if let Some(watcher) = self.watcher.get() {
            watcher(event);
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let tag = self
            .binding
            .get_mut()
            .layout
            .as_ref()
            .and_then(|layout| layout.tag());
        self.deps.space.stale.in_use(None, tag);
    }
}
