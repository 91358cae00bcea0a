//! Dropping what is cached because a user asks for it: one version's chunks, or everything. The bytes are given back to
//! the disk at once, and whoever reads goes on by fetching again.
//!
//! Invariants:
//!
//! * A slot is taken from its tenant as the policy's victims are (`evict.rs`): with its write lock, not during a check, its
//!   record written free at once. What is in use stays and is counted.
//! * Pinned chunks stay, and so do those of a version that somebody reads and the remote has no more.
//! * Blob records stay: they are small, go by themselves, and keep the chunk size that a version was given.
//! * A call ends after a moment and says where the next one goes on, so that nothing waits behind it for long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::api::blob::Blob;
use crate::engine::api::cache::Cache;
use crate::engine::index::segment::Table;
use crate::engine::index::slot::Slot;
use crate::engine::index::slots::Lookup;
use crate::format::SlotFlags;

/// How long one call takes, about.
const PIECE_TIME: Duration = Duration::from_millis(500);
/// How many places of a segment are looked at in one go.
const PLACES: usize = 64;

/// What one call has dropped, and what not.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Forgotten {
    /// Chunks that were dropped.
    pub chunks: u64,
    /// Bytes that their files gave back.
    pub bytes: u64,
    /// Chunks that are in use just now, and stay.
    pub busy: u64,
    /// Chunks that are pinned, or that a reader could get nowhere else, and stay.
    pub kept: u64,
    /// Failures of the cache disk.
    pub failed: u64,
    /// Where the next call is to go on; `None` where this was the last.
    pub next: Option<u64>,
}

impl Forgotten {
    /// Adds what another call has done after this one.
    pub fn add(&mut self, more: &Self) {
        self.chunks += more.chunks;
        self.bytes += more.bytes;
        self.busy += more.busy;
        self.kept += more.kept;
        self.failed += more.failed;
        self.next = more.next;
    }
}

impl Blob {
    /// Drops what is cached of the blob's version, from chunk `from` on. Waits for the disk.
    pub fn forget(&self, from: u64) -> Forgotten {
        self.resolve();
        let (cache, mut told) = (self.cache(), Forgotten::default());
        let Some(plan) = self.plan().filter(|_| cache.may_forget()) else {
            return told;
        };
        let Some(tag) = plan.tag() else {
            return told;
        };
        let begun = cache.ground.clock.monotonic();
        let mut touched = BTreeSet::new();
        for chunk_no in from..plan.size.div_ceil(plan.chunk.bytes()) {
            if chunk_no > from && cache.has_taken_long(begun) {
                told.next = Some(chunk_no);
                break;
            }
            if let Err(error) = cache.slots.load_for(tag, chunk_no) {
                cache.disk_failed("loading a segment of the index", &error);
                told.failed += 1;
                continue;
            }
            if let Lookup::Found(slot) = cache.slots.find_now(tag, chunk_no) {
                let number = cache.slots.segment_number(tag, chunk_no);
                cache.forget_chunk(number, &slot, &mut told);
                touched.insert(number);
            }
        }
        touched
            .into_iter()
            .for_each(|number| cache.write_header_of(number));
        told
    }
}

impl Cache {
    /// Drops everything that is cached, from slot `from` on. Waits for the disk.
    pub fn forget_all(&self, from: u64) -> Forgotten {
        let mut told = Forgotten::default();
        let geometry = &self.disk.geometry;
        let per_segment = geometry.slots_per_segment();
        let Ok(from) = u32::try_from(from) else {
            return told;
        };
        if !self.may_forget() {
            return told;
        }
        let begun = self.ground.clock.monotonic();
        let mut place = from % per_segment;
        for number in from / per_segment..geometry.segments() {
            if let Err(error) = self.slots.load(number) {
                self.disk_failed("loading a segment of the index", &error);
                told.failed += 1;
            }
            loop {
                let (next, slots) = self.slots.slots_from(number, place, PLACES);
                for slot in slots {
                    self.forget_chunk(number, &slot, &mut told);
                }
                // The last piece of a segment takes the files of its free places along.
                if next.is_none() {
                    self.forget_files(number, &mut told);
                    self.write_header_of(number);
                }
                let after = next.map_or(u64::from(per_segment), u64::from);
                place = next.unwrap_or(0);
                if self.has_taken_long(begun) {
                    let next = u64::from(number * per_segment) + after;
                    told.next = (next < u64::from(geometry.n_slots())).then_some(next);
                    return told;
                }
                if next.is_none() {
                    break;
                }
            }
        }
        told
    }

    /// Drops one chunk, if it may go now.
    fn forget_chunk(&self, number: u32, slot: &Arc<Slot>, told: &mut Forgotten) {
        let (pinned, pages) = {
            let state = slot.state.lock();
            (state.flags.has(SlotFlags::PINNED), state.alloc_4k)
        };
        if pinned || self.versions.is_irreplaceable(slot.tag) {
            told.kept += 1;
            return;
        }
        if !self.retire(slot) {
            told.busy += u64::from(!slot.state.lock().retired);
            return;
        }
        self.counters.slots_evicted.add(1);
        told.chunks += 1;
        // The place may have a new tenant already, who took the file over.
        let take = |table: &mut Table| table.take_left_at(slot.id);
        if pages > 0 && self.unlink_left(number, take).is_some() {
            told.bytes += u64::from(pages) << 12;
        }
    }

    /// Unlinks the files of a segment's free places.
    fn forget_files(&self, number: u32, told: &mut Forgotten) {
        loop {
            let mut pages = 0;
            let gone = self.unlink_left(number, |table| {
                let taken = table.take_left()?;
                pages = taken.1.alloc_4k;
                Some(taken)
            });
            if gone.is_none() {
                return;
            }
            told.bytes += u64::from(pages) << 12;
        }
    }

    /// Has the header of a segment say what it holds now: after a restart it is believed until the segment is loaded.
    fn write_header_of(&self, number: u32) {
        let header = self.slots.header(number);
        if let Some(Err(error)) = header.map(|header| self.disk.write_header(&header)) {
            self.disk_failed("writing the header of a segment", &error);
        }
    }

    fn may_forget(&self) -> bool {
        !self.disk.read_only && !self.is_closed()
    }

    fn has_taken_long(&self, begun: Duration) -> bool {
        self.ground.clock.monotonic().saturating_sub(begun) >= PIECE_TIME
    }
}
