//! One remote as seen through the cache.

use std::sync::Arc;

use crate::engine::api::blob::Blob;
use crate::engine::api::cache::Cache;
use crate::engine::config::source::SourceSettings;
use crate::engine::read::reads::Reads;
use crate::engine::transfer::fetch::Fetcher;
use crate::engine::transfer::link::Link;
use crate::engine::version::head::Head;
use crate::engine::version::object::{Object, VersionDeps};
use crate::format::{blob_key, decode_validator};
use crate::storage::{DiskOp, IndexPart};
use crate::units::{BlobKey, Facts, ObjectName, Validator};

/// One remote as seen through the cache.
pub struct Source {
    cache: Arc<Cache>,
    versions: Arc<VersionDeps>,
    pub(super) reads: Arc<Reads>,
    identity: String,
    salt: String,
}

impl Source {
    /// Attaches a remote to the cache. `identity` and `salt` go into every key.
    pub fn new(
        cache: &Arc<Cache>,
        identity: &str,
        salt: &str,
        fetcher: Arc<dyn Fetcher>,
        settings: impl Into<SourceSettings>,
    ) -> Arc<Self> {
        let (services, index) = (&cache.services, &cache.index);
        let link = Link::new(
            Arc::clone(services),
            Arc::clone(&cache.budget),
            Arc::clone(&cache.fills),
        );
        let reads = Reads {
            services: Arc::clone(services),
            index: Arc::clone(index),
            proof: Arc::clone(&cache.proof),
            space: Arc::clone(&cache.space),
            deadlines: Arc::clone(&cache.deadlines),
            link: Arc::new(link),
            fetcher,
        };
        let versions = VersionDeps {
            services: Arc::clone(services),
            index: Arc::clone(index),
            space: Arc::clone(&cache.space),
            settings: settings.into(),
        };
        Arc::new(Self {
            cache: Arc::clone(cache),
            versions: Arc::new(versions),
            reads: Arc::new(reads),
            identity: identity.into(),
            salt: salt.into(),
        })
    }

    /// The blob of this name in the version that `facts` describe. It is bound to one version by the first byte that it
    /// serves, and then for ever. One live `Blob` per name and version: callers keep it (an inode does).
    pub fn blob(&self, name: &ObjectName, facts: &Facts) -> Arc<Blob> {
        let (cache, reads) = (Arc::clone(&self.cache), Arc::clone(&self.reads));
        Arc::new(Blob::new(cache, reads, self.object(name, facts)))
    }

    pub(super) fn object(&self, name: &ObjectName, facts: &Facts) -> Arc<Object> {
        let dispatch = Arc::new(Arc::clone(&self.reads));
        let versions = Arc::clone(&self.versions);
        Arc::new(Object::new(versions, dispatch, name, self.key(name), facts))
    }

    fn key(&self, name: &ObjectName) -> BlobKey {
        blob_key(self.cache.uuid(), &self.identity, &self.salt, name)
    }

    /// The size of the version `wanted` of the object of this name, if a blob record names that version. Waits for the
    /// disk.
    pub(super) fn recorded_size(&self, name: &ObjectName, wanted: &Validator) -> Option<u64> {
        let index = &self.versions.index;
        match index.records.get(self.key(name)) {
            Ok(found) => {
                let (_, record) = found?;
                let same = decode_validator(&record.validator).as_ref() == Some(wanted);
                same.then_some(record.size)
            }
            Err(error) => {
                let op = DiskOp::ReadIndex(IndexPart::Blob);
                index.storage.report(op, &error);
                None
            }
        }
    }

    /// The blob of the version whose first bytes these are; its open does not ask the remote.
    pub fn blob_from(&self, name: &ObjectName, head: Head) -> Arc<Blob> {
        let blob = self.blob(name, &head.facts);
        blob.keep_head(head);
        blob
    }

    /// The cache that the source reads through.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }
}
