//! Reads that wait, so that none waits for ever.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::engine::api::blob::Blob;
use crate::engine::api::cache::Cache;
use crate::engine::error::ReadError;
use crate::engine::flight::read_op::{Answers, ReadOp};
use crate::engine::transfer::fetch::FetchJob;
use crate::runtime::locks::Mutex;

/// Every read that was not answered at once.
#[derive(Default)]
pub(crate) struct Deadlines(Mutex<Vec<Entry>>);

struct Entry {
    blob: Weak<Blob>,
    op: Weak<ReadOp>,
    /// How long a read of this source waits at most.
    timeout: Duration,
}

impl Deadlines {
    pub(crate) fn watch(&self, blob: &Arc<Blob>, op: &Arc<ReadOp>) {
        self.0.lock().push(Entry {
            blob: Arc::downgrade(blob),
            op: Arc::downgrade(op),
            timeout: blob.source.settings.timeout,
        });
    }

    /// The reads that still wait; the others are forgotten.
    fn waiting(&self) -> Vec<(Weak<Blob>, Arc<ReadOp>, Duration)> {
        let mut waiting = Vec::new();
        self.0.lock().retain(|entry| {
            let op = entry.op.upgrade().filter(|op| op.is_waiting());
            let waits = op.map(|op| waiting.push((entry.blob.clone(), op, entry.timeout)));
            waits.is_some()
        });
        waiting
    }
}

impl Cache {
    /// Answers reads that are past the deadline, and asks the remote for those that have waited too long for the disk.
    pub(crate) fn look_at_deadlines(&self, now: Duration) {
        // Nobody waits for a disk that is known not to answer.
        let patience = match self.watched.bypasses_reads() {
            true => Duration::ZERO,
            false => self.config.disk_patience,
        };
        for (blob, op, timeout) in self.deadlines.waiting() {
            let most = op.opens_within.unwrap_or(timeout);
            if now.saturating_sub(op.begun) >= most.min(timeout) {
                if op.opens_within.is_none() {
                    self.counters.reads_timed_out.add(1);
                }
                let mut answers = Answers::default();
                op.answer(Err(ReadError::TimedOut), &mut answers);
                answers.give();
            } else if op.take_hedge(now, patience)
                && let Some(blob) = blob.upgrade()
            {
                self.counters.reads_hedged.add(1);
                self.gate.admit(FetchJob::hedge(blob, op));
            }
        }
    }
}
