//! Keeping within the limits when they change, or when others fill the disk: what is free is asked for, and what the cache
//! has to give back goes, in bounded pieces, in the background.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::api::cache::Cache;
use crate::engine::space::free_space::Pressure;
use crate::engine::space::limits::Taken;
use crate::runtime::executor::{Job, Lane};

/// How many files one piece gives back.
const PIECE: u32 = 64;
/// And where the disk is as good as full.
const HASTY_PIECE: u32 = 512;

impl Cache {
    /// What the cache takes of its disk.
    pub(crate) fn taken(&self) -> Taken {
        Taken {
            bytes: self.used_bytes(),
            files: self.counters.files(),
        }
    }

    /// Has the disk asked what it has left, if it is time. Does not wait for the disk.
    pub(crate) fn look_at_space(self: &Arc<Self>) {
        let now = self.ground.clock.monotonic();
        if self.is_closed() || !self.limits.is_due(now) || !self.limits.may_ask() {
            return;
        }
        let cache = Arc::clone(self);
        let job: Job = Box::new(move || {
            cache.ask();
            cache.limits.answered();
        });
        if self.ground.executor.submit(Lane::Read, job).is_err() {
            self.limits.answered();
        }
    }

    /// Asks the disk what it has left, unless somebody does. Waits for the disk.
    pub(crate) fn ask_space(&self) {
        if self.limits.may_ask() {
            self.ask();
            self.limits.answered();
        }
    }

    fn ask(&self) {
        let before = self.taken();
        let space = self.ground.storage.space();
        let after = self.taken();
        if let Err(error) = &space {
            self.disk_failed("asking for its free space", error);
        }
        // What changed meanwhile may be seen or not: it counts as not seen where it was taken, as seen where it was given.
        let taken = Taken {
            bytes: before.bytes.min(after.bytes),
            files: before.files.min(after.files),
        };
        let now = self.ground.clock.monotonic();
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
        let idle = self.is_closed() || self.disk.read_only || self.stuck.load(Ordering::Relaxed);
        if idle || !self.limits.is_over(self.taken()) || self.shrinking.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let cache = Arc::clone(self);
        let job: Job = Box::new(move || {
            cache.shrink();
            cache.shrinking.store(false, Ordering::Release);
        });
        if self.ground.executor.submit(Lane::Write, job).is_err() {
            self.shrinking.store(false, Ordering::Release);
        }
    }

    /// Gives one piece back. What cannot be had now is tried again when the disk was asked the next time.
    fn shrink(&self) {
        let piece = match self.limits.pressure() {
            Pressure::Stopped => HASTY_PIECE,
            _ => PIECE,
        };
        let mut touched = BTreeSet::new();
        for _ in 0..piece {
            if self.is_closed() || !self.limits.is_over(self.taken()) {
                break;
            }
            let Some(number) = self.give_back() else {
                self.stuck.store(true, Ordering::Relaxed);
                break;
            };
            touched.insert(number);
        }
        // The next opening believes the headers until it has loaded their segments.
        for header in touched.into_iter().filter_map(|n| self.slots.header(n)) {
            if let Err(error) = self.disk.write_header(&header) {
                self.disk_failed("writing the index", &error);
            }
        }
    }

    /// Unlinks one file, of the segment that holds most if possible, and returns the segment. One that had to be loaded is
    /// returned as it is: it may take less than its header said.
    fn give_back(&self) -> Option<u32> {
        self.slots
            .fullest()
            .into_iter()
            .find(|number| match self.slots.load(*number) {
                Ok(true) => true,
                Ok(false) => self.free_file(*number, None).is_some(),
                Err(error) => {
                    self.disk_failed("loading a segment of the index", &error);
                    false
                }
            })
    }
}
