//! Opening an object: what its reader will get is settled before its first read.
//!
//! Between the moment when a program was shown a size and its first read the object may have changed. So an open waits
//! for the head of the first fetch, which has to be made anyway: a version that is not the one shown is found before
//! the kernel reads a page of it. What the cache has is not asked for again; and an open does not wait for long,
//! because a program that waits in it cannot be killed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::error::ReadError;
use crate::engine::flight::read_op::{Answers, ReadDone, ReadOp};
use crate::engine::read::reads::Reads;
use crate::engine::version::head::{Head, first_bytes};
use crate::engine::version::object::Object;
use crate::remote::{RemoteError, Sink};
use crate::runtime::executor::{Job, Lane};

/// How long an open waits for the remote. After that it succeeds: reads wait then, and a version that turns out to be
/// another one is an error of theirs.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a head that came with the answer to an earlier open is as good as an answer: the kernel repeats that open
/// within microseconds, and another one is to see what the remote has now.
const HEAD_LIFE: Duration = Duration::from_secs(1);

/// How an open ended.
#[derive(Debug)]
pub enum Opening {
    /// The cache has the first bytes of the version that was shown, or the remote was too slow to tell.
    Unasked,
    /// The remote was asked, and has the version that was shown. Its first bytes are for the reader of this open
    /// ([`crate::engine::Blob::reader_from`]): those of a version that is not settled are kept nowhere else.
    Fetched(Bytes),
    /// The remote has another version. Where its first bytes came along, they open it: see
    /// [`crate::engine::Source::blob_from`].
    Changed(Option<Head>),
    /// The object cannot be read.
    Failed(ReadError),
}

impl Reads {
    /// Finds out whether the remote still has the version that was shown, if the cache does not have its first bytes:
    /// where nothing was served of it yet, where nothing is kept of it because it is not settled, and where a user has
    /// had it dropped. What else was served may have left the cache, and be in the kernel's. Calls `done` once, at once
    /// or later, on any thread.
    pub(crate) fn open(
        self: &Arc<Self>,
        object: &Arc<Object>,
        done: impl FnOnce(Opening) + Send + 'static,
    ) {
        let size = object.facts().size;
        let asks =
            !object.is_bound() || !object.is_settled() || object.heads.asks.load(Ordering::Acquire);
        if !asks || size == 0 || object.is_bound() && self.has_first(object) == Some(true) {
            return done(Opening::Unasked);
        }
        let opened = Arc::clone(object);
        let answered: ReadDone = Box::new(move |answer| done(opening_of(&opened, answer)));
        let chunk = object.deps.settings.chunks.choose(&object.name, size);
        let now = self.services.now();
        let op = ReadOp::new(first_bytes(size, chunk), size, now, answered);
        let op = Arc::new(op.of_an_open(PATIENCE));
        self.deadlines
            .watch(object, &op, object.deps.settings.timeout);
        if !object.disk_answers() {
            return self.open_resolved(object, op);
        }
        let (reads, opened, waiting) = (Arc::clone(self), Arc::clone(object), Arc::clone(&op));
        let look: Job = Box::new(move || reads.open_resolved(&opened, waiting));
        // A pool that takes nothing more: the read has its own way of saying so.
        if self.services.submit(Lane::Read, look).is_err() {
            self.begin_read(object, op, None);
        }
    }

    /// Waits for the disk, unless that does not answer.
    fn open_resolved(self: &Arc<Self>, object: &Arc<Object>, op: Arc<ReadOp>) {
        object.resolve();
        if let Some(layout) = object.layout().filter(|_| object.disk_answers()) {
            self.load_slots(&layout, first_bytes(layout.size, layout.chunk));
        }
        if self.has_first(object) == Some(true) {
            object.bind(&mut object.flight.lock());
            let mut answers = Answers::default();
            op.answer(Ok(Bytes::new()), &mut answers);
            return answers.give();
        }
        let now = self.services.now();
        let own = object.heads.own.lock().take();
        match own {
            Some((head, came)) if now.saturating_sub(came) < HEAD_LIFE => {
                self.replay(object, head, op);
            }
            _ => self.begin_read(object, op, None),
        }
    }

    /// Delivers a head that came with an earlier answer as if the remote had just sent it.
    fn replay(self: &Arc<Self>, object: &Arc<Object>, head: Head, op: Arc<ReadOp>) {
        let Some(layout) = object.layout() else {
            return self.begin_read(object, op, None);
        };
        let wanted = op.expect(layout.size, layout.chunk);
        if !head.holds(wanted) {
            return self.begin_read(object, op, None);
        }
        let blocks = layout.chunk.blocks_of(wanted);
        let job = {
            let mut flight = object.flight.lock();
            if blocks.clone().any(|block| flight.has(block)) {
                // Another open was quicker.
                drop(flight);
                return self.begin_read(object, op, None);
            }
            let job = flight.new_job();
            blocks
                .clone()
                .for_each(|block| flight.depart(block, job, Some(&op)));
            job
        };
        let mut job = self.fetch(object, &layout, job, blocks);
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

/// How an open ended whose read got this answer.
fn opening_of(object: &Object, answer: Result<Bytes, ReadError>) -> Opening {
    match answer {
        Ok(bytes) if bytes.is_empty() => Opening::Unasked,
        Ok(bytes) => {
            object.heads.asks.store(false, Ordering::Release);
            Opening::Fetched(bytes)
        }
        Err(ReadError::Stale) => Opening::Changed(object.heads.next.lock().take()),
        Err(ReadError::TimedOut) => Opening::Unasked,
        // What is cached of it stays readable.
        Err(ReadError::Remote(_)) if object.layout().is_some_and(|l| l.record.is_some()) => {
            Opening::Unasked
        }
        Err(error) => Opening::Failed(error),
    }
}

fn whole(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
