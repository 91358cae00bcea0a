//! The blocks of one blob that are on their way, and who waits for them: single flight per block.
//!
//! Invariants:
//!
//! * A block is in the map from the moment a job sets out to get it until it is present in its slot, or until no job
//!   will put it there. A read that finds it in the map waits or is answered from it; no block is got twice.
//! * An entry belongs to one job; only that job lands or drops it. A stream makes every block its own as it comes to
//!   it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::engine::error::ReadError;
use crate::engine::flight::read_op::{Answers, ReadOp};
use crate::units::{ByteRange, ChunkSize};

/// The number of a fetch or a check, unique within one blob.
pub(crate) type JobId = u64;

/// What is on its way.
#[derive(Default)]
pub(crate) struct Flight {
    blocks: HashMap<u64, InFlight>,
    jobs: JobId,
    /// Reads that wait for the index.
    pub(crate) index_waiters: Vec<Arc<ReadOp>>,
    /// A job that will look at `index_waiters` is under way.
    pub(crate) resolving: bool,
    /// How often the blob was bound anew because the remote changed before anything was served.
    pub(crate) rebound: u32,
    /// The job that delivers the whole blob, and the first block that it has not delivered yet.
    stream: Option<(JobId, u64)>,
}

struct InFlight {
    job: JobId,
    /// The job reads it from the cache disk.
    from_disk: bool,
    stage: Stage,
    waiters: Vec<Arc<ReadOp>>,
}

/// How far a block has come.
pub(crate) enum Stage {
    /// The remote was asked, or the disk is being read.
    Awaited,
    /// The bytes are here and on their way to the cache disk.
    Landed(Bytes),
}

/// What became of a block that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Landing {
    /// A read waited for it.
    Asked,
    /// An open did, whose reader gets it.
    Opened,
    /// None did, yet: it was read ahead.
    Ahead,
    /// It was not on its way by this job.
    Unwanted,
}

impl Flight {
    /// A new job's number.
    pub(crate) fn new_job(&mut self) -> JobId {
        self.jobs += 1;
        self.jobs
    }

    /// Whether the block is on its way.
    pub(crate) fn has(&self, block: u64) -> bool {
        self.blocks.contains_key(&block)
    }

    /// Whether the block is on its way from the remote, or from a disk that is waited for.
    pub(crate) fn is_awaited(&self, block: u64, disk_answers: bool) -> bool {
        let entry = self.blocks.get(&block);
        entry.is_some_and(|entry| disk_answers || !entry.from_disk)
    }

    /// Lets `op` wait for a block that is on its way, or answers it from the bytes that landed.
    pub(crate) fn join(
        &mut self,
        block: u64,
        span: ByteRange,
        op: &Arc<ReadOp>,
        answers: &mut Answers,
    ) {
        match self.blocks.get_mut(&block) {
            Some(InFlight {
                stage: Stage::Landed(bytes),
                ..
            }) => op.land(span, bytes, answers),
            Some(entry) => {
                if entry.from_disk {
                    op.waits_for_disk();
                }
                entry.waiters.push(Arc::clone(op));
            }
            None => {}
        }
    }

    /// Puts a block on its way from the remote; `op` waits for it. One that was on its way from a disk that does not
    /// answer is taken over, with the reads that wait for it.
    pub(crate) fn depart(&mut self, block: u64, job: JobId, op: Option<&Arc<ReadOp>>) {
        self.put_on_way(block, job, false, op);
    }

    /// Puts a block on its way from the cache disk.
    pub(crate) fn depart_from_disk(&mut self, block: u64, job: JobId, op: &Arc<ReadOp>) {
        self.put_on_way(block, job, true, Some(op));
    }

    fn put_on_way(&mut self, block: u64, job: JobId, from_disk: bool, op: Option<&Arc<ReadOp>>) {
        let before = self.blocks.remove(&block);
        let mut waiters = before.map_or_else(Vec::new, |entry| entry.waiters);
        if let Some(op) = op
            && !waiters.iter().any(|waiter| Arc::ptr_eq(waiter, op))
        {
            waiters.push(Arc::clone(op));
        }
        self.blocks.insert(
            block,
            InFlight {
                job,
                from_disk,
                stage: Stage::Awaited,
                waiters,
            },
        );
    }

    /// The bytes of a block arrived: its waiters are answered. Where `keep`, later readers are answered from them until
    /// [`Flight::leave`]. Returns whether the block was this job's and awaited, and whether a read waited for it.
    pub(crate) fn land(
        &mut self,
        (block, span): (u64, ByteRange),
        job: JobId,
        bytes: &Bytes,
        keep: bool,
        answers: &mut Answers,
    ) -> Landing {
        let Some(entry) = self.blocks.get_mut(&block) else {
            return Landing::Unwanted;
        };
        if entry.job != job || !matches!(entry.stage, Stage::Awaited) {
            return Landing::Unwanted;
        }
        let opens = entry.waiters.iter().map(|op| op.opens_within.is_some());
        let landing = match opens.reduce(|all, opens| all && opens) {
            None => Landing::Ahead,
            Some(true) => Landing::Opened,
            Some(false) => Landing::Asked,
        };
        for op in entry.waiters.drain(..) {
            op.land(span, bytes, answers);
        }
        if keep {
            entry.stage = Stage::Landed(bytes.clone())
        } else {
            drop(self.blocks.remove(&block))
        }
        landing
    }

    /// Makes a job the blob's stream, if there is none.
    pub(crate) fn begin_stream(&mut self, job: JobId) -> bool {
        let free = self.stream.is_none();
        if free {
            self.stream = Some((job, 0));
        }
        free
    }

    /// Whether this job is the blob's stream.
    pub(crate) fn is_stream(&self, job: JobId) -> bool {
        self.stream.is_some_and(|(stream, _)| stream == job)
    }

    /// The job that will deliver `block` without being asked: the stream, while the block is ahead of it.
    pub(crate) fn stream_to(&self, block: u64) -> Option<JobId> {
        let (job, next) = self.stream?;
        (block >= next).then_some(job)
    }

    /// Hands the stream, if there is one, those of a job's blocks that are ahead of it. Whether the job has nothing
    /// left to wait for: a stream may have gone by meanwhile and delivered it all.
    pub(crate) fn join_stream(&mut self, blocks: Range<u64>, job: JobId) -> bool {
        for block in blocks.clone() {
            if let Some(stream) = self.stream_to(block) {
                self.hand_over(block, job, stream);
            }
        }
        let awaited = |entry: &InFlight| entry.job == job && matches!(entry.stage, Stage::Awaited);
        !blocks
            .into_iter()
            .any(|block| self.blocks.get(&block).is_some_and(awaited))
    }

    /// The stream `job` delivers `block` next, whichever job had it on its way. Nothing where the job no longer is the
    /// stream: the blob was bound to another version meanwhile.
    pub(crate) fn take_over(&mut self, block: u64, job: JobId) {
        if !self.is_stream(job) {
            return;
        }
        self.stream = Some((job, block + 1));
        match self.blocks.get_mut(&block) {
            None => self.depart(block, job, None),
            Some(entry) if matches!(entry.stage, Stage::Awaited) => {
                (entry.job, entry.from_disk) = (job, false);
            }
            Some(_) => {}
        }
    }

    /// Whether a read waits for a block of this job.
    pub(crate) fn has_waiting(&self, job: JobId) -> bool {
        let mut entries = self.blocks.values().filter(|entry| entry.job == job);
        entries.any(|entry| entry.waiters.iter().any(|op| op.is_waiting()))
    }

    /// A job ends without an error. Returns those of its blocks that it did not deliver and that a read waits for, in
    /// order; they stay on their way, the others do not.
    pub(crate) fn end_stream(&mut self, job: JobId) -> Vec<u64> {
        if self.is_stream(job) {
            self.stream = None;
        }
        let awaited = |entry: &InFlight| entry.job == job && matches!(entry.stage, Stage::Awaited);
        let unwanted = |entry: &InFlight| !entry.waiters.iter().any(|op| op.is_waiting());
        self.blocks
            .retain(|_, entry| !(awaited(entry) && unwanted(entry)));
        let entries = self.blocks.iter().filter(|(_, entry)| awaited(entry));
        let mut left: Vec<u64> = entries.map(|(block, _)| *block).collect();
        left.sort_unstable();
        left
    }

    /// A job fails: what it did not deliver is no longer on its way. Returns who waits for that.
    pub(crate) fn abandon(&mut self, job: JobId) -> Vec<Arc<ReadOp>> {
        if self.is_stream(job) {
            self.stream = None;
        }
        let awaited = |entry: &InFlight| entry.job == job && matches!(entry.stage, Stage::Awaited);
        let left = self.blocks.extract_if(|_, entry| awaited(entry));
        distinct(left.flat_map(|(_, entry)| entry.waiters))
    }

    /// Whether a read waits for one of these blocks of this job.
    pub(crate) fn is_wanted(&self, blocks: Range<u64>, job: JobId) -> bool {
        let wanted = |e: &InFlight| e.job == job && e.waiters.iter().any(|op| op.is_waiting());
        blocks
            .into_iter()
            .any(|block| self.blocks.get(&block).is_some_and(wanted))
    }

    /// The blocks of this job are no longer on their way, unless a read waits for one of them: whether none did.
    pub(crate) fn drop_unwanted(&mut self, blocks: Range<u64>, job: JobId) -> bool {
        let unwanted = !self.is_wanted(blocks.clone(), job);
        if unwanted {
            self.blocks
                .retain(|block, entry| entry.job != job || !blocks.contains(block));
        }
        unwanted
    }

    /// The blocks of this job among `blocks` are no longer on their way, landed or not; who still waits gets `error`.
    pub(crate) fn leave(
        &mut self,
        blocks: Range<u64>,
        job: JobId,
        error: &ReadError,
        answers: &mut Answers,
    ) {
        for block in blocks {
            if self
                .blocks
                .get(&block)
                .is_some_and(|entry| entry.job == job)
            {
                let waiters = self.blocks.remove(&block).map(|entry| entry.waiters);
                for op in waiters.into_iter().flatten() {
                    op.answer(Err(error.clone()), answers);
                }
            }
        }
    }

    /// Hands the blocks of one job to another one, waiters and all.
    pub(crate) fn hand_over(&mut self, block: u64, from: JobId, to: JobId) -> bool {
        match self.blocks.get_mut(&block) {
            Some(entry) if entry.job == from => {
                // The job that it is handed to gets it from the remote.
                (entry.job, entry.from_disk) = (to, false);
                true
            }
            _ => false,
        }
    }

    /// Empties the map and returns the reads that waited: the object is bound to another version, they begin again.
    pub(crate) fn restart(&mut self) -> Vec<Arc<ReadOp>> {
        self.stream = None;
        let waiting = self.blocks.drain().flat_map(|(_, entry)| entry.waiters);
        distinct(waiting.chain(self.index_waiters.drain(..)))
    }
}

/// Each of those who still wait, once.
fn distinct(ops: impl Iterator<Item = Arc<ReadOp>>) -> Vec<Arc<ReadOp>> {
    let mut ops: Vec<Arc<ReadOp>> = ops.collect();
    ops.sort_by_key(Arc::as_ptr);
    ops.dedup_by(|a, b| Arc::ptr_eq(a, b));
    ops.retain(|op| op.is_waiting());
    ops
}

/// The bytes of block `block` of a blob of `size` bytes.
pub(crate) fn block_span(chunk: ChunkSize, size: u64, block: u64) -> ByteRange {
    let start = block.saturating_mul(chunk.block_size());
    ByteRange::at(start, chunk.block_size()).clip(ByteRange::new(0, size.max(start)))
}
