//! One read that waits, and how its bytes come together.

use std::time::Duration;

use bytes::Bytes;

use crate::engine::error::ReadError;
use crate::runtime::locks::Mutex;
use crate::units::offset_in;
use crate::units::{ByteRange, ChunkSize};

/// Called with the bytes of a read, which are fewer than asked only at the blob's end, or with why there are none.
pub type ReadDone = Box<dyn FnOnce(Result<Bytes, ReadError>) + Send>;

/// A read that could not be answered at once.
pub(crate) struct ReadOp {
    pub(crate) begun: Duration,
    /// Set for the read that an open makes: how long that waits at most.
    pub(crate) opens_within: Option<Duration>,
    state: Mutex<OpState>,
}

struct OpState {
    /// What was asked for, which may reach beyond the blob's end.
    wanted: ByteRange,
    /// What of that the version has.
    range: ByteRange,
    buffer: Vec<u8>,
    /// Blocks that have not landed yet.
    missing: u64,
    /// It waits for the cache disk, not only for the remote.
    on_disk: bool,
    hedged: bool,
    done: Option<ReadDone>,
}

/// Answers that are due: they are given when no lock is held any more.
#[derive(Default)]
#[must_use]
pub(crate) struct Answers(Vec<(ReadDone, Result<Bytes, ReadError>)>);

impl Answers {
    pub(crate) fn give(self) {
        self.0.into_iter().for_each(|(done, result)| done(result));
    }
}

impl ReadOp {
    /// A read of `wanted` of a blob of `size` bytes, as far as known.
    pub(crate) fn new(wanted: ByteRange, size: u64, begun: Duration, done: ReadDone) -> Self {
        let state = OpState {
            wanted,
            range: wanted.clip(ByteRange::new(0, size)),
            buffer: Vec::new(),
            missing: 0,
            on_disk: false,
            hedged: false,
            done: Some(done),
        };
        Self {
            begun,
            opens_within: None,
            state: Mutex::new(state),
        }
    }

    /// Makes it the read of an open, which waits for so long at most.
    pub(crate) fn of_an_open(mut self, patience: Duration) -> Self {
        self.opens_within = Some(patience);
        self
    }

    /// The bytes wanted, cut at the blob's end.
    pub(crate) fn range(&self) -> ByteRange {
        self.state.lock().range
    }

    /// What of the bytes wanted a blob of `size` bytes has, whichever version the read was planned for.
    pub(crate) fn within(&self, size: u64) -> ByteRange {
        self.state.lock().wanted.clip(ByteRange::new(0, size))
    }

    /// Whether the answer is still waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state.lock().done.is_some()
    }

    /// Begins, or begins anew, to collect the blocks of a blob of `size` bytes in chunks of `chunk`. Returns the bytes.
    pub(crate) fn expect(&self, size: u64, chunk: ChunkSize) -> ByteRange {
        let mut state = self.state.lock();
        state.range = state.wanted.clip(ByteRange::new(0, size));
        state.buffer = Vec::new();
        let blocks = chunk.blocks_of(state.range);
        state.missing = blocks.end - blocks.start;
        state.range
    }

    /// Notes that the read waits for the cache disk.
    pub(crate) fn waits_for_disk(&self) {
        self.state.lock().on_disk = true;
    }

    /// Whether the read has waited for the disk for longer than `patience`; true once.
    pub(super) fn take_hedge(&self, now: Duration, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let late = now.saturating_sub(self.begun) >= patience;
        let take = late && state.on_disk && !state.hedged && state.done.is_some();
        state.hedged |= take;
        take
    }

    /// Takes the bytes of one block, which lies at `block` in the blob.
    pub(crate) fn land(&self, block: ByteRange, bytes: &Bytes, answers: &mut Answers) {
        let mut state = self.state.lock();
        let wanted = state.range.clip(block);
        let from = offset_in(block, wanted.start);
        let part = bytes.slice(from..from + offset_in(wanted, wanted.end));
        state.missing = state.missing.saturating_sub(1);
        if wanted == state.range {
            // The whole read lies in this block: its bytes are passed on without a copy.
            return state.answer(Ok(part), answers);
        }
        let (total, at) = (
            offset_in(state.range, state.range.end),
            offset_in(state.range, wanted.start),
        );
        state.buffer.resize(total, 0);
        if let Some(place) = state.buffer.get_mut(at..at + part.len()) {
            place.copy_from_slice(&part);
        }
        if state.missing == 0 {
            let buffer = std::mem::take(&mut state.buffer);
            state.answer(Ok(buffer.into()), answers);
        }
    }

    /// Answers the whole read.
    pub(crate) fn answer(&self, result: Result<Bytes, ReadError>, answers: &mut Answers) {
        self.state.lock().answer(result, answers);
    }
}

impl OpState {
    fn answer(&mut self, result: Result<Bytes, ReadError>, answers: &mut Answers) {
        if let Some(done) = self.done.take() {
            answers.0.push((done, result));
        }
    }
}

/// A read that is forgotten (a job that panicked, a runtime that ended) must still be answered.
impl Drop for ReadOp {
    fn drop(&mut self) {
        if let Some(done) = self.state.get_mut().done.take() {
            done(Err(ReadError::Closed));
        }
    }
}
