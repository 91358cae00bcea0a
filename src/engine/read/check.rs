//! Blocks of a read that a slot holds: checked in the disk pool, and fetched where they do not pass.

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::flight::blocks::{JobId, Landing, block_span};
use crate::engine::flight::read_op::Answers;
use crate::engine::index::slot::{Slot, Witness};
use crate::engine::read::reads::Reads;
use crate::engine::version::object::Object;
use crate::runtime::executor::{Job, Lane};
use crate::units::BlockMask;

/// Claimed blocks of one slot. However it ends, the claims are given back and the waiters are answered or sent on.
pub(super) struct Check {
    reads: Arc<Reads>,
    object: Arc<Object>,
    slot: Arc<Slot>,
    blocks: BlockMask,
    job: JobId,
    done: bool,
}

impl Check {
    /// Hands claimed blocks of a slot to the disk pool. Their waiters are answered from the disk, or else from the
    /// remote.
    pub(super) fn submit(
        reads: &Arc<Reads>,
        object: &Arc<Object>,
        slot: Arc<Slot>,
        blocks: BlockMask,
        job: JobId,
    ) {
        let check = Self {
            reads: Arc::clone(reads),
            object: Arc::clone(object),
            slot,
            blocks,
            job,
            done: false,
        };
        // A refused job is dropped, and the check sends its readers to the remote.
        if !object.disk_answers() {
            return drop(check);
        }
        let run: Job = Box::new(move || check.run());
        drop(reads.services.submit(Lane::Read, run));
    }

    fn run(mut self) {
        let witness = self.slot.state.lock().witness(self.blocks);
        let good = self.reads.proof.read_blocks(&self.slot, self.blocks);
        self.end(&good, Some(witness));
    }

    fn end(&mut self, good: &[(u32, Bytes)], witness: Option<Witness>) {
        self.done = true;
        self.give_claims_back(good, witness);
        let chunk = self.slot.chunk;
        let base = self.slot.chunk_no * chunk.blocks_per_chunk();
        let chunk_end = self.slot.chunk_no * chunk.bytes() + u64::from(self.slot.valid_len);
        let mut answers = Answers::default();
        let mut failed = self.blocks;
        {
            let mut flight = self.object.flight.lock();
            for (n, bytes) in good {
                failed = failed.without(BlockMask::one(*n));
                let block = base + u64::from(*n);
                let span = block_span(chunk, chunk_end, block);
                let landing = flight.land((block, span), self.job, bytes, false, &mut answers);
                if landing != Landing::Unwanted {
                    self.object.bind(&mut flight);
                    self.reads.services.counters.hit_bytes.add(span.len());
                }
            }
        }
        answers.give();
        let failed: Vec<u64> = failed.iter().map(|n| base + u64::from(n)).collect();
        // Without a layout the object was bound to another version, and its readers have begun again.
        if let Some(layout) = self.object.layout() {
            let dispatch = &self.object.dispatch;
            dispatch.fetch_instead(&self.object, &layout, &failed, self.job);
        }
    }

    fn give_claims_back(&self, good: &[(u32, Bytes)], witness: Option<Witness>) {
        let place = {
            let mut state = self.slot.state.lock();
            let place = state.end_checks(self.blocks);
            if let Some(witness) = witness.filter(|_| !state.retired) {
                let passed = good
                    .iter()
                    .fold(BlockMask::NONE, |m, (n, _)| m.with(BlockMask::one(*n)));
                state.verify(passed, witness);
            }
            place
        };
        self.reads.index.hand_on(&self.slot, place);
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        if !self.done {
            self.end(&[], None);
        }
    }
}
