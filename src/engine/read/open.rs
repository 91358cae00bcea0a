//! Opening an object: what its reader will get is settled before its first read.
//!
//! Between the moment when a program was shown a size and its first read the object may have changed. So an open waits for
//! the head of the first fetch, which has to be made anyway: a version that is not the one shown is found before the kernel
//! reads a page of it. What the cache has is not asked for again; and an open does not wait for long, because a program that
//! waits in it cannot be killed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::api::blob::Blob;
use crate::engine::api::source::Source;
use crate::engine::error::ReadError;
use crate::engine::flight::read_op::{Answers, ReadDone, ReadOp};
use crate::engine::index::slots::Lookup;
use crate::engine::read::head::{Head, first_bytes};
use crate::engine::read::planner::Reader;
use crate::engine::transfer::fetch::FetchJob;
use crate::remote::{RemoteError, Sink};
use crate::runtime::executor::{Job, Lane};
use crate::units::ObjectName;

/// How long an open waits for the remote. After that it succeeds: reads wait then, and a version that turns out to be
/// another one is an error of theirs.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a head that came with the answer to an earlier open is as good as an answer: the kernel repeats that open within
/// microseconds, and another one is to see what the remote has now.
const HEAD_LIFE: Duration = Duration::from_secs(1);

/// How an open ended.
#[derive(Debug)]
pub enum Opening {
    /// The cache has the first bytes of the version that was shown, or the remote was too slow to tell.
    Unasked,
    /// The remote was asked, and has the version that was shown. Its first bytes are for the reader of this open
    /// ([`Blob::reader_from`]): those of a version that is not settled are kept nowhere else.
    Fetched(Bytes),
    /// The remote has another version. Where its first bytes came along, they open it: see [`Source::blob_from`].
    Changed(Option<Head>),
    /// The object cannot be read.
    Failed(ReadError),
}

impl Source {
    /// The blob of the version whose first bytes these are; its open does not ask the remote.
    pub fn blob_from(self: &Arc<Self>, name: &ObjectName, head: Head) -> Arc<Blob> {
        let blob = self.blob(name, &head.facts);
        let now = self.cache.ground.clock.monotonic();
        *blob.heads.own.lock() = Some((head, now));
        blob
    }
}

impl Blob {
    /// Finds out whether the remote still has the version that was shown, if the cache does not have its first bytes: where
    /// nothing was served of it yet, where nothing is kept of it because it is not settled, and where a user has had it
    /// dropped. What else was served may have left the cache, and be in the kernel's. Calls `done` once, at once or later,
    /// on any thread.
    pub fn open(self: &Arc<Self>, done: impl FnOnce(Opening) + Send + 'static) {
        let cache = self.cache();
        let size = self.facts().size;
        let asks =
            !self.is_bound() || !self.is_settled() || self.heads.asks.load(Ordering::Acquire);
        if !asks || size == 0 || self.is_bound() && self.has_first() == Some(true) {
            return done(Opening::Unasked);
        }
        let blob = Arc::clone(self);
        let answered: ReadDone = Box::new(move |answer| done(blob.opening_of(answer)));
        let chunk = self.source.settings.chunks.choose(&self.name, size);
        let now = cache.ground.clock.monotonic();
        let op = ReadOp::new(first_bytes(size, chunk), size, now, answered);
        let op = Arc::new(op.of_an_open(PATIENCE));
        cache.deadlines.watch(self, &op);
        if !self.disk_answers() {
            return self.open_planned(op);
        }
        let (blob, waiting) = (Arc::clone(self), Arc::clone(&op));
        let look: Job = Box::new(move || blob.open_planned(waiting));
        // A pool that takes nothing more: the read has its own way of saying so.
        if cache.ground.executor.submit(Lane::Read, look).is_err() {
            self.begin(op, None);
        }
    }

    /// A reader for the open that has fetched the `first` bytes.
    pub fn reader_from(self: &Arc<Self>, first: Bytes) -> Reader {
        Reader::opened(Arc::clone(self), first)
    }

    fn opening_of(&self, answer: Result<Bytes, ReadError>) -> Opening {
        match answer {
            Ok(bytes) if bytes.is_empty() => Opening::Unasked,
            Ok(bytes) => {
                self.heads.asks.store(false, Ordering::Release);
                Opening::Fetched(bytes)
            }
            Err(ReadError::Stale) => Opening::Changed(self.heads.next.lock().take()),
            Err(ReadError::TimedOut) => Opening::Unasked,
            // What is cached of it stays readable.
            Err(ReadError::Remote(_)) if self.plan().is_some_and(|plan| plan.record.is_some()) => {
                Opening::Unasked
            }
            Err(error) => Opening::Failed(error),
        }
    }

    /// Waits for the disk, unless that does not answer.
    fn open_planned(self: &Arc<Self>, op: Arc<ReadOp>) {
        self.resolve();
        if let Some(plan) = self.plan().filter(|_| self.disk_answers()) {
            self.load_slots(&plan, first_bytes(plan.size, plan.chunk));
        }
        if self.has_first() == Some(true) {
            self.bind(&mut self.flight.lock());
            let mut answers = Answers::default();
            op.answer(Ok(Bytes::new()), &mut answers);
            return answers.give();
        }
        let now = self.cache().ground.clock.monotonic();
        let own = self.heads.own.lock().take();
        match own {
            Some((head, came)) if now.saturating_sub(came) < HEAD_LIFE => self.replay(head, op),
            _ => self.begin(op, None),
        }
    }

    /// Whether the cache has the first block of the version that the blob is planned for; `None` where that is not known
    /// without waiting for the disk.
    fn has_first(&self) -> Option<bool> {
        let tag = self.plan()?.tag()?;
        match self.cache().slots.find_now(tag, 0) {
            Lookup::Found(slot) => Some(slot.state.lock().present.has(0)),
            Lookup::Absent => Some(false),
            Lookup::Unloaded => None,
        }
    }

    /// Delivers a head that came with an earlier answer as if the remote had just sent it.
    fn replay(self: &Arc<Self>, head: Head, op: Arc<ReadOp>) {
        let Some(plan) = self.plan() else {
            return self.begin(op, None);
        };
        let wanted = op.expect(plan.size, plan.chunk);
        if !head.holds(wanted) {
            return self.begin(op, None);
        }
        let blocks = plan.chunk.blocks_of(wanted);
        let job = {
            let mut flight = self.flight.lock();
            if blocks.clone().any(|block| flight.has(block)) {
                // Another open was quicker.
                drop(flight);
                return self.begin(op, None);
            }
            let job = flight.new_job();
            blocks
                .clone()
                .for_each(|block| flight.depart(block, job, Some(&op)));
            job
        };
        let mut job = FetchJob::new(Arc::clone(self), plan, job, blocks);
        let told = job.version(&head.facts, head.settled);
        if told.is_ok() {
            job.data(head.bytes.slice(..whole(job.range().end)));
        }
        job.finish(told.map_err(|error| match error {
            // The record says otherwise: the remote is asked again.
            RemoteError::Changed(_) => RemoteError::Untrusted("an answer was out of date".into()),
            other => other,
        }));
    }
}

fn whole(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
