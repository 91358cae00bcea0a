//! One ranged read at the remote: its bytes are cut into blocks, wake their readers and go on to the disk.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use super::blob::{Blob, Plan};
use super::flight::{JobId, block_span};
use super::op::{Answers, ReadOp, offset_in};
use super::{Cache, ReadError, fill};
use crate::remote::{RemoteError, Sink};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

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
    budget: Arc<Budget>,
}

/// Who the bytes are for.
enum Target {
    /// Blocks that are on their way under this job's number.
    Blocks(JobId, Range<u64>),
    /// One read that waited too long for the cache disk: nothing is recorded.
    Hedge(Arc<ReadOp>),
}

impl FetchJob {
    pub(super) fn new(blob: Arc<Blob>, plan: Arc<Plan>, job: JobId, blocks: Range<u64>) -> Self {
        let first = block_span(plan.chunk, plan.size, blocks.start);
        let last = block_span(plan.chunk, plan.size, blocks.end.saturating_sub(1));
        let range = ByteRange::new(first.start, last.end);
        Self::to(blob, plan, Target::Blocks(job, blocks), range)
    }

    /// A fetch for one read alone, past the cache.
    pub(super) fn hedge(blob: Arc<Blob>, op: Arc<ReadOp>) -> Self {
        let facts = blob.facts();
        let plan = blob.plan().unwrap_or_else(|| {
            let chunk = blob.source.chunks.choose(&blob.name, facts.size);
            Arc::new(Plan {
                chunk,
                size: facts.size,
                version: None,
                record: None,
            })
        });
        // The blob may have gone over to a version that is longer than the one that the read was planned for.
        let range = op.within(plan.size);
        Self::to(blob, plan, Target::Hedge(op), range)
    }

    fn to(blob: Arc<Blob>, plan: Arc<Plan>, target: Target, range: ByteRange) -> Self {
        let cache = Arc::clone(blob.cache());
        // The least charge bounds the number of fetches, and of what comes of them, as well as their bytes.
        let bytes = range.len().max(cache.config.fetch_budget / 4096);
        let budget = Arc::new(Budget {
            cache,
            bytes,
            counted: AtomicBool::new(false),
        });
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
            budget,
        }
    }

    /// The object.
    pub fn name(&self) -> &ObjectName {
        &self.blob.name
    }

    /// The bytes wanted.
    pub fn range(&self) -> ByteRange {
        self.range
    }

    /// The version that the bytes must be of, where one is known.
    pub fn bound(&self) -> Option<Validator> {
        match (self.plan.validator(), &self.target) {
            (Some(known), _) => Some(known),
            (None, Target::Hedge(_)) => self.blob.facts().validator.clone(),
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
        let result = match result {
            Ok(()) if self.at < self.range.end => Err(RemoteError::Untrusted(format!(
                "it ended at byte {} of {} without an error",
                self.at, self.range
            ))),
            other => other,
        };
        let Err(error) = result else { return };
        let cache = Arc::clone(self.blob.cache());
        cache.counters.remote_errors.add(1);
        // A blob that served nothing yet takes the new version on before its readers could be told that theirs is gone.
        if let RemoteError::Changed(facts) = &error {
            self.blob.changed(facts);
        }
        let mut answers = Answers::default();
        let error = ReadError::from(error);
        match &self.target {
            // The read still waits for the disk: until the deadline it may be answered from there.
            Target::Hedge(_) => {}
            Target::Blocks(job, blocks) => {
                let landed = self
                    .plan
                    .chunk
                    .blocks_of(ByteRange::new(self.range.start, self.at));
                let done =
                    (landed.end - landed.start).saturating_sub(u64::from(!self.partial.is_empty()));
                let rest = blocks.start + done..blocks.end;
                self.blob
                    .flight
                    .lock()
                    .leave(rest, *job, &error, &mut answers);
            }
        }
        answers.give();
    }

    /// Whether anybody waits for it; if not, it may as well not be started.
    fn is_wanted(&self) -> bool {
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
        let mut landed = false;
        {
            let mut flight = self.blob.flight.lock();
            for block in blocks {
                let span = block_span(plan.chunk, plan.size, block);
                let part = bytes.slice(offset_in(range, span.start)..offset_in(range, span.end));
                landed |= flight.land((block, span), *job, &part, self.keep, &mut answers);
            }
            if landed {
                self.blob.bind(&mut flight);
                if !self.settled {
                    self.blob.note_provisional();
                }
            }
        }
        self.blob.cache().counters.miss_bytes.add(range.len());
        // A reader who has his answer may close the cache: the fill is on its way before.
        if self.keep && landed {
            fill::submit(&self.blob, plan, *job, range, bytes, &self.budget);
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
            Target::Blocks(..) => {
                self.plan = self.blob.accept(&self.plan, facts, settled)?;
                self.keep = settled && self.plan.record.is_some();
            }
        }
        self.accepted = true;
        self.settled = settled;
        Ok(())
    }

    fn whole(&mut self) -> bool {
        true
    }

    fn data(&mut self, mut bytes: Bytes) {
        debug_assert!(
            self.accepted,
            "the version is announced before the first bytes"
        );
        let left = usize::try_from(self.range.end - self.at).unwrap_or(usize::MAX);
        bytes.truncate(left);
        if !self.accepted || bytes.is_empty() {
            return;
        }
        self.blob
            .cache()
            .counters
            .remote_bytes
            .add(bytes.len() as u64);
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
            "the fetch was given up".into(),
        )));
    }
}

/// The bytes of one fetch, counted from its start until the last of them is on disk or dropped.
pub(super) struct Budget {
    cache: Arc<Cache>,
    bytes: u64,
    counted: AtomicBool,
}

impl Drop for Budget {
    fn drop(&mut self) {
        if *self.counted.get_mut() {
            self.cache.gate.release(self.bytes);
        }
    }
}

/// Bounds the memory of fetches in flight: what does not fit waits, in order.
pub(super) struct Gate {
    limit: u64,
    state: Mutex<GateState>,
}

#[derive(Default)]
struct GateState {
    in_flight: u64,
    /// What of that may be held by a stuck disk: it does not count.
    forgiven: u64,
    waiting: VecDeque<FetchJob>,
}

impl Gate {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    /// Whether a fetch of so many bytes could start now; readahead does not wait for room.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let state = self.state.lock();
        state.waiting.is_empty() && state.in_flight - state.forgiven + bytes <= self.limit
    }

    /// Starts the fetch, or lets it wait for room. One fetch always has room.
    pub(super) fn admit(&self, job: FetchJob) {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() || !state.count(&job, self.limit) {
            return state.waiting.push_back(job);
        }
        drop(state);
        start(job);
    }

    /// Lets what is in flight not count any more, because it may not come back for long, and starts what waits for room.
    /// Counts all of it again where `forgive` is false.
    pub(super) fn forgive(&self, forgive: bool) {
        {
            let mut state = self.state.lock();
            state.forgiven = if forgive { state.in_flight } else { 0 };
        }
        self.release(0);
    }

    /// Whether so much is forgiven and still held that the disk must be given nothing more: one that takes a fill now and
    /// then must not pile up memory.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.state.lock().in_flight > self.limit.saturating_mul(2)
    }

    /// Gives room back and starts what waits for it. A fetch that nobody wants any more is dropped instead.
    fn release(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(bytes);
        state.forgiven = state.forgiven.min(state.in_flight);
        let (mut ready, mut unwanted) = (Vec::new(), Vec::new());
        while let Some(job) = state.waiting.pop_front() {
            if !job.is_wanted() {
                unwanted.push(job);
            } else if state.count(&job, self.limit) {
                ready.push(job);
            } else {
                state.waiting.push_front(job);
                break;
            }
        }
        drop(state);
        drop(unwanted);
        ready.into_iter().for_each(start);
    }
}

impl GateState {
    /// Counts the fetch in if it fits.
    fn count(&mut self, job: &FetchJob, limit: u64) -> bool {
        let bytes = job.budget.bytes;
        let counted = self.in_flight - self.forgiven;
        let fits = counted == 0 || counted + bytes <= limit;
        if fits {
            self.in_flight += bytes;
            job.budget.counted.store(true, Ordering::Relaxed);
        }
        fits
    }
}

fn start(job: FetchJob) {
    job.blob.cache().counters.remote_requests.add(1);
    let fetcher = Arc::clone(&job.blob.source.fetcher);
    fetcher.start(job);
}
