//! The way of a read: inline from memory, or block by block from whoever has it.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::blob::{Blob, Plan};
use super::fetch::FetchJob;
use super::flight::{Flight, JobId, block_span};
use super::op::{Answers, ReadOp, offset_in};
use super::readahead::Readahead;
use super::slot::{Slot, SlotState};
use super::slots::Lookup;
use super::{ReadDone, ReadError, verify};
use crate::format::block_crc;
use crate::storage::NowRead;
use crate::units::{BlockMask, ByteRange, ChunkSize};

/// Larger blocks are checked in the disk pool: an inline answer stays short.
const INLINE_CHECK_MAX: usize = 256 << 10;

/// Whether what the index says in memory is all there is to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Index {
    /// A segment that is not loaded must be loaded first.
    Trusted,
    /// The disk did not answer: what is not in memory counts as absent.
    Silent,
}

/// One open handle on a blob.
pub struct Reader {
    blob: Arc<Blob>,
    ahead: Mutex<Readahead>,
}

impl Reader {
    pub(super) fn new(blob: Arc<Blob>) -> Self {
        Self {
            blob,
            ahead: Mutex::default(),
        }
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
        self.blob.copy_now(&plan, range, buf)?;
        self.blob.cache().counters.reads_inline.add(1);
        self.blob.cache().counters.hit_bytes.add(range.len());
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
            return done(Ok(bytes::Bytes::new()));
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
}

impl Blob {
    /// Gets the blocks of a read, and those of `ahead` that are missing: joins what is on its way, checks what is
    /// present, fetches the rest.
    pub(super) fn get(
        self: &Arc<Self>,
        op: Option<Arc<ReadOp>>,
        ahead: Option<ByteRange>,
        index: Index,
    ) {
        let mut work = Work::default();
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
                let blocks = self.missing_ahead(&flight, &plan, ahead);
                self.depart(&mut flight, &plan, &blocks, None, &mut work);
            }
        }
        self.carry_out(work);
    }

    /// Loads the segments that hold the slots of `range`. Waits for the disk.
    pub(super) fn load_slots(&self, plan: &Plan, range: ByteRange) -> Index {
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
            return op.answer(Ok(bytes::Bytes::new()), &mut work.answers);
        }
        let Some(found) = self.look_up(flight, plan, blocks.clone(), index) else {
            return self.park(flight, op, &mut work.answers);
        };
        if !found.missing.is_empty() && self.is_superseded() {
            release(&found.present);
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
                .for_each(|n| flight.depart(base + u64::from(n), job, Some(&op)));
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
        for block in blocks.filter(|block| !flight.has(*block)) {
            let (chunk_no, n) = plan.chunk.locate(block);
            if chunk.as_ref().is_none_or(|(no, _)| *no != chunk_no) {
                let lookup = plan
                    .tag()
                    .map(|tag| self.cache().slots.find_now(tag, chunk_no));
                let slot = match lookup {
                    Some(Lookup::Found(slot)) => Some(slot),
                    Some(Lookup::Unloaded) if index == Index::Trusted => {
                        release(&found.present);
                        return None;
                    }
                    _ => None,
                };
                chunk = Some((chunk_no, slot));
            }
            let slot = chunk.as_ref().and_then(|(_, slot)| slot.as_ref());
            match slot.filter(|slot| claim_check(&mut slot.state.lock(), n)) {
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

    /// Whether bytes that nobody waits for yet are worth a fetch: there is room for them in flight, and they would be kept
    /// in the cache. Bytes that are not kept would be fetched a second time when they are asked for.
    fn may_read_ahead(&self, ahead: ByteRange) -> bool {
        let cache = self.cache();
        self.is_settled() && cache.backlog.takes_fills() && cache.gate.has_room(ahead.len())
    }

    /// The blocks of `ahead` that neither are on their way nor in a slot. What is not loaded is not fetched ahead.
    fn missing_ahead(&self, flight: &Flight, plan: &Plan, ahead: ByteRange) -> Vec<u64> {
        let Some(tag) = plan.tag() else {
            return Vec::new();
        };
        let absent = |block: &u64| {
            let (chunk_no, n) = plan.chunk.locate(*block);
            !flight.has(*block)
                && match self.cache().slots.find_now(tag, chunk_no) {
                    Lookup::Absent => true,
                    Lookup::Unloaded => false,
                    Lookup::Found(slot) => !slot.state.lock().present.has(n),
                }
        };
        let ahead = ahead.clip(ByteRange::new(0, plan.size));
        plan.chunk.blocks_of(ahead).filter(absent).collect()
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
            work.fetches
                .push(FetchJob::new(Arc::clone(self), Arc::clone(plan), job, run));
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
    }

    /// Fetches what a failed check left behind: the blocks keep their waiters.
    pub(super) fn fetch_instead(self: &Arc<Self>, plan: &Arc<Plan>, blocks: &[u64], from: JobId) {
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

    /// Copies `range` into `buf` if every block of it is at hand.
    fn copy_now(&self, plan: &Plan, range: ByteRange, buf: &mut [u8]) -> Option<()> {
        let tag = plan.tag()?;
        let (mut at, mut rest) = (range.start, buf);
        while at < range.end {
            let chunk_no = at / plan.chunk.bytes();
            let end = range.end.min((chunk_no + 1) * plan.chunk.bytes());
            let (part, tail) = rest.split_at_mut(offset_in(ByteRange::new(at, end), end));
            let Lookup::Found(slot) = self.cache().slots.find_now(tag, chunk_no) else {
                return None;
            };
            self.copy_chunk_now(&slot, at - chunk_no * plan.chunk.bytes(), part)?;
            (at, rest) = (end, tail);
        }
        Some(())
    }

    /// Copies bytes from `start` of one chunk. The slot's state stays locked meanwhile: nobody else can bring unchecked
    /// pages in between the look at the verified bits and the read. The read does not wait.
    fn copy_chunk_now(&self, slot: &Slot, start: u64, buf: &mut [u8]) -> Option<()> {
        let wanted = blocks_in_chunk(slot.chunk, ByteRange::at(start, buf.len() as u64));
        let mut state = slot.state.lock();
        if state.retired || state.suspect || !state.present.holds(wanted) {
            return None;
        }
        if state.verified.holds(wanted) {
            return self.read_verified(slot, &mut state, start, buf);
        }
        for n in wanted.iter() {
            let block = ByteRange::at(
                u64::from(n) * slot.chunk.block_size(),
                slot.block_len(n) as u64,
            );
            let part = block.clip(ByteRange::at(start, buf.len() as u64));
            let place = buf.get_mut(offset_in(ByteRange::at(start, 0), part.start)..)?;
            let place = place.get_mut(..offset_in(part, part.end))?;
            match state.verified.has(n) {
                true => self.read_verified(slot, &mut state, part.start, place)?,
                false => {
                    self.check_now(slot, &mut state, n, offset_in(block, part.start), place)?
                }
            }
        }
        Some(())
    }

    fn read_verified(
        &self,
        slot: &Slot,
        state: &mut SlotState,
        start: u64,
        buf: &mut [u8],
    ) -> Option<()> {
        let got = match self
            .cache()
            .ground
            .storage
            .read_chunk_now(slot.file(), start, buf)
        {
            Ok(NowRead::Bytes(n)) => n,
            Ok(NowRead::Refused | NowRead::Unsupported) | Err(_) => 0,
        };
        if got == buf.len() {
            return Some(());
        }
        // The refused read has started to bring pages in that nobody checked.
        let undelivered = ByteRange::new(start + got as u64, start + buf.len() as u64);
        state.verified = state
            .verified
            .without(blocks_in_chunk(slot.chunk, undelivered));
        None
    }

    /// Checks one block whose pages are in memory, and copies the part of it from `from` on.
    fn check_now(
        &self,
        slot: &Slot,
        state: &mut SlotState,
        n: u32,
        from: usize,
        place: &mut [u8],
    ) -> Option<()> {
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let len = slot.block_len(n);
        if len > INLINE_CHECK_MAX || state.checking.has(n) {
            return None;
        }
        let crc = match &state.crcs {
            Some(crcs) => *crcs.get(n as usize)?,
            None => {
                let record = self.cache().disk.read_slot_now(slot.id)?;
                record.crc_of(n).filter(|_| slot.owns(state, &record))?
            }
        };
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(INLINE_CHECK_MAX, 0);
            let whole = scratch.get_mut(..len)?;
            let start = u64::from(n) * slot.chunk.block_size();
            match self
                .cache()
                .ground
                .storage
                .read_chunk_now(slot.file(), start, whole)
            {
                Ok(NowRead::Bytes(got)) if got == len => {}
                _ => return None,
            }
            if block_crc(slot.tag, slot.chunk_no, n, whole) != crc {
                return None;
            }
            place.copy_from_slice(whole.get(from..from + place.len())?);
            state.verified = state.verified.with(BlockMask::one(n));
            self.cache().counters.blocks_checked.add(1);
            Some(())
        })
    }
}

/// What a look at the slots found.
#[derive(Default)]
struct Found {
    present: Vec<(Arc<Slot>, BlockMask)>,
    missing: Vec<u64>,
}

/// Claims the check of a present block for the caller; false where it is absent or somebody else checks it already.
fn claim_check(state: &mut SlotState, n: u32) -> bool {
    let free = !state.retired && state.present.has(n) && !state.checking.has(n);
    if free {
        // What is read from disk is unchecked until the check is done.
        state.checking = state.checking.with(BlockMask::one(n));
        state.verified = state.verified.without(BlockMask::one(n));
    }
    free
}

/// Gives claims back.
fn release(present: &[(Arc<Slot>, BlockMask)]) {
    for (slot, mask) in present {
        let mut state = slot.state.lock();
        state.checking = state.checking.without(*mask);
    }
}

/// The blocks of a chunk that the bytes of `range` (within the chunk) touch.
fn blocks_in_chunk(chunk: ChunkSize, range: ByteRange) -> BlockMask {
    let blocks = chunk.blocks_of(range);
    let bound = |n: u64| u32::try_from(n).unwrap_or(64).min(64);
    BlockMask::span(bound(blocks.start)..bound(blocks.end))
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
