//! Dropping what is cached because a user asks for it: one version's chunks, or everything. The bytes are given back to
//! the disk at once, and a reader goes on by fetching again.
//!
//! Invariants:
//!
//! * A slot is taken from its tenant as the policy's victims are (`index/tenancy.rs`): with its write lock, not during
//!   a check, its record written free at once. What is in use stays and is counted.
//! * Pinned chunks stay, and so do those of a version that is read and the remote has no more.
//! * Blob records stay: they are small, go by themselves, and keep the chunk size that a version was given.
//! * A call ends after a moment and says where the next one goes on, so that nothing waits behind it for long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::index::cache_index::Index;
use crate::engine::index::segment::SegmentTable;
use crate::engine::index::slot::Slot;
use crate::engine::index::slots::Lookup;
use crate::engine::services::Services;
use crate::engine::space::cache_space::Space;
use crate::engine::version::object::Object;
use crate::format::SlotFlags;
use crate::storage::{DiskOp, IndexPart};

/// How long one call takes, about.
const PIECE_TIME: Duration = Duration::from_millis(500);
/// How many places of a segment are looked at in one go.
const PLACES: usize = 64;

/// What one call has dropped, and what not.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Evicted {
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

impl Evicted {
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

/// What drops chunks because a user asks for it.
pub(crate) struct UserEviction {
    services: Arc<Services>,
    index: Arc<Index>,
    space: Arc<Space>,
}

impl UserEviction {
    pub(crate) fn new(services: Arc<Services>, index: Arc<Index>, space: Arc<Space>) -> Self {
        Self {
            services,
            index,
            space,
        }
    }

    /// Drops what is cached of the object's version, from chunk `from` on. Waits for the disk.
    pub(crate) fn evict(&self, object: &Object, from: u64) -> Evicted {
        object.resolve();
        let mut told = Evicted::default();
        let Some(layout) = object.layout().filter(|_| self.may_evict()) else {
            return told;
        };
        let Some(tag) = layout.tag() else {
            return told;
        };
        let begun = self.services.now();
        let mut touched = BTreeSet::new();
        for chunk_no in from..layout.size.div_ceil(layout.chunk.bytes()) {
            if chunk_no > from && self.has_taken_long(begun) {
                told.next = Some(chunk_no);
                break;
            }
            if let Err(error) = self.index.slots.load_for(tag, chunk_no) {
                self.index
                    .storage
                    .report(DiskOp::ReadIndex(IndexPart::Segment), &error);
                told.failed += 1;
                continue;
            }
            if let Lookup::Found(slot) = self.index.slots.find_now(tag, chunk_no) {
                let number = self.index.slots.segment_number(tag, chunk_no);
                self.evict_chunk(number, &slot, &mut told);
                touched.insert(number);
            }
        }
        touched
            .into_iter()
            .for_each(|number| self.index.write_header_of(number));
        told
    }

    /// Drops everything that is cached, from slot `from` on. Waits for the disk.
    pub(crate) fn evict_all(&self, from: u64) -> Evicted {
        let mut told = Evicted::default();
        let geometry = &self.index.file.geometry;
        let per_segment = geometry.slots_per_segment();
        let Ok(from) = u32::try_from(from) else {
            return told;
        };
        if !self.may_evict() {
            return told;
        }
        let begun = self.services.now();
        let mut place = from % per_segment;
        for number in from / per_segment..geometry.segments() {
            if let Err(error) = self.index.slots.load(number) {
                self.index
                    .storage
                    .report(DiskOp::ReadIndex(IndexPart::Segment), &error);
                told.failed += 1;
            }
            loop {
                let (next, slots) = self.index.slots.slots_from(number, place, PLACES);
                for slot in slots {
                    self.evict_chunk(number, &slot, &mut told);
                }
                // The last piece of a segment takes the files of its free places along.
                if next.is_none() {
                    self.evict_files(number, &mut told);
                    self.index.write_header_of(number);
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
    fn evict_chunk(&self, number: u32, slot: &Arc<Slot>, told: &mut Evicted) {
        let (pinned, pages) = {
            let state = slot.state.lock();
            (state.flags.has(SlotFlags::PINNED), state.alloc_4k)
        };
        if pinned || self.space.stale.is_irreplaceable(slot.tag) {
            told.kept += 1;
            return;
        }
        if !self.index.retire(slot) {
            told.busy += u64::from(!slot.state.lock().retired);
            return;
        }
        self.services.counters.slots_evicted.add(1);
        told.chunks += 1;
        // The place may have a new tenant already, who took the file over.
        let take = |table: &mut SegmentTable| table.take_free_file_at(slot.id);
        if pages > 0 && self.space.unlink_free(number, take).is_some() {
            told.bytes += u64::from(pages) << 12;
        }
    }

    /// Unlinks the files of a segment's free places.
    fn evict_files(&self, number: u32, told: &mut Evicted) {
        loop {
            let mut pages = 0;
            let gone = self.space.unlink_free(number, |table| {
                let taken = table.take_free_file()?;
                pages = taken.1.alloc_4k;
                Some(taken)
            });
            if gone.is_none() {
                return;
            }
            told.bytes += u64::from(pages) << 12;
        }
    }

    fn may_evict(&self) -> bool {
        !self.index.file.read_only && !self.services.is_closed()
    }

    fn has_taken_long(&self, begun: Duration) -> bool {
        self.services.now().saturating_sub(begun) >= PIECE_TIME
    }
}
