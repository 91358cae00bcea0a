//! One read at the remote: its bytes are cut into blocks, wake their readers and go on to the disk.
//!
//! Where the remote has the object only as a whole, one fetch of an object becomes its *stream*: it delivers every
//! block from the first to the last, whichever job had it on its way, and readers of blocks ahead of it wait for it.
//! Fetches that find a stream hand it the blocks that are still ahead of it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;

use crate::engine::error::ReadError;
use crate::engine::flight::blocks::{JobId, block_span};
use crate::engine::flight::fetch_budget::{Charge, Transfer};
use crate::engine::flight::read_op::{Answers, ReadOp};
use crate::engine::placement::layout::Layout;
use crate::engine::transfer::assembler::Assembler;
use crate::engine::transfer::link::Link;
use crate::engine::version::head::{FIRST_READ, Receiving};
use crate::engine::version::object::Object;
use crate::remote::RemoteError;
use crate::units::{ByteRange, ObjectName, Validator};

/// What the engine starts fetches through.
pub trait Fetcher: Send + Sync + 'static {
    /// Starts one fetch and returns at once. The job is the sink of the bytes; when it is finished or dropped, its
    /// readers are answered.
    fn start(&self, job: FetchJob);
}

/// One ranged read that the engine wants from the remote. It is the sink of its bytes; when it is finished or dropped,
/// its readers are answered.
pub struct FetchJob {
    pub(super) object: Arc<Object>,
    pub(super) link: Arc<Link>,
    fetcher: Arc<dyn Fetcher>,
    pub(super) layout: Arc<Layout>,
    pub(super) target: Target,
    pub(super) assembler: Assembler,
    /// The version that the bytes are of, once it was announced.
    pub(super) announced: Option<Announced>,
    finished: bool,
    /// An object is being opened: whatever version is found is welcome.
    pub(super) opens: bool,
    /// The bytes are those of another version than the one that was asked for.
    pub(super) receiving: Option<Receiving>,
    pub(super) whole: Option<Whole>,
    /// The remote was told that the rest is of no use. That cannot be taken back: a read that asks for it later begins
    /// again.
    pub(super) told_enough: AtomicBool,
    /// When the remote was asked.
    pub(super) asked: Duration,
    /// The bytes delivered so far, for the watch over the deadline.
    pub(super) delivered: Arc<AtomicU64>,
    pub(super) charge: Arc<Charge>,
}

/// What was announced of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Announced {
    /// It is settled; bytes of one that is not are provisional.
    pub(super) settled: bool,
    /// Its bytes may be recorded.
    pub(super) keep: bool,
}

/// How a fetch uses an answer that is the whole object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whole {
    /// As the object's stream.
    Stream,
    /// For its own blocks alone: the rest goes by.
    Alone,
}

/// Who the bytes are for.
pub(super) enum Target {
    /// Blocks that are on their way under this job's number.
    Blocks(JobId, Range<u64>),
    /// One read that waited too long for the cache disk: nothing is recorded. With the bytes that have come.
    Hedge(Arc<ReadOp>, BytesMut),
}

impl FetchJob {
    /// A fetch of adjacent blocks, which are on their way under the number `job`.
    pub(crate) fn new(
        object: Arc<Object>,
        layout: Arc<Layout>,
        (link, fetcher): (&Arc<Link>, &Arc<dyn Fetcher>),
        job: JobId,
        blocks: Range<u64>,
    ) -> Self {
        let first = block_span(layout.chunk, layout.size, blocks.start);
        let last = block_span(layout.chunk, layout.size, blocks.end.saturating_sub(1));
        let range = ByteRange::new(first.start, last.end);
        let target = Target::Blocks(job, blocks);
        Self::to(object, layout, (link, fetcher), target, range)
    }

    /// A fetch for one read alone, past the cache.
    pub(crate) fn hedge(
        object: Arc<Object>,
        link: (&Arc<Link>, &Arc<dyn Fetcher>),
        op: Arc<ReadOp>,
    ) -> Self {
        let facts = object.facts();
        let layout = object.layout().unwrap_or_else(|| {
            let chunk = object.deps.settings.chunks.choose(&object.name, facts.size);
            Arc::new(Layout {
                chunk,
                size: facts.size,
                version: None,
                record: None,
                replaces: None,
                expires: None,
            })
        });
        // The object may have gone over to a version that is longer than the one that the read was begun for.
        let range = op.within(layout.size);
        Self::to(
            object,
            layout,
            link,
            Target::Hedge(op, BytesMut::new()),
            range,
        )
    }

    fn to(
        object: Arc<Object>,
        layout: Arc<Layout>,
        (link, fetcher): (&Arc<Link>, &Arc<dyn Fetcher>),
        target: Target,
        range: ByteRange,
    ) -> Self {
        Self {
            assembler: Assembler::new(layout.chunk, layout.size, range),
            charge: Arc::new(Charge::new(&link.budget, range.len())),
            link: Arc::clone(link),
            fetcher: Arc::clone(fetcher),
            object,
            layout,
            target,
            announced: None,
            finished: false,
            opens: false,
            receiving: None,
            whole: None,
            told_enough: AtomicBool::new(false),
            asked: Duration::ZERO,
            delivered: Arc::default(),
        }
    }

    /// The object.
    pub fn name(&self) -> &ObjectName {
        &self.object.name
    }

    /// The same fetch for an object that is being opened.
    pub(crate) fn opening(mut self) -> Self {
        self.opens = self.assembler.range().start == 0;
        self
    }

    /// The bytes wanted. Where no version is ([`FetchJob::bound`]), they may reach beyond the object's end: an object
    /// that is being opened may have grown.
    pub fn range(&self) -> ByteRange {
        let range = self.assembler.range();
        if self.opens && range.end == self.layout.size && self.bound().is_none() {
            ByteRange::new(0, range.end.max(FIRST_READ))
        } else {
            range
        }
    }

    /// How many bytes were delivered so far; goes on counting while the remote holds the job.
    pub fn delivered(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.delivered)
    }

    /// The version that the bytes must be of, where one is known. An object that is being opened may have another one
    /// than was shown, which its answer tells; only that of one without a validator does not.
    pub fn bound(&self) -> Option<Validator> {
        match (self.layout.validator(), &self.target) {
            (Some(known), _) if self.opens && !matches!(known, Validator::Stamp(_)) => None,
            (Some(known), _) => Some(known),
            (None, Target::Hedge(..)) => self.object.facts().validator.clone(),
            (None, Target::Blocks(..)) => None,
        }
    }

    /// Ends the fetch; what was not delivered is an error for its readers.
    pub fn finish(mut self, result: Result<(), RemoteError>) {
        self.end(result);
    }

    fn end(&mut self, result: Result<(), RemoteError>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let error = match result {
            Ok(()) if self.assembler.at() == self.assembler.range().end => None,
            Ok(()) if self.told_enough.load(Ordering::Relaxed) => None,
            Ok(()) => Some(RemoteError::Untrusted(format!(
                "the answer ended at byte {} of {} without an error",
                self.assembler.at(),
                self.assembler.range()
            ))),
            Err(error) => Some(error),
        };
        let error = match self.receiving.take() {
            Some(receiving) => Some(self.found_another(receiving, error.is_none())),
            None => error,
        };
        if let Some(error) = &error {
            self.link.services.counters.remote_errors.add(1);
            // An object that served nothing yet takes the new version on before its readers could be told that theirs
            // is gone.
            if let RemoteError::Changed(facts) = error {
                self.object.changed(facts);
            }
        }
        self.let_go(error.map(ReadError::from));
    }

    /// The fetch found another version than the one that was asked for. Its head is kept for the object of that version
    /// where it is `complete`.
    fn found_another(&self, receiving: Receiving, complete: bool) -> RemoteError {
        let head = receiving.finish();
        let changed = RemoteError::Changed(Box::new(head.facts.clone()));
        if complete {
            *self.object.heads.next.lock() = Some(head);
        }
        changed
    }

    /// Lets go of the blocks that did not land. Their readers get the error. Where there is none, a read began to wait
    /// after the remote was told that none does: another fetch gets the blocks.
    fn let_go(&self, error: Option<ReadError>) {
        // The read of a hedge still waits for the disk: until the deadline it may be answered from there.
        let Target::Blocks(job, _) = &self.target else {
            return;
        };
        if error.is_none() && self.whole.is_none() {
            return;
        }
        let Some(error) = error else {
            let left = self.object.flight.lock().end_stream(*job);
            if !left.is_empty() {
                self.fetch_instead(&left, *job);
            }
            return;
        };
        let waiting = self.object.flight.lock().abandon(*job);
        let mut answers = Answers::default();
        for op in waiting {
            op.answer(Err(error.clone()), &mut answers);
        }
        answers.give();
    }

    fn fetch_instead(&self, blocks: &[u64], from: JobId) {
        let dispatch = &self.object.dispatch;
        dispatch.fetch_instead(&self.object, &self.layout, blocks, from);
    }
}

impl Transfer for FetchJob {
    fn charge(&self) -> &Charge {
        &self.charge
    }

    fn is_wanted(&self) -> bool {
        match &self.target {
            Target::Hedge(op, _) => op.is_waiting(),
            Target::Blocks(job, blocks) => {
                let flight = self.object.flight.lock();
                flight.is_wanted(blocks.clone(), *job)
            }
        }
    }

    fn start(mut self: Box<Self>) {
        let services = &self.link.services;
        services.counters.remote_requests.add(1);
        self.asked = services.now();
        let fetcher = Arc::clone(&self.fetcher);
        fetcher.start(*self);
    }

    fn decline(mut self: Box<Self>) {
        self.finished = true;
        let Target::Blocks(job, blocks) = &self.target else {
            return;
        };
        let dropped = {
            let mut flight = self.object.flight.lock();
            flight.drop_unwanted(blocks.clone(), *job)
        };
        if !dropped {
            let blocks: Vec<u64> = blocks.clone().collect();
            self.fetch_instead(&blocks, *job);
        }
    }
}

impl Drop for FetchJob {
    fn drop(&mut self) {
        self.end(Err(RemoteError::Unreachable(
            "the fetch was cancelled".into(),
        )));
    }
}
