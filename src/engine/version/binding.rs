//! Binding an object to a version: by its blob record, by the first answer of the remote, or to a newer one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::engine::placement::layout::Layout;
use crate::engine::placement::stale_version::StaleVersion;
use crate::engine::version::object::{Binding, BlobEvent, Object};
use crate::engine::version::record::{REFUTED, expiry, layout_of, record_of};
use crate::format::{BlobRecord, version_tag};
use crate::remote::RemoteError;
use crate::runtime::executor::{Job, Lane};
use crate::storage::{DiskOp, IndexPart};
use crate::units::{ChunkSize, Facts, Tag, Validator};

/// An object whose version changes more often than this before the first byte is served is being written: its readers
/// get [`crate::engine::error::ReadError::Stale`] and may try again.
const REBOUND_MAX: u32 = 8;

impl Object {
    /// Looks at the blob record and lays the version out by it. Waits for the disk; where that fails, goes on without
    /// the record. Must not be called with the flight locked.
    pub(crate) fn resolve(&self) {
        if self.layout().is_some() {
            return;
        }
        let (facts, index) = (self.facts(), &self.deps.index);
        let found = index.records.get(self.key).unwrap_or_else(|error| {
            index
                .storage
                .report(DiskOp::ReadIndex(IndexPart::Blob), &error);
            None
        });
        let layout = self.layout_by(&facts, found);
        let _flight = self.flight.lock();
        let mut binding = self.binding.write();
        // The facts may have been replaced while the disk was read: then the next call goes by the new ones.
        if binding.layout.is_none() && Arc::ptr_eq(&binding.facts, &facts) {
            if layout.record.is_some() {
                self.settled.store(true, Ordering::Release);
            }
            self.adopt(&mut binding, layout);
        }
    }

    /// The layout for these facts: the record's own where it binds the key to the same version, otherwise a new one.
    fn layout_by(&self, facts: &Facts, found: Option<(u32, BlobRecord)>) -> Layout {
        let services = &self.deps.services;
        let (now, ttl) = (services.clock.wall(), self.deps.settings.unvalidated_ttl);
        let known = found
            .as_ref()
            .and_then(|(number, record)| layout_of(*number, record, facts, now, ttl));
        known.unwrap_or_else(|| {
            let chunk = self.deps.settings.chunks.choose(&self.name, facts.size);
            let version = facts.validator.clone();
            Layout {
                chunk,
                size: facts.size,
                version: version.map(|v| self.version(v, facts.size, chunk)),
                record: None,
                replaces: found
                    .map(|(_, record)| StaleVersion::new(record.tag, record.chunk, record.size)),
                expires: None,
            }
        })
    }

    fn expiry(&self, validator: &Validator) -> Option<Duration> {
        let now = self.deps.services.clock.wall();
        expiry(validator, now, self.deps.settings.unvalidated_ttl)
    }

    /// Whether the version is one that the remote cannot confirm and that was believed for long enough: an open is now
    /// to be given the one that the remote has.
    pub(crate) fn has_expired(&self) -> bool {
        let expires = self.layout().and_then(|layout| layout.expires);
        expires.is_some_and(|end| self.deps.services.clock.wall() >= end)
    }

    fn version(&self, validator: Validator, size: u64, chunk: ChunkSize) -> (Validator, Tag) {
        let uuid = self.deps.index.file.uuid;
        let tag = version_tag(uuid, self.key, &validator, size, chunk);
        (validator, tag)
    }

    /// Takes a layout on, and notes which tag is in use now.
    fn adopt(&self, binding: &mut Binding, layout: Layout) {
        let before = binding.layout.as_ref().and_then(|layout| layout.tag());
        let after = layout.tag();
        binding.layout = Some(Arc::new(layout));
        if before != after {
            self.deps.space.stale.in_use(after, before);
        }
    }

    /// A fetch announces the version that its bytes belong to. Returns the layout to file them under. Errors with
    /// [`RemoteError::Changed`] where they belong to another version than the one that is expected.
    pub(crate) fn accept(
        &self,
        expected: &Layout,
        facts: &Facts,
        settled: bool,
    ) -> Result<Arc<Layout>, RemoteError> {
        let Some(validator) = &facts.validator else {
            return Err(RemoteError::Untrusted(
                "it does not name a version of the object".into(),
            ));
        };
        let changed = || Err(RemoteError::Changed(Box::new(facts.clone())));
        let _flight = self.flight.lock();
        let mut binding = self.binding.write();
        let Some(layout) = binding.layout.clone() else {
            return changed();
        };
        let outdated = layout.chunk != expected.chunk || layout.size != expected.size;
        if outdated || facts.size != layout.size {
            return changed();
        }
        match layout.validator() {
            Some(known) if known != *validator => return changed(),
            // The facts named no version: what they do say must hold of this one.
            None if binding.facts.contradicted_by(facts) => return changed(),
            _ => {}
        }
        self.settled.store(settled, Ordering::Release);
        let mut layout = Layout::clone(&layout);
        if layout.version.is_none() {
            layout.version = Some(self.version(validator.clone(), layout.size, layout.chunk));
        }
        if layout.record.is_none() {
            layout.expires = self.expiry(validator);
            if settled {
                self.put_record(&mut layout, facts);
            }
        }
        self.adopt(&mut binding, layout);
        Ok(binding
            .layout
            .clone()
            .expect("a layout was adopted in the line above"))
    }

    /// Binds the key to the version, where the table of records has a place. The version that it was bound to before is
    /// stale then.
    fn put_record(&self, layout: &mut Layout, facts: &Facts) {
        let deps = &self.deps;
        layout.record = deps.index.records.put(self.record(layout, facts));
        deps.space.reclaim_on();
        if layout.record.is_none() {
            self.load_record_table();
        }
        let replaced = layout.replaces.take();
        if let Some(stale) = replaced.filter(|stale| Some(stale.tag) != layout.tag()) {
            deps.space.stale.superseded(stale);
        }
    }

    fn record(&self, layout: &Layout, facts: &Facts) -> BlobRecord {
        let (stamp, now) = (
            self.deps.index.file.stamp(),
            self.deps.services.clock.wall(),
        );
        record_of(self.key, &self.name, layout, facts, stamp, now)
    }

    /// The remote has another version than was asked for. An object that served nothing yet takes it on if stat(2)
    /// shows the same for both, and its readers begin again; any other is superseded.
    pub(crate) fn changed(self: &Arc<Self>, facts: &Facts) {
        let ops = {
            let mut flight = self.flight.lock();
            let same = facts.validator.is_some() && self.known_validator() == facts.validator;
            // One version has one size: where two answers disagree, the next open has to ask again.
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
                let before = binding.layout.take().and_then(|layout| layout.tag());
                self.deps.space.stale.in_use(None, before);
                binding.facts = Arc::new(facts.clone());
                self.settled.store(false, Ordering::Release);
                Some(flight.restart())
            }
        };
        match ops {
            None => {
                // In the disk pool: the thread that brings the news must not wait for the disk.
                let object = Arc::clone(self);
                let disown: Job = Box::new(move || object.disown());
                drop(self.deps.services.submit(Lane::Read, disown));
                self.supersede();
            }
            Some(ops) => {
                self.tell(BlobEvent::Rebound(Box::new(facts.clone())));
                ops.into_iter().for_each(|op| self.dispatch.begin(self, op));
            }
        }
    }

    /// The remote has this version no more. Its record is no longer believed on the word of facts that name no version:
    /// an open by those would be bound to what is cached of it, and could not read the rest either. Where
    /// another object records the new version just now, this may undo it, and the new version is asked for once more.
    /// Waits for the disk.
    fn disown(&self) {
        let Some(layout) = self.layout() else { return };
        let Some(number) = layout.record else { return };
        let records = &self.deps.index.records;
        let named = records.tag_of(number).ok().flatten();
        if named.is_some() && named == layout.tag() {
            records.put(BlobRecord {
                validated_at: REFUTED.as_secs(),
                ..self.record(&layout, &self.facts())
            });
        }
    }

    /// The table of records was not there when the object was looked up, since the disk did not answer: it is loaded
    /// now, so that the next fetch can record the version.
    fn load_record_table(&self) {
        let (index, key) = (Arc::clone(&self.deps.index), self.key);
        if index.records.is_loaded(key) || index.storage.bypasses_reads() {
            return;
        }
        let load: Job = Box::new(move || {
            if let Err(error) = index.records.load(key) {
                index
                    .storage
                    .report(DiskOp::ReadIndex(IndexPart::Segment), &error);
            }
        });
        drop(self.deps.services.submit(Lane::Read, load));
    }
}
