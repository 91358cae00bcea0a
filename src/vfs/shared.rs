//! What all requests of one mount work on.
//!
//! The lock of the inode table is never held while the engine or the remote is called: the engine calls back into here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::attr::Owner;
use super::events::{Event, Which};
use super::files::FileState;
use super::metadata::{Absent, Questions};
use super::names::{Announced, Inodes, Outcome};
use crate::engine::Blob;

/// What the rooms of one mount share.
pub(super) struct Shared {
    pub(super) inodes: Mutex<Inodes<FileState>>,
    pub(super) questions: Arc<Questions>,
    pub(super) owner: Owner,
    pub(super) ttl: Duration,
    pub(super) absent: Absent,
    pub(super) announced: Announced,
    pub(super) events: Sender<Event>,
    pub(super) next_handle: AtomicU64,
}

impl Shared {
    /// The moment, on the monotonic clock.
    pub(super) fn now(&self) -> Duration {
        self.questions.now()
    }

    /// A handle that no open file or directory has.
    pub(super) fn handle(&self) -> u64 {
        self.next_handle.fetch_add(1, Ordering::Relaxed)
    }

    /// Has the inode told what becomes of its blob.
    pub(super) fn watched(&self, blob: Arc<Blob>, which: Which) -> Arc<Blob> {
        let events = self.events.clone();
        blob.watch(Box::new(move |event| {
            let _ = events.send(Event::new(which, event));
        }));
        blob
    }

    /// An inode's version is no more: its name leads to another inode from now on. Not to be called from the engine.
    pub(super) fn carry_out_superseded(&self, Which { ino, serial }: Which) {
        let now = self.now();
        let mut inodes = self.inodes.lock();
        if !inodes.is(ino, serial) {
            return;
        }
        let outcome = inodes.supersede(ino, now);
        drop(inodes);
        carry_out(outcome);
    }
}

/// Tells what an inode that was just superseded serves. To be called under no lock.
pub(super) fn carry_out(outcome: Outcome<FileState>) {
    if let Outcome::Superseded(state) = outcome {
        state.supersede();
    }
}
