//! One read at the remote: its bytes are cut into blocks, wake their readers and go on to the disk.
//!
//! Where the remote has the object only as a whole, one fetch of a blob becomes its *stream*: it delivers every block
//! from the first to the last, whoever had it on its way, and readers of blocks ahead of it wait for it. Fetches that find
//! a stream hand it the blocks that are still ahead of it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::engine::api::blob::{Blob, Plan};
use crate::engine::error::ReadError;
use crate::engine::fill::fill;
use crate::engine::flight::blocks::{JobId, Landing, block_span};
use crate::engine::flight::read_op::{Answers, ReadOp, offset_in};
use crate::engine::read::head::{FIRST_READ, Receiving};
use crate::engine::transfer::fetch_budget::Budget;
use crate::remote::{RemoteError, Sink};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

/// What the engine starts fetches through.
pub trait Fetcher: Send + Sync + 'static {
    /// Starts one fetch and returns at once. The job is the sink of the bytes; when it is finished or dropped, its
    /// readers are answered.
    fn start(&self, job: FetchJob);
}

/// One ranged read that the engine wants from the remote. It is the sink of its bytes; when it is finished or dropped,
/// its readers are answered.
pub struct FetchJob {
    blob: Arc<Blob>,
    plan: Arc<Plan>,
    target: Target,
    range: ByteRange,
    /// The next byte that the remote delivers.
    at: u64,
    /// The bytes of a block that is not complete.
    partial: BytesMut,
    /// The version was announced and accepted.
    accepted: bool,
    /// The version is settled; bytes of one that is not are provisional.
    settled: bool,
    /// The bytes may be recorded.
    keep: bool,
    finished: bool,
    /// An object is being opened: whatever version is found is welcome.
    opens: bool,
    /// The bytes are those of another version than the one that was planned for.
    receiving: Option<Receiving>,
    whole: Option<Whole>,
    /// The remote was told that the rest is of no use. That cannot be taken back: who asks for it later begins again.
    told_enough: AtomicBool,
    /// When the remote was asked.
    asked: Duration,
    /// The bytes delivered so far, for whoever watches over the deadline.
    delivered: Arc<AtomicU64>,
    budget: Arc<Budget>,
}

/// How a fetch uses an answer that is the whole object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whole {
    /// As the blob's stream.
    Stream,
    /// For its own blocks alone: the rest goes by.
    Alone,
}

/// Who the bytes are for.
enum Target {
    /// Blocks that are on their way under this job's number.
    Blocks(JobId, Range<u64>),
    /// One read that waited too long for the cache disk: nothing is recorded.
    Hedge(Arc<ReadOp>),
}

impl FetchJob {
    pub(crate) fn new(blob: Arc<Blob>, plan: Arc<Plan>, job: JobId, blocks: Range<u64>) -> Self {
        let first = block_span(plan.chunk, plan.size, blocks.start);
        let last = block_span(plan.chunk, plan.size, blocks.end.saturating_sub(1));
        let range = ByteRange::new(first.start, last.end);
        Self::to(blob, plan, Target::Blocks(job, blocks), range)
    }

    /// A fetch for one read alone, past the cache.
    pub(crate) fn hedge(blob: Arc<Blob>, op: Arc<ReadOp>) -> Self {
        let facts = blob.facts();
        let plan = blob.plan().unwrap_or_else(|| {
            let chunk = blob.source.settings.chunks.choose(&blob.name, facts.size);
            Arc::new(Plan {
                chunk,
                size: facts.size,
                version: None,
                record: None,
                replaces: None,
                expires: None,
            })
        });
        // The blob may have gone over to a version that is longer than the one that the read was planned for.
        let range = op.within(plan.size);
        Self::to(blob, plan, Target::Hedge(op), range)
    }

    fn to(blob: Arc<Blob>, plan: Arc<Plan>, target: Target, range: ByteRange) -> Self {
        let budget = Arc::new(Budget::new(blob.cache(), range.len()));
        Self {
            blob,
            plan,
            target,
            range,
            at: range.start,
            partial: BytesMut::new(),
            accepted: false,
            settled: false,
            keep: false,
            finished: false,
            opens: false,
            receiving: None,
            whole: None,
            told_enough: AtomicBool::new(false),
            asked: Duration::ZERO,
            delivered: Arc::default(),
            budget,
        }
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Asks the remote.
    pub(crate) fn start(mut self) {
        let cache = self.blob.cache();
        cache.counters.remote_requests.add(1);
        self.asked = cache.ground.clock.monotonic();
        let fetcher = Arc::clone(&self.blob.source.fetcher);
        fetcher.start(self);
    }

    /// The object.
    pub fn name(&self) -> &ObjectName {
        &self.blob.name
    }

    /// The same fetch for an object that is being opened.
    pub(crate) fn opening(mut self) -> Self {
        self.opens = self.range.start == 0;
        self
    }

    /// The bytes wanted. Where no version is ([`FetchJob::bound`]), they may reach beyond the object's end: an object
    /// that is being opened may have grown.
    pub fn range(&self) -> ByteRange {
        match self.opens && self.range.end == self.plan.size && self.bound().is_none() {
            true => ByteRange::new(0, self.range.end.max(FIRST_READ)),
            false => self.range,
        }
    }

    /// How many bytes were delivered so far; goes on counting while the remote holds the job.
    pub fn delivered(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.delivered)
    }

    /// The version that the bytes must be of, where one is known. An object that is being opened may have another one
    /// than was shown, which its answer tells; only that of one without a validator does not.
    pub fn bound(&self) -> Option<Validator> {
        match (self.plan.validator(), &self.target) {
            (Some(known), _) if self.opens && !matches!(known, Validator::Stamp(_)) => None,
            (Some(known), _) => Some(known),
            (None, Target::Hedge(_)) => self.blob.facts().validator.clone(),
            (None, Target::Blocks(..)) => None,
        }
    }

    /// Ends the fetch; what was not delivered is an error for its readers.
    pub fn finish(mut self, result: Result<(), RemoteError>) {
        self.end(result);
    }

    /// Ends a fetch that is not to be started because nobody waits for it. Whoever has begun to wait since that was found
    /// gets another one.
    pub(crate) fn decline(mut self) {
        self.finished = true;
        let Target::Blocks(job, blocks) = &self.target else {
            return;
        };
        if !self.blob.flight.lock().drop_unwanted(blocks.clone(), *job) {
            let blocks: Vec<u64> = blocks.clone().collect();
            self.blob.fetch_instead(&self.plan, &blocks, *job);
        }
    }

    fn end(&mut self, result: Result<(), RemoteError>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let error = match result {
            Ok(()) if self.at == self.range.end => None,
            Ok(()) if self.told_enough.load(Ordering::Relaxed) => None,
            Ok(()) => Some(RemoteError::Untrusted(format!(
                "the answer ended at byte {} of {} without an error",
                self.at, self.range
            ))),
            Err(error) => Some(error),
        };
        let error = match self.receiving.take() {
            Some(receiving) => Some(self.found_another(receiving, error.is_none())),
            None => error,
        };
        if let Some(error) = &error {
            self.blob.cache().counters.remote_errors.add(1);
            // A blob that served nothing yet takes the new version on before its readers could be told that theirs is gone.
            if let RemoteError::Changed(facts) = error {
                self.blob.changed(facts);
            }
        }
        self.let_go(error.map(ReadError::from));
    }

    /// The fetch found another version than the one that was planned for. Its head is kept for the blob of that version
    /// where it is `complete`.
    fn found_another(&self, receiving: Receiving, complete: bool) -> RemoteError {
        let head = receiving.finish();
        let changed = RemoteError::Changed(Box::new(head.facts.clone()));
        if complete {
            *self.blob.heads.next.lock() = Some(head);
        }
        changed
    }

    /// Lets go of the blocks that did not land. Their readers get the error. Where there is none, somebody began to wait
    /// after the remote was told that nobody does: another fetch gets the blocks.
    fn let_go(&self, error: Option<ReadError>) {
        // The read of a hedge still waits for the disk: until the deadline it may be answered from there.
        let Target::Blocks(job, _) = &self.target else {
            return;
        };
        if error.is_none() && self.whole.is_none() {
            return;
        }
        let Some(error) = error else {
            let left = self.blob.flight.lock().end_stream(*job);
            return match left.is_empty() {
                true => {}
                false => self.blob.fetch_instead(&self.plan, &left, *job),
            };
        };
        let waiting = self.blob.flight.lock().abandon(*job);
        let mut answers = Answers::default();
        for op in waiting {
            op.answer(Err(error.clone()), &mut answers);
        }
        answers.give();
    }

    /// Whether anybody waits for it; if not, it may as well not be started.
    pub(crate) fn is_wanted(&self) -> bool {
        match &self.target {
            Target::Hedge(op) => op.is_waiting(),
            Target::Blocks(job, blocks) => self.blob.flight.lock().is_wanted(blocks.clone(), *job),
        }
    }

    /// Hands on whole blocks, which start at `start` in the blob.
    fn land(&self, start: u64, bytes: &Bytes) {
        let mut answers = Answers::default();
        let (Target::Blocks(job, _), plan) = (&self.target, &self.plan) else {
            return;
        };
        let range = ByteRange::at(start, bytes.len() as u64);
        let blocks = plan.chunk.blocks_of(range);
        let (mut landed, mut asked, mut missed) = (false, Vec::new(), 0);
        {
            let mut flight = self.blob.flight.lock();
            for block in blocks {
                let span = block_span(plan.chunk, plan.size, block);
                let part = bytes.slice(offset_in(range, span.start)..offset_in(range, span.end));
                if self.whole == Some(Whole::Stream) {
                    flight.take_over(block, *job);
                }
                let landing = flight.land((block, span), *job, &part, self.keep, &mut answers);
                landed |= landing != Landing::Unwanted;
                match landing {
                    Landing::Asked => {
                        asked.push(block);
                        missed += span.len();
                    }
                    // Its reader counts it.
                    Landing::Opened => asked.push(block),
                    Landing::Ahead | Landing::Unwanted => {}
                }
            }
            if landed {
                self.blob.bind(&mut flight);
                if !self.settled {
                    self.blob.note_provisional();
                }
            }
        }
        self.blob.cache().counters.miss_bytes.add(missed);
        // A reader who has his answer may close the cache: the fill is on its way before.
        if self.keep && landed {
            let budget = match self.whole {
                None => Arc::clone(&self.budget),
                Some(_) => Arc::new(Budget::charge(self.blob.cache(), range.len())),
            };
            fill::submit(&self.blob, plan, *job, (range, bytes), &asked, &budget);
        }
        answers.give();
    }

    fn land_hedge(&mut self, bytes: &Bytes) {
        let Target::Hedge(op) = &self.target else {
            return;
        };
        self.partial.extend_from_slice(bytes);
        if self.at == self.range.end {
            let mut answers = Answers::default();
            if !self.settled {
                self.blob.note_provisional();
            }
            if self.blob.bind_to(self.bound().as_ref()) {
                op.answer(Ok(self.partial.split().freeze()), &mut answers);
            }
            answers.give();
        }
    }
}

impl Sink for FetchJob {
    fn version(&mut self, facts: &Facts, settled: bool) -> Result<(), RemoteError> {
        let changed = || RemoteError::Changed(Box::new(facts.clone()));
        match &self.target {
            Target::Hedge(_) => {
                if self.bound() != facts.validator || facts.size != self.plan.size {
                    return Err(changed());
                }
            }
            Target::Blocks(..) => match self.blob.accept(&self.plan, facts, settled) {
                Ok(plan) => {
                    self.plan = plan;
                    self.keep = settled && self.plan.record.is_some();
                }
                Err(error) => {
                    let asked = self.range();
                    let shown = self.blob.facts().shows_the_same_as(facts);
                    let welcome = self.opens && (self.blob.is_bound() || !shown);
                    let head = welcome.then(|| Receiving::new(facts, settled, asked.end));
                    self.receiving = Some(head.flatten().ok_or(error)?);
                    self.range = asked.clip(ByteRange::new(0, facts.size));
                }
            },
        }
        if !self.accepted {
            let now = self.blob.cache().ground.clock.monotonic();
            self.blob
                .source
                .note_latency(now.saturating_sub(self.asked));
        }
        self.accepted = true;
        self.settled = settled;
        Ok(())
    }

    fn whole(&mut self) -> bool {
        debug_assert!(self.partial.is_empty(), "nothing was delivered yet");
        match &self.target {
            // What lies outside of the range goes by; see `data`.
            Target::Hedge(_) => self.whole = Some(Whole::Alone),
            Target::Blocks(..) if self.receiving.is_some() => self.whole = Some(Whole::Alone),
            Target::Blocks(job, blocks) => {
                let mut flight = self.blob.flight.lock();
                // A blob that has gone over to another version since this one was accepted wants nothing of it: its new
                // readers would take the stream for theirs.
                let current = self.blob.plan().and_then(|plan| plan.tag());
                let outdated = current != self.plan.tag();
                if outdated || flight.join_stream(blocks.clone(), *job) {
                    drop(flight);
                    self.range = ByteRange::at(self.at, 0);
                    return false;
                }
                // Bytes that are not kept are of use to this fetch's own readers only.
                let first = self.keep && flight.begin_stream(*job);
                let whole = if first { Whole::Stream } else { Whole::Alone };
                self.whole = Some(whole);
            }
        }
        self.at = 0;
        if self.whole == Some(Whole::Stream) {
            self.range = ByteRange::new(0, self.plan.size);
        }
        true
    }

    fn has_room(&self) -> bool {
        let piece = self.plan.chunk.block_size();
        self.blob.cache().gate.has_room_for_stream(piece)
    }

    fn is_enough(&self) -> bool {
        let enough = match (&self.target, self.whole) {
            (_, None) => false,
            (_, Some(Whole::Alone)) => self.at >= self.range.end,
            (Target::Hedge(_), _) => false,
            (Target::Blocks(job, _), Some(Whole::Stream)) => {
                let flight = self.blob.flight.lock();
                let cache = self.blob.cache();
                let unkept = !cache.backlog.takes_fills() || cache.watched.bypasses_writes();
                !flight.is_stream(*job) || unkept && !flight.has_waiting(*job)
            }
        };
        if enough {
            self.told_enough.store(true, Ordering::Relaxed);
        }
        enough
    }

    fn data(&mut self, mut bytes: Bytes) {
        debug_assert!(
            self.accepted,
            "the version is announced before the first bytes"
        );
        let arrived = bytes.len() as u64;
        self.delivered.fetch_add(arrived, Ordering::Relaxed);
        self.blob.cache().counters.remote_bytes.add(arrived);
        if self.at < self.range.start {
            let by = (self.range.start - self.at).min(arrived);
            self.at += by;
            drop(bytes.split_to(offset_in(ByteRange::new(0, by), by)));
        }
        let left = usize::try_from(self.range.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        bytes.truncate(left);
        if !self.accepted || bytes.is_empty() {
            return;
        }
        if let Some(receiving) = &mut self.receiving {
            self.at += bytes.len() as u64;
            return receiving.take(&bytes);
        }
        let mut start = self.at - self.partial.len() as u64;
        self.at += bytes.len() as u64;
        if matches!(self.target, Target::Hedge(_)) {
            return self.land_hedge(&bytes);
        }
        let (chunk, size) = (self.plan.chunk, self.plan.size);
        if !self.partial.is_empty() {
            let block = block_span(chunk, size, start / chunk.block_size());
            let need = offset_in(block, block.end) - self.partial.len();
            self.partial
                .extend_from_slice(&bytes.split_to(need.min(bytes.len())));
            if self.partial.len() < offset_in(block, block.end) {
                return;
            }
            let whole = self.partial.split().freeze();
            self.land(start, &whole);
            start = block.end;
        }
        let end = match self.at == self.range.end {
            true => self.at,
            false => self.at - self.at % chunk.block_size(),
        };
        if start < end {
            let whole = bytes.split_to(offset_in(ByteRange::new(start, end), end));
            self.land(start, &whole);
        }
        self.partial.extend_from_slice(&bytes);
    }
}

impl Drop for FetchJob {
    fn drop(&mut self) {
        self.end(Err(RemoteError::Unreachable(
            "the fetch was cancelled".into(),
        )));
    }
}
