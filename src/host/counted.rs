//! A remote with its questions counted: the engine counts its fetches, the rest is counted here.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::remote::{BoxFuture, Capacity, Pages, Remote, RemoteError, Sink};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

/// Passes everything on.
pub(super) struct Counted {
    inner: Arc<dyn Remote>,
    questions: AtomicU64,
}

impl Counted {
    /// Nothing asked so far.
    pub(super) fn new(inner: Arc<dyn Remote>) -> Self {
        Self {
            inner,
            questions: AtomicU64::new(0),
        }
    }

    /// How many questions were asked: facts of an object, listings, targets of links. Fetches of data are not among them.
    pub(super) fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }

    fn count(&self) -> &Arc<dyn Remote> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        &self.inner
    }
}

impl Remote for Counted {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    fn look(&self) -> BoxFuture<'_, Result<Vec<String>, RemoteError>> {
        self.inner.look()
    }

    fn principal(&self) -> String {
        self.inner.principal()
    }

    fn hide(&self, dirs: &[PathBuf]) {
        self.inner.hide(dirs);
    }

    fn lists_facts(&self) -> bool {
        self.inner.lists_facts()
    }

    fn lists_all(&self) -> bool {
        self.inner.lists_all()
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        self.count().stat(name)
    }

    fn list<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Box<dyn Pages>, RemoteError>> {
        self.count().list(name)
    }

    fn read_link<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Vec<u8>, RemoteError>> {
        self.count().read_link(name)
    }

    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        self.inner.fetch(name, range, bound, sink)
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Option<Capacity>, RemoteError>> {
        self.inner.capacity()
    }
}
