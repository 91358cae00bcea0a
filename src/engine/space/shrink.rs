//! Keeping within the limits when they change, or when others fill the disk: what is free is asked for, and what the
//! cache has to give back goes, in bounded pieces, in the background.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::config::free_space::Pressure;
use crate::engine::space::cache_space::Space;
use crate::engine::space::limits::Taken;
use crate::runtime::executor::{Job, Lane};
use crate::storage::{DiskOp, IndexPart, Storage};

/// How many files one piece gives back.
const PIECE: u32 = 64;
/// And where the disk is as good as full.
const HASTY_PIECE: u32 = 512;

impl Space {
    /// What the cache takes of its disk.
    pub(crate) fn taken(&self) -> Taken {
        Taken {
            bytes: self.index.used_bytes(),
            files: self.services.counters.files(),
        }
    }

    /// Has the disk asked what it has left, if it is time. Does not wait for the disk.
    pub(crate) fn look_at_space(self: &Arc<Self>) {
        let now = self.services.now();
        if self.services.is_closed() || !self.limits.is_due(now) || !self.limits.may_ask() {
            return;
        }
        let asking = Asking(Arc::clone(self));
        let job: Job = Box::new(move || asking.0.ask());
        // A job that is refused is dropped, and another caller may ask.
        drop(self.services.submit(Lane::Read, job));
    }

    /// Asks the disk what it has left, unless another caller does. Waits for the disk.
    pub(crate) fn ask_space(&self) {
        if self.limits.may_ask() {
            self.ask();
            self.limits.answered();
        }
    }

    fn ask(&self) {
        let before = self.taken();
        let space = self.index.storage.space();
        let after = self.taken();
        if let Err(error) = &space {
            self.index.storage.report(DiskOp::AskSpace, error);
        }
        // What changed meanwhile may be seen or not: it counts as not seen where it was taken, as seen where it was
        // given.
        let taken = Taken {
            bytes: before.bytes.min(after.bytes),
            files: before.files.min(after.files),
        };
        let now = self.services.now();
        let (was, is) = self.limits.saw(space.ok(), taken, now);
        self.stuck.store(false, Ordering::Relaxed);
        let marks = self.limits.marks();
        match (was, is) {
            (Pressure::None, Pressure::Culling | Pressure::Stopped) => tracing::warn!(
                "the cache disk is short of free space or inodes (limits {marks}): larder frees cache space and caches nothing new"
            ),
            (Pressure::Culling | Pressure::Stopped, Pressure::None) => {
                tracing::info!("the cache disk has enough free space again (limits {marks})");
            }
            _ => {}
        }
    }

    /// Has the cache give back, if it has to. Does not wait for the disk.
    pub(crate) fn shrink_on(self: &Arc<Self>) {
        let idle = self.services.is_closed()
            || self.index.file.read_only
            || self.stuck.load(Ordering::Relaxed);
        if idle || !self.limits.is_over(self.taken()) {
            return;
        }
        let space = Arc::clone(self);
        let executor = &*self.services.executor;
        self.shrinking
            .submit(executor, Lane::Write, move || space.shrink());
    }

    /// Gives one piece back. What cannot be had now is tried again when the disk was asked the next time.
    fn shrink(&self) {
        let piece = match self.limits.pressure() {
            Pressure::Stopped => HASTY_PIECE,
            _ => PIECE,
        };
        let mut touched = BTreeSet::new();
        for _ in 0..piece {
            if self.services.is_closed() || !self.limits.is_over(self.taken()) {
                break;
            }
            let Some(number) = self.give_back() else {
                self.stuck.store(true, Ordering::Relaxed);
                break;
            };
            touched.insert(number);
        }
        // The next opening believes the headers until it has loaded their segments.
        touched
            .into_iter()
            .for_each(|number| self.index.write_header_of(number));
    }

    /// Unlinks one file, of the segment that holds most if possible, and returns the segment. One that had to be loaded
    /// is returned as it is: it may take less than its header said.
    fn give_back(&self) -> Option<u32> {
        self.index
            .slots
            .fullest()
            .into_iter()
            .find(|number| match self.index.slots.load(*number) {
                Ok(true) => true,
                Ok(false) => self.free_file(*number, None).is_some(),
                Err(error) => {
                    self.index
                        .storage
                        .report(DiskOp::ReadIndex(IndexPart::Segment), &error);
                    false
                }
            })
    }
}

/// The right to ask the disk, which ends with the question.
struct Asking(Arc<Space>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.limits.answered();
    }
}
