//! The way of a read: inline from memory, or block by block from whoever has it.

use std::ops::Range;
use std::sync::{Arc, mpsc};

use bytes::Bytes;

use crate::engine::api::blob::{Blob, Plan};
use crate::engine::error::ReadError;
use crate::engine::flight::blocks::{Flight, JobId, block_span};
use crate::engine::flight::read_op::{Answers, ReadDone, ReadOp, offset_in};
use crate::engine::index::saved_priority::Standing;
use crate::engine::index::slot::Slot;
use crate::engine::index::slots::Lookup;
use crate::engine::proof::verify;
use crate::engine::read::head::First;
use crate::engine::read::readahead::Readahead;
use crate::engine::transfer::fetch::FetchJob;
use crate::runtime::executor::{Job, Lane};
use crate::runtime::locks::Mutex;
use crate::units::{BlockMask, ByteRange};

/// Whether what the index says in memory is all there is to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Index {
    /// A segment that is not loaded must be loaded first.
    Trusted,
    /// The disk did not answer: what is not in memory counts as absent.
    Silent,
}

/// One open handle on a blob.
pub struct Reader {
    blob: Arc<Blob>,
    ahead: Mutex<Readahead>,
    /// The first bytes, as the open has fetched them.
    first: First,
}

impl Reader {
    pub(crate) fn new(blob: Arc<Blob>) -> Self {
        Self {
            blob,
            ahead: Mutex::default(),
            first: First::default(),
        }
    }

    /// A reader whose open fetched `first`.
    pub(crate) fn opened(blob: Arc<Blob>, first: Bytes) -> Self {
        let mut reader = Self::new(blob);
        let fetched = ByteRange::at(0, first.len() as u64);
        if !fetched.is_empty() {
            // Whoever reads on from there is a sequential reader.
            reader.note(fetched, reader.blob.facts().size);
            reader.first = First::hold(&reader.blob, first);
        }
        reader
    }

    /// The blob that is read.
    pub fn blob(&self) -> &Arc<Blob> {
        &self.blob
    }

    /// Fills the front of `buf` with the bytes from `offset` if that can be done without waiting: they are cached and in
    /// memory, and their checksums hold. Returns how many (fewer than `buf` holds only at the blob's end), or `None`:
    /// then call [`Reader::read`].
    pub fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<usize> {
        // A blob that served nothing yet is bound with its flight locked, which is not for the fast way.
        if !self.blob.is_bound() {
            return None;
        }
        let plan = self.blob.plan()?;
        let range = ByteRange::at(offset, buf.len() as u64).clip(ByteRange::new(0, plan.size));
        let buf = buf.get_mut(..offset_in(range, range.end))?;
        let counters = &self.blob.cache().counters;
        match self.first.take(range, &self.blob) {
            Some(first) => {
                buf.copy_from_slice(&first);
                counters.miss_bytes.add(range.len());
            }
            None => {
                self.blob.copy_now(&plan, range, buf)?;
                counters.hit_bytes.add(range.len());
            }
        }
        counters.reads_inline.add(1);
        if let Some(ahead) = self.note(range, plan.size) {
            self.blob.get(None, Some(ahead), Index::Trusted);
        }
        Some(buf.len())
    }

    /// Reads `range` and calls `done`, at once or later, on any thread, within the deadline.
    pub fn read(&self, range: ByteRange, done: ReadDone) {
        let cache = self.blob.cache();
        let size = self.blob.facts().size;
        let inside = range.clip(ByteRange::new(0, size));
        if inside.is_empty() {
            return done(Ok(Bytes::new()));
        }
        if let Some(first) = self.first.take(inside, &self.blob) {
            cache.counters.miss_bytes.add(inside.len());
            return done(Ok(first));
        }
        cache.counters.reads_waited.add(1);
        let op = Arc::new(ReadOp::new(
            range,
            size,
            cache.ground.clock.monotonic(),
            done,
        ));
        cache.deadlines.watch(&self.blob, &op);
        let ahead = self.note(inside, size);
        self.blob.begin(op, ahead);
    }

    fn note(&self, range: ByteRange, size: u64) -> Option<ByteRange> {
        let most = self.blob.source.reach();
        self.ahead.lock().note(range, size, most)
    }
}

/// What is decided with the flight locked and done when it no longer is.
#[derive(Default)]
struct Work {
    answers: Answers,
    checks: Vec<(Arc<Slot>, BlockMask, JobId)>,
    fetches: Vec<FetchJob>,
    /// Bytes to be read ahead whose segments of the index must be loaded first.
    load: Option<(Arc<Plan>, ByteRange)>,
}

impl Blob {
    /// Gets the blocks of a read, and those of `ahead` that are missing: joins what is on its way, checks what is
    /// present, fetches the rest.
    pub(crate) fn get(
        self: &Arc<Self>,
        op: Option<Arc<ReadOp>>,
        ahead: Option<ByteRange>,
        index: Index,
    ) {
        let mut work = Work::default();
        // A disk that does not answer is not asked what of the index is not in memory.
        let index = match self.disk_answers() {
            true => index,
            false => Index::Silent,
        };
        // Asked before the flight is locked: the gate locks flights while it looks for those who still wait.
        let ahead = ahead.filter(|ahead| self.may_read_ahead(*ahead));
        {
            let mut flight = self.flight.lock();
            match (self.plan(), op) {
                (Some(plan), Some(op)) => self.get_for(&mut flight, &plan, op, index, &mut work),
                (None, Some(op)) => self.park(&mut flight, op, &mut work.answers),
                (_, None) => {}
            }
            if let (Some(plan), Some(ahead)) = (self.plan(), ahead)
                && !self.is_superseded()
            {
                let (blocks, unloaded) = self.missing_ahead(&flight, &plan, ahead);
                self.depart(&mut flight, &plan, &blocks, None, &mut work);
                work.load = unloaded.then_some((plan, ahead));
            }
        }
        self.carry_out(work);
    }

    /// Whether the cache disk is asked for what is not in memory. Where the remote has the version no more, it always is.
    pub(crate) fn disk_answers(&self) -> bool {
        self.is_superseded() || !self.cache().watched.bypasses_reads()
    }

    /// Loads the segments that hold the slots of `range`. Waits for the disk.
    pub(crate) fn load_slots(&self, plan: &Plan, range: ByteRange) -> Index {
        let Some(tag) = plan.tag() else {
            return Index::Trusted;
        };
        let (first, last) = (
            range.start / plan.chunk.bytes(),
            range.end / plan.chunk.bytes(),
        );
        for chunk_no in first..=last {
            if let Err(error) = self.cache().slots.load_for(tag, chunk_no) {
                self.cache()
                    .disk_failed("loading a segment of the index", &error);
                return Index::Silent;
            }
        }
        Index::Trusted
    }

    fn get_for(
        self: &Arc<Self>,
        flight: &mut Flight,
        plan: &Arc<Plan>,
        op: Arc<ReadOp>,
        index: Index,
        work: &mut Work,
    ) {
        let range = op.expect(plan.size, plan.chunk);
        let blocks = plan.chunk.blocks_of(range);
        if range.is_empty() {
            // The version that the blob was bound to at last ends before the read begins.
            return op.answer(Ok(Bytes::new()), &mut work.answers);
        }
        let Some(found) = self.look_up(flight, plan, blocks.clone(), index) else {
            return self.park(flight, op, &mut work.answers);
        };
        if !found.missing.is_empty() && self.is_superseded() {
            self.release(&found.present);
            return op.answer(Err(ReadError::Stale), &mut work.answers);
        }
        // A block that is not on its way is joined by nobody, and departs below.
        for block in blocks {
            flight.join(
                block,
                block_span(plan.chunk, plan.size, block),
                &op,
                &mut work.answers,
            );
        }
        for (slot, mask) in found.present {
            let job = flight.new_job();
            let base = slot.chunk_no * plan.chunk.blocks_per_chunk();
            mask.iter()
                .for_each(|n| flight.depart_from_disk(base + u64::from(n), job, &op));
            op.waits_for_disk();
            work.checks.push((slot, mask, job));
        }
        self.depart(flight, plan, &found.missing, Some(&op), work);
    }

    /// Sorts the blocks that are not on their way into those that a slot holds (and claims their check) and those that
    /// nobody has. `None` where a segment must be loaded first.
    fn look_up(
        &self,
        flight: &Flight,
        plan: &Plan,
        blocks: Range<u64>,
        index: Index,
    ) -> Option<Found> {
        let mut found = Found::default();
        let mut chunk: Option<(u64, Option<Arc<Slot>>)> = None;
        let disk_answers = self.disk_answers();
        for block in blocks.filter(|block| !flight.is_awaited(*block, disk_answers)) {
            let (chunk_no, n) = plan.chunk.locate(block);
            if chunk.as_ref().is_none_or(|(no, _)| *no != chunk_no) {
                let lookup = plan
                    .tag()
                    .map(|tag| self.cache().slots.find_now(tag, chunk_no));
                let slot = match lookup {
                    Some(Lookup::Found(slot)) => Some(slot),
                    Some(Lookup::Unloaded) if index == Index::Trusted => {
                        self.release(&found.present);
                        return None;
                    }
                    _ => None,
                };
                chunk = Some((chunk_no, slot));
            }
            let slot = chunk.as_ref().and_then(|(_, slot)| slot.as_ref());
            let claims = |slot: &&Arc<Slot>| claim_check(slot, n, &self.cache().standing);
            match slot.filter(|slot| disk_answers && claims(slot)) {
                None => found.missing.push(block),
                Some(slot) => match found.present.last_mut() {
                    Some((last, mask)) if Arc::ptr_eq(last, slot) => {
                        *mask = mask.with(BlockMask::one(n))
                    }
                    _ => found.present.push((Arc::clone(slot), BlockMask::one(n))),
                },
            }
        }
        Some(found)
    }

    /// Gives claims back.
    fn release(&self, present: &[(Arc<Slot>, BlockMask)]) {
        for (slot, mask) in present {
            let place = slot.state.lock().end_checks(*mask);
            self.cache().hand_on(slot, place);
        }
    }

    /// Whether bytes that nobody waits for yet are worth a fetch: there is room for them in flight, and they would be kept
    /// in the cache. Bytes that are not kept would be fetched a second time when they are asked for.
    fn may_read_ahead(&self, ahead: ByteRange) -> bool {
        let cache = self.cache();
        let kept = cache.backlog.takes_fills() && !cache.watched.bypasses_writes();
        self.is_settled() && kept && cache.gate.has_room(ahead.len())
    }

    /// The blocks of `ahead` that are neither on their way nor in a slot, and whether some lie where no index is loaded.
    fn missing_ahead(&self, flight: &Flight, plan: &Plan, ahead: ByteRange) -> (Vec<u64>, bool) {
        let Some(tag) = plan.tag() else {
            return (Vec::new(), false);
        };
        let mut unloaded = false;
        let absent = |block: &u64| {
            let (chunk_no, n) = plan.chunk.locate(*block);
            !flight.has(*block)
                && match self.cache().slots.find_now(tag, chunk_no) {
                    Lookup::Absent => true,
                    Lookup::Unloaded => {
                        unloaded = true;
                        false
                    }
                    Lookup::Found(slot) => !slot.state.lock().present.has(n),
                }
        };
        let ahead = ahead.clip(ByteRange::new(0, plan.size));
        let missing = plan.chunk.blocks_of(ahead).filter(absent).collect();
        (missing, unloaded)
    }

    /// Loads what of the index `ahead` needs, in the disk pool, and then reads it ahead. Nothing of that happens where the
    /// pool is busy or the disk does not answer.
    fn load_ahead(self: &Arc<Self>, plan: Arc<Plan>, ahead: ByteRange) {
        let blob = Arc::clone(self);
        let load: Job = Box::new(move || {
            if blob.load_slots(&plan, ahead) == Index::Trusted {
                blob.get(None, Some(ahead), Index::Trusted);
            }
        });
        drop(self.cache().ground.executor.submit(Lane::Read, load));
    }

    /// Puts missing blocks on their way: with the blob's stream where they are ahead of it, otherwise adjacent ones in one
    /// request, up to the largest that is allowed.
    fn depart(
        self: &Arc<Self>,
        flight: &mut Flight,
        plan: &Arc<Plan>,
        blocks: &[u64],
        op: Option<&Arc<ReadOp>>,
        work: &mut Work,
    ) {
        let most = (self.cache().config.request_max / plan.chunk.block_size()).max(1);
        let streamed = |block: &&u64| flight.stream_to(**block).is_some();
        let (coming, asked): (Vec<u64>, Vec<u64>) = blocks.iter().partition(streamed);
        for block in coming {
            if let Some(stream) = flight.stream_to(block) {
                flight.depart(block, stream, op);
            }
        }
        for run in runs(&asked, most) {
            let job = flight.new_job();
            run.clone().for_each(|block| flight.depart(block, job, op));
            let fetch = FetchJob::new(Arc::clone(self), Arc::clone(plan), job, run);
            work.fetches.push(match op {
                Some(op) if op.opens_within.is_some() => fetch.opening(),
                _ => fetch,
            });
        }
    }

    fn carry_out(self: &Arc<Self>, work: Work) {
        work.answers.give();
        for (slot, mask, job) in work.checks {
            verify::submit(self, slot, mask, job);
        }
        for job in work.fetches {
            self.cache().gate.admit(job);
        }
        if let Some((plan, ahead)) = work.load {
            self.load_ahead(plan, ahead);
        }
    }

    /// Fetches what a failed check left behind: the blocks keep their waiters.
    pub(crate) fn fetch_instead(self: &Arc<Self>, plan: &Arc<Plan>, blocks: &[u64], from: JobId) {
        let mut work = Work::default();
        {
            let mut flight = self.flight.lock();
            let most = (self.cache().config.request_max / plan.chunk.block_size()).max(1);
            for run in runs(blocks, most) {
                if self.is_superseded() {
                    flight.leave(run, from, &ReadError::Stale, &mut work.answers);
                    continue;
                }
                let job = flight.new_job();
                if run
                    .clone()
                    .filter(|block| flight.hand_over(*block, from, job))
                    .count()
                    > 0
                {
                    work.fetches
                        .push(FetchJob::new(Arc::clone(self), Arc::clone(plan), job, run));
                }
            }
        }
        self.carry_out(work);
    }
}

/// What a look at the slots found.
#[derive(Default)]
struct Found {
    present: Vec<(Arc<Slot>, BlockMask)>,
    missing: Vec<u64>,
}

impl Reader {
    /// Reads `range` and waits for the bytes, at most until the deadline; they are fewer than asked only at the blob's
    /// end. Not to be called on a thread of an asynchronous runtime.
    pub fn read_blocking(&self, range: ByteRange) -> Result<Bytes, ReadError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let done = move |result| {
            // The caller waits for the answer below.
            let _ = answer.send(result);
        };
        self.read(range, Box::new(done));
        answered.recv().unwrap_or(Err(ReadError::Closed))
    }
}

/// Claims the check of a present block for the caller; false where it is absent or somebody else checks it already.
fn claim_check(slot: &Slot, n: u32, standing: &Standing) -> bool {
    let state = &mut *slot.state.lock();
    let free = !state.retired && state.present.has(n) && !state.checking.has(n);
    if free {
        // What is read from disk is unchecked until the check is done.
        state.checking = state.checking.with(BlockMask::one(n));
        state.doubt();
        slot.note_read(state, BlockMask::one(n), standing);
    }
    free
}

/// The runs of adjacent numbers in a rising list, none longer than `most`.
fn runs(blocks: &[u64], most: u64) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(run) if run.end == *block && run.end - run.start < most => run.end += 1,
            _ => runs.push(*block..*block + 1),
        }
    }
    runs
}
