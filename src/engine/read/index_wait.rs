//! Reads that wait for a look at the index: it may wait for the disk, and a reader's thread may not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::error::ReadError;
use crate::engine::flight::blocks::Flight;
use crate::engine::flight::read_op::{Answers, ReadOp};
use crate::engine::read::look_up::Knowledge;
use crate::engine::read::reads::Reads;
use crate::engine::version::object::Object;
use crate::runtime::executor::{Job, Lane};
use crate::units::ByteRange;

impl Reads {
    /// Begins a read: at once where the layout is known, otherwise once the index was looked at.
    pub(super) fn begin_read(
        self: &Arc<Self>,
        object: &Arc<Object>,
        op: Arc<ReadOp>,
        ahead: Option<ByteRange>,
    ) {
        if object.layout().is_none() && !object.disk_answers() {
            // Nothing is waited for: what is in memory is all there is.
            object.resolve();
        }
        if object.layout().is_some() {
            return self.get(object, Some(op), ahead, Knowledge::Partial);
        }
        let mut answers = Answers::default();
        self.wait_for_index(object, &mut object.flight.lock(), op, &mut answers);
        answers.give();
    }

    /// Lets a read wait until the index was looked at.
    pub(super) fn wait_for_index(
        self: &Arc<Self>,
        object: &Arc<Object>,
        flight: &mut Flight,
        op: Arc<ReadOp>,
        answers: &mut Answers,
    ) {
        op.waits_for_disk();
        flight.index_waiters.push(op);
        if std::mem::replace(&mut flight.resolving, true) {
            return;
        }
        let done = Arc::<AtomicBool>::default();
        let look = IndexLook {
            reads: Arc::clone(self),
            object: Arc::clone(object),
            done: Arc::clone(&done),
        };
        let job: Job = Box::new(move || look.run());
        if let Err(refused) = self.services.submit(Lane::Read, job) {
            flight.resolving = false;
            for op in flight.index_waiters.drain(..) {
                op.answer(Err(ReadError::Closed), answers);
            }
            // No read waits any more: the end of the job must not wait for the lock that is held here.
            done.store(true, Ordering::Release);
            drop(refused);
        }
    }

    /// Looks at the index for all reads that wait for that. Runs in the disk pool.
    fn look_at_index(self: &Arc<Self>, object: &Arc<Object>) {
        object.resolve();
        let layout = object.layout();
        let ops = {
            let mut flight = object.flight.lock();
            flight.resolving = false;
            std::mem::take(&mut flight.index_waiters)
        };
        for op in ops {
            match &layout {
                // The facts were replaced meanwhile: once more.
                None => self.begin_read(object, op, None),
                Some(layout) => {
                    let knowledge = self.load_slots(layout, op.range());
                    self.get(object, Some(op), None, knowledge);
                }
            }
        }
    }
}

/// A look at the index on behalf of reads that wait. If it panics, they are answered all the same.
struct IndexLook {
    reads: Arc<Reads>,
    object: Arc<Object>,
    done: Arc<AtomicBool>,
}

impl IndexLook {
    fn run(self) {
        self.reads.look_at_index(&self.object);
        self.done.store(true, Ordering::Release);
    }
}

impl Drop for IndexLook {
    fn drop(&mut self) {
        if self.done.load(Ordering::Acquire) {
            return;
        }
        let waiters = {
            let mut flight = self.object.flight.lock();
            flight.resolving = false;
            std::mem::take(&mut flight.index_waiters)
        };
        // A read that is dropped is answered.
        drop(waiters);
    }
}
