//! Documents: small whole things (a listing, attributes) that are kept in ordinary chunks, and evicted like any data.
//! They come from the program and not from a remote; what the cache does not have is simply absent.

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::api::cache::Cache;
use crate::engine::api::source::Source;
use crate::engine::config::chunk_policy::ChunkPolicy;
use crate::engine::error::ReadError;
use crate::engine::transfer::fetch::{FetchJob, Fetcher};
use crate::remote::{RemoteError, Sink};
use crate::runtime::executor::{Job, Lane};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

/// What a document is; each kind has names of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DocumentKind {
    /// The listing of a directory.
    Listing,
    /// The attributes of an object.
    Attributes,
}

impl DocumentKind {
    fn namespace(self) -> &'static str {
        match self {
            Self::Listing => "document:listing",
            Self::Attributes => "document:attributes",
        }
    }
}

/// The documents of one kind that belong to one source.
pub struct Documents(Arc<Source>);

/// There is no remote behind documents.
struct Absent;

impl Fetcher for Absent {
    fn start(&self, job: FetchJob) {
        job.finish(Err(RemoteError::NotFound));
    }
}

impl Documents {
    /// The documents of this kind. `identity` and `salt` are those of the source that they belong to.
    pub fn new(cache: &Arc<Cache>, identity: &str, salt: &str, kind: DocumentKind) -> Self {
        let salt = format!("{}\0{salt}", kind.namespace());
        Self(Source::new(
            cache,
            identity,
            &salt,
            Arc::new(Absent),
            ChunkPolicy::Auto,
        ))
    }

    /// Puts the document of this name in its version `version`, in place of the version that was there. The bytes are
    /// on their way to the cache disk when this returns; where they find no room there, the document is absent. Waits
    /// for the disk.
    pub fn put(&self, name: &ObjectName, version: &[u8], bytes: Bytes) {
        let facts = Facts::file(bytes.len() as u64, Validator::Strong(version.into()));
        if bytes.is_empty() {
            return;
        }
        let object = self.0.object(name, &facts);
        object.resolve();
        let Some(mut job) = self.0.reads.fetch_all(&object) else {
            return;
        };
        let accepted = job.version(&facts, true);
        if accepted.is_ok() {
            job.data(bytes);
        }
        job.finish(accepted);
    }

    /// Calls `done` with the document of this name in its version `version`; `None` where the cache does not have all
    /// of it. At once or later, on any thread.
    pub fn get(
        &self,
        name: &ObjectName,
        version: &[u8],
        done: impl FnOnce(Option<Bytes>) + Send + 'static,
    ) {
        let (source, name) = (Arc::clone(&self.0), name.clone());
        let wanted = Validator::Strong(version.into());
        let look: Job = Box::new(move || match source.recorded_size(&name, &wanted) {
            None => done(None),
            Some(size) => {
                let blob = source.blob(&name, &Facts::file(size, wanted));
                let answer = move |answer: Result<Bytes, ReadError>| done(answer.ok());
                let all = ByteRange::at(0, size);
                blob.reader().read(all, Box::new(answer));
            }
        });
        // A pool that takes no more jobs is being shut down, and `done` is dropped with the job.
        drop(self.0.cache().services.submit(Lane::Read, look));
    }
}
