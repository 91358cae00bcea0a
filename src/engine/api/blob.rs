//! One version of one object: how a blob is bound to it, and what becomes of it.
//!
//! Invariants:
//!
//! * From the first byte served on, a blob serves one version and no other, until it is dropped (decision 12). `bound`
//!   is set with the flight locked, before the byte is handed out; the binding changes only with the flight locked and
//!   `bound` clear, and only to a version of which stat(2) shows the same.
//! * Bytes of a version that is not settled are never recorded as present.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::engine::api::cache::Cache;
use crate::engine::api::source::Source;
use crate::engine::flight::blocks::Flight;
use crate::engine::read::head::Heads;
use crate::engine::read::planner::Reader;
use crate::engine::space::stale_versions::Dead;
use crate::engine::version::revalidation::confirms;
use crate::format::{BlobKind, BlobRecord, decode_validator, encode_validator, version_tag};
use crate::remote::RemoteError;
use crate::runtime::executor::{Job, Lane};
use crate::runtime::locks::{Mutex, RwLock};
use crate::units::{BlobKey, ChunkSize, Facts, FileKind, ObjectName, Tag, Validator};

/// A blob whose version changes more often than this before the first byte is served is being written: its readers get
/// [`crate::engine::error::ReadError::Stale`] and may try again.
const REBOUND_MAX: u32 = 8;

/// When the version of a record was taken on that the remote has refuted since.
const REFUTED: Duration = Duration::ZERO;

/// What becomes of a blob behind its owner's back.
#[derive(Clone, Debug)]
pub enum BlobEvent {
    /// The first fetch found another version, of which stat(2) shows the same: the blob serves that one.
    Rebound(Box<Facts>),
    /// The remote has a newer version: what is not cached can no longer be read.
    Superseded,
}

/// What `larder info` and the extended attributes show of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// The key.
    pub key: BlobKey,
    /// The tag, once bound and resolved.
    pub tag: Option<Tag>,
    /// The chunk size, once resolved.
    pub chunk_size: Option<ChunkSize>,
    /// The bytes of this version that the cache holds.
    pub cached_bytes: u64,
    /// The validator, once known.
    pub validator: Option<Validator>,
    /// Whether what is fetched now is recorded: not while the version is provisional.
    pub settled: bool,
}

/// Called for what becomes of a blob.
type Watcher = Box<dyn Fn(BlobEvent) + Send + Sync>;

/// One version of one object, as a reader sees it.
pub struct Blob {
    pub(crate) source: Arc<Source>,
    pub(crate) name: ObjectName,
    pub(crate) key: BlobKey,
    pub(crate) flight: Mutex<Flight>,
    binding: RwLock<Binding>,
    bound: AtomicBool,
    settled: AtomicBool,
    /// Provisional bytes were handed out since an open last dropped the kernel's pages.
    provisional: AtomicBool,
    superseded: AtomicBool,
    watcher: OnceLock<Watcher>,
    pub(crate) heads: Heads,
}

/// What the blob is bound to, so far.
struct Binding {
    facts: Arc<Facts>,
    plan: Option<Arc<Plan>>,
}

/// How a version lies in the cache: known once the blob record was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) chunk: ChunkSize,
    pub(crate) size: u64,
    /// The version; `None` until the first fetch of an object whose listing does not tell.
    pub(crate) version: Option<(Validator, Tag)>,
    /// The number of the blob record that binds the key to this version, once there is one.
    pub(crate) record: Option<u32>,
    /// The version that the key's record names so far, where it is another one: it is dead once the record is replaced.
    pub(crate) replaces: Option<Dead>,
    /// When a version without a validator is believed no more, since 1970.
    pub(crate) expires: Option<Duration>,
}

impl Plan {
    pub(crate) fn tag(&self) -> Option<Tag> {
        self.version.as_ref().map(|(_, tag)| *tag)
    }

    pub(crate) fn validator(&self) -> Option<Validator> {
        self.version
            .as_ref()
            .map(|(validator, _)| validator.clone())
    }
}

impl Blob {
    pub(crate) fn new(source: Arc<Source>, name: &ObjectName, key: BlobKey, facts: &Facts) -> Self {
        Self {
            source,
            name: name.clone(),
            key,
            flight: Mutex::default(),
            binding: RwLock::new(Binding {
                facts: Arc::new(facts.clone()),
                plan: None,
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
    pub fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.binding.read().facts)
    }

    /// Whether the bytes last fetched, or the record found, were those of a settled version.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Whether an open may keep the pages that a reader's kernel holds of this blob: not where provisional bytes may be
    /// among them. The first open that finds the version settled drops them, so the opens after it may keep theirs; an
    /// open of pages that were right all along must not wait for a fetch that is filling one of them.
    pub fn keeps_pages(&self) -> bool {
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
    pub fn is_bound(&self) -> bool {
        self.bound.load(Ordering::Acquire)
    }

    /// Whether a newer version was seen.
    pub fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }

    /// Tells the blob that the remote has a newer version: no more fetches, what is cached stays readable.
    pub fn supersede(&self) {
        if !self.superseded.swap(true, Ordering::AcqRel) {
            let plan = self.plan();
            let dead = plan.and_then(|p| Some(Dead::new(p.tag()?, p.chunk, p.size)));
            dead.into_iter()
                .for_each(|dead| self.cache().versions.superseded(dead));
            self.tell(BlobEvent::Superseded);
        }
    }

    /// Has `watcher` called for what becomes of the blob; set once. It must not call back into the blob's reads.
    pub fn watch(&self, watcher: Box<dyn Fn(BlobEvent) + Send + Sync>) {
        let _ = self.watcher.set(watcher);
    }

    /// A reader with a readahead of its own: one per open handle.
    pub fn reader(self: &Arc<Self>) -> Reader {
        Reader::new(Arc::clone(self))
    }

    /// Calls back with what is known of the blob, after a look into the index where that is needed.
    pub fn describe(self: &Arc<Self>, done: Box<dyn FnOnce(BlobInfo) + Send>) {
        let blob = Arc::clone(self);
        let job: Job = Box::new(move || {
            blob.resolve();
            done(blob.info());
        });
        // A pool that takes no more jobs is being shut down: the answer is given from here.
        if let Err(job) = self.cache().ground.executor.submit(Lane::Read, job) {
            job();
        }
    }

    fn info(&self) -> BlobInfo {
        let plan = self.plan();
        let tag = plan.as_ref().and_then(|plan| plan.tag());
        let cached = match (&plan, tag) {
            (Some(plan), Some(tag)) => self.cache().cached_bytes(tag, plan.chunk, plan.size),
            _ => 0,
        };
        BlobInfo {
            key: self.key,
            tag,
            chunk_size: plan.as_ref().map(|plan| plan.chunk),
            cached_bytes: cached,
            validator: self.known_validator(),
            settled: self.is_settled(),
        }
    }

    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.source.cache
    }

    pub(crate) fn plan(&self) -> Option<Arc<Plan>> {
        self.binding.read().plan.clone()
    }

    /// Called with the flight locked, before a byte is handed out.
    pub(crate) fn bind(&self, _flight: &mut Flight) {
        self.bound.store(true, Ordering::Release);
    }

    /// The validator of the version that the blob is planned for, or that its facts name.
    pub fn known_validator(&self) -> Option<Validator> {
        let binding = self.binding.read();
        let planned = binding.plan.as_ref().and_then(|plan| plan.validator());
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

    /// Looks at the blob record and plans by it. Waits for the disk; where that fails, plans without the record. Must
    /// not be called with the flight locked.
    pub(crate) fn resolve(&self) {
        if self.plan().is_some() {
            return;
        }
        let facts = self.facts();
        let found = self.cache().blobs.get(self.key).unwrap_or_else(|error| {
            self.cache().disk_failed("reading a blob record", &error);
            None
        });
        let plan = self.plan_by(&facts, found);
        let _flight = self.flight.lock();
        let mut binding = self.binding.write();
        // The facts may have been replaced while the disk was read: then the next resolve plans by the new ones.
        if binding.plan.is_none() && Arc::ptr_eq(&binding.facts, &facts) {
            if plan.record.is_some() {
                self.settled.store(true, Ordering::Release);
            }
            self.adopt(&mut binding, plan);
        }
    }

    /// The plan for these facts: the record's own where it binds the key to the same version, otherwise a new one.
    fn plan_by(&self, facts: &Facts, found: Option<(u32, BlobRecord)>) -> Plan {
        let former = found.as_ref().map(|(_, record)| record);
        let replaces = former.map(|record| Dead::new(record.tag, record.chunk, record.size));
        let known = found.and_then(|(number, record)| {
            let validator = decode_validator(&record.validator)?;
            let since = Duration::from_secs(record.validated_at);
            let expires = self.expiry(&validator, since);
            let refuted = since == REFUTED;
            let believed =
                !refuted && expires.is_none_or(|end| self.cache().ground.clock.wall() < end);
            let same = match &facts.validator {
                Some(listed) => *listed == validator,
                None => believed && confirms(&validator, record.mtime, facts.mtime),
            };
            let holds = same && record.size == facts.size && record.kind == BlobKind::File;
            holds.then_some((number, record, validator, expires))
        });
        match known {
            Some((number, record, validator, expires)) => Plan {
                chunk: record.chunk,
                size: record.size,
                version: Some((validator, record.tag)),
                record: Some(number),
                replaces: None,
                expires,
            },
            None => {
                let chunk = self.source.settings.chunks.choose(&self.name, facts.size);
                let version = facts.validator.clone();
                let version = version.map(|v| self.version(v, facts.size, chunk));
                Plan {
                    chunk,
                    size: facts.size,
                    version,
                    record: None,
                    replaces,
                    expires: None,
                }
            }
        }
    }

    /// When a version that was taken on at `since` is believed no more: only those expire that the remote cannot confirm.
    fn expiry(&self, validator: &Validator, since: Duration) -> Option<Duration> {
        let stamped = matches!(validator, Validator::Stamp(_));
        stamped.then(|| since.saturating_add(self.source.settings.unvalidated_ttl))
    }

    /// Whether the version is one that the remote cannot confirm and that was believed for long enough: whoever opens the
    /// object now is to be given the one that the remote has.
    pub fn has_expired(&self) -> bool {
        let expires = self.plan().and_then(|plan| plan.expires);
        expires.is_some_and(|end| self.cache().ground.clock.wall() >= end)
    }

    fn version(&self, validator: Validator, size: u64, chunk: ChunkSize) -> (Validator, Tag) {
        let tag = version_tag(self.cache().disk.uuid, self.key, &validator, size, chunk);
        (validator, tag)
    }

    /// Takes a plan on, and tells the cache which tag is in use now.
    fn adopt(&self, binding: &mut Binding, plan: Plan) {
        let before = binding.plan.as_ref().and_then(|plan| plan.tag());
        let after = plan.tag();
        binding.plan = Some(Arc::new(plan));
        if before != after {
            self.cache().versions.in_use(after, before);
        }
    }

    /// A fetch announces the version that its bytes belong to. Returns the plan to file them under. Errors with
    /// [`RemoteError::Changed`] where they belong to another version than the one that is expected.
    pub(crate) fn accept(
        &self,
        planned: &Plan,
        facts: &Facts,
        settled: bool,
    ) -> Result<Arc<Plan>, RemoteError> {
        let Some(validator) = &facts.validator else {
            return Err(RemoteError::Untrusted(
                "it does not name a version of the object".into(),
            ));
        };
        let changed = || Err(RemoteError::Changed(Box::new(facts.clone())));
        let _flight = self.flight.lock();
        let mut binding = self.binding.write();
        let Some(plan) = binding.plan.clone() else {
            return changed();
        };
        if plan.chunk != planned.chunk || plan.size != planned.size || facts.size != plan.size {
            return changed();
        }
        match plan.validator() {
            Some(known) if known != *validator => return changed(),
            // The facts named no version: what they do say must hold of this one.
            None if binding.facts.contradicted_by(facts) => return changed(),
            _ => {}
        }
        self.settled.store(settled, Ordering::Release);
        let mut plan = Plan::clone(&plan);
        if plan.version.is_none() {
            plan.version = Some(self.version(validator.clone(), plan.size, plan.chunk));
        }
        if plan.record.is_none() {
            plan.expires = self.expiry(validator, self.cache().ground.clock.wall());
        }
        if settled && plan.record.is_none() {
            plan.record = self.cache().blobs.put(self.record(&plan, facts));
            self.cache().bury_on();
            if plan.record.is_none() {
                self.load_record_table();
            }
            let replaced = plan
                .replaces
                .take()
                .filter(|dead| Some(dead.tag) != plan.tag());
            replaced
                .into_iter()
                .for_each(|dead| self.cache().versions.superseded(dead));
        }
        self.adopt(&mut binding, plan);
        Ok(binding
            .plan
            .clone()
            .expect("a plan was adopted in the line above"))
    }

    fn record(&self, plan: &Plan, facts: &Facts) -> BlobRecord {
        let (validator, tag) = plan
            .version
            .clone()
            .expect("a version is recorded once it is known");
        let ino = match &validator {
            Validator::Local { ino, .. } => *ino,
            _ => 0,
        };
        const S_IFREG: u32 = 0o100_000;
        debug_assert_eq!(
            facts.kind,
            FileKind::File,
            "only files have blob records yet"
        );
        BlobRecord {
            kind: BlobKind::File,
            chunk: plan.chunk,
            validator_class: validator.class() as u8,
            flags: 0,
            stamp: self.cache().disk.stamp(),
            key: self.key,
            tag,
            size: plan.size,
            ino,
            mtime: facts.mtime,
            ctime: facts.ctime,
            mode: S_IFREG | u32::from(facts.perm),
            uid: facts.uid,
            gid: facts.gid,
            nlink: 1,
            rdev: u64::from(facts.rdev),
            validated_at: self.cache().ground.clock.wall().as_secs(),
            heap_head: None,
            pack: None,
            name: self.name.as_bytes().into(),
            validator: encode_validator(&validator).into(),
            link: Box::default(),
        }
    }

    /// The remote has another version than was asked for. A blob that served nothing yet takes it on if stat(2) shows the
    /// same for both, and its readers begin again; any other is superseded.
    pub(crate) fn changed(self: &Arc<Self>, facts: &Facts) {
        let ops = {
            let mut flight = self.flight.lock();
            let same = facts.validator.is_some() && self.known_validator() == facts.validator;
            // One version has one size: where two answers disagree, whoever opens the name anew has to ask again.
            if same && facts.size == self.facts().size {
                // A fetch that was started for an older version tells what another one has told already.
                return;
            }
            flight.rebound += 1;
            let spent = flight.rebound > REBOUND_MAX;
            let was_shown = self.facts().shows_the_same_as(facts);
            if spent || !was_shown || self.is_bound() || self.is_superseded() {
                None
            } else {
                let mut binding = self.binding.write();
                let before = binding.plan.take().and_then(|plan| plan.tag());
                self.cache().versions.in_use(None, before);
                binding.facts = Arc::new(facts.clone());
                self.settled.store(false, Ordering::Release);
                Some(flight.restart())
            }
        };
        match ops {
            None => {
                // In the disk pool: whoever brings the news must not wait for the disk.
                let blob = Arc::clone(self);
                let disown: Job = Box::new(move || blob.disown());
                drop(self.cache().ground.executor.submit(Lane::Read, disown));
                self.supersede();
            }
            Some(ops) => {
                self.tell(BlobEvent::Rebound(Box::new(facts.clone())));
                ops.into_iter().for_each(|op| self.begin(op, None));
            }
        }
    }

    /// The remote has this version no more. Its record is no longer believed on the word of facts that name no version:
    /// whoever opens the object by those would be bound to what is cached of it, and could not read the rest either. Where
    /// another blob records the new version just now, this may undo it, and the new version is asked for once more. Waits
    /// for the disk.
    fn disown(&self) {
        let Some(plan) = self.plan() else { return };
        let Some(number) = plan.record else { return };
        let named = self.cache().blobs.tag_of(number).ok().flatten();
        if named.is_some() && named == plan.tag() {
            let record = self.record(&plan, &self.facts());
            self.cache().blobs.put(BlobRecord {
                validated_at: REFUTED.as_secs(),
                ..record
            });
        }
    }

    fn tell(&self, event: BlobEvent) {
        if let Some(watcher) = self.watcher.get() {
            watcher(event);
        }
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        let tag = self
            .binding
            .get_mut()
            .plan
            .as_ref()
            .and_then(|plan| plan.tag());
        self.source.cache.versions.in_use(None, tag);
    }
}
