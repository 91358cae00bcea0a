//! Reads that wait, so that none waits for ever.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::engine::error::ReadError;
use crate::engine::flight::read_op::{Answers, ReadOp};
use crate::runtime::locks::Mutex;

/// Every read that was not answered at once, with the object that it reads.
pub(crate) struct Deadlines<T>(Mutex<Vec<Entry<T>>>);

struct Entry<T> {
    object: Weak<T>,
    op: Weak<ReadOp>,
    /// How long a read of this source waits at most.
    timeout: Duration,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// What a look at the deadlines found.
pub(crate) struct Late<T> {
    /// How many reads were answered because their time was over, those of opens left out.
    pub(crate) timed_out: u64,
    /// Reads that have waited too long for the cache disk.
    pub(crate) hedges: Vec<(Arc<T>, Arc<ReadOp>)>,
}

impl<T> Deadlines<T> {
    /// Watches over a read, which waits for `timeout` at most.
    pub(crate) fn watch(&self, object: &Arc<T>, op: &Arc<ReadOp>, timeout: Duration) {
        self.0.lock().push(Entry {
            object: Arc::downgrade(object),
            op: Arc::downgrade(op),
            timeout,
        });
    }

    /// Answers the reads that are past their time, and finds those that have waited for the disk for longer than
    /// `patience`.
    pub(crate) fn look(&self, now: Duration, patience: Duration) -> Late<T> {
        let mut late = Late {
            timed_out: 0,
            hedges: Vec::new(),
        };
        for (object, op, timeout) in self.waiting() {
            let most = op.opens_within.unwrap_or(timeout).min(timeout);
            if now.saturating_sub(op.begun) >= most {
                late.timed_out += u64::from(op.opens_within.is_none());
                let mut answers = Answers::default();
                op.answer(Err(ReadError::TimedOut), &mut answers);
                answers.give();
            } else if op.take_hedge(now, patience) {
                late.hedges
                    .extend(object.upgrade().map(|object| (object, op)));
            }
        }
        late
    }

    /// The reads that still wait; the others are forgotten.
    fn waiting(&self) -> Vec<(Weak<T>, Arc<ReadOp>, Duration)> {
        let mut waiting = Vec::new();
        self.0.lock().retain(|entry| {
            let op = entry.op.upgrade().filter(|op| op.is_waiting());
            let waits = op.map(|op| waiting.push((entry.object.clone(), op, entry.timeout)));
            waits.is_some()
        });
        waiting
    }
}
