//! Reads that wait for a look at the index: it may wait for the disk, and a reader's thread may not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::api::blob::Blob;
use crate::engine::error::ReadError;
use crate::engine::flight::blocks::Flight;
use crate::engine::flight::read_op::{Answers, ReadOp};
use crate::engine::read::planner::Index;
use crate::runtime::executor::{Job, Lane};
use crate::units::ByteRange;

impl Blob {
    /// Begins a read: at once where the plan is known, otherwise once the index was looked at.
    pub(crate) fn begin(self: &Arc<Self>, op: Arc<ReadOp>, ahead: Option<ByteRange>) {
        if self.plan().is_none() && !self.disk_answers() {
            // Nothing is waited for: what is in memory is all there is.
            self.resolve();
        }
        if self.plan().is_some() {
            return self.get(Some(op), ahead, Index::Trusted);
        }
        let mut answers = Answers::default();
        self.park(&mut self.flight.lock(), op, &mut answers);
        answers.give();
    }

    /// Lets a read wait until the index was looked at.
    pub(crate) fn park(
        self: &Arc<Self>,
        flight: &mut Flight,
        op: Arc<ReadOp>,
        answers: &mut Answers,
    ) {
        op.waits_for_disk();
        flight.parked.push(op);
        if std::mem::replace(&mut flight.resolving, true) {
            return;
        }
        let done = Arc::<AtomicBool>::default();
        let unparking = Unparking {
            blob: Arc::clone(self),
            done: Arc::clone(&done),
        };
        let job: Job = Box::new(move || unparking.run());
        if let Err(refused) = self.cache().ground.executor.submit(Lane::Read, job) {
            flight.resolving = false;
            for op in flight.parked.drain(..) {
                op.answer(Err(ReadError::Closed), answers);
            }
            // Nobody is parked any more: the end of the job must not wait for the lock that is held here.
            done.store(true, Ordering::Release);
            drop(refused);
        }
    }

    /// The table of records was not there when the blob was planned, since the disk did not answer: it is loaded now, so
    /// that the next fetch can record the version.
    pub(crate) fn load_record_table(&self) {
        let (cache, key) = (Arc::clone(self.cache()), self.key);
        if cache.blobs.is_loaded(key) || cache.watched.bypasses_reads() {
            return;
        }
        let load: Job = Box::new(move || {
            if let Err(error) = cache.blobs.load(key) {
                cache.disk_failed("loading a segment of the index", &error);
            }
        });
        drop(self.cache().ground.executor.submit(Lane::Read, load));
    }

    /// Looks at the index for everybody who waits for that. Runs in the disk pool.
    fn unpark(self: &Arc<Self>) {
        self.resolve();
        let plan = self.plan();
        let ops = {
            let mut flight = self.flight.lock();
            flight.resolving = false;
            std::mem::take(&mut flight.parked)
        };
        for op in ops {
            match &plan {
                // The facts were replaced meanwhile: once more.
                None => self.begin(op, None),
                Some(plan) => {
                    let index = self.load_slots(plan, op.range());
                    self.get(Some(op), None, index);
                }
            }
        }
    }
}

/// A look at the index on behalf of parked reads. If it panics, they are answered all the same.
struct Unparking {
    blob: Arc<Blob>,
    done: Arc<AtomicBool>,
}

impl Unparking {
    fn run(self) {
        self.blob.unpark();
        self.done.store(true, Ordering::Release);
    }
}

impl Drop for Unparking {
    fn drop(&mut self) {
        if self.done.load(Ordering::Acquire) {
            return;
        }
        let parked = {
            let mut flight = self.blob.flight.lock();
            flight.resolving = false;
            std::mem::take(&mut flight.parked)
        };
        // A read that is dropped is answered.
        drop(parked);
    }
}
