//! Counting the chunk files, where the index may not know what they take: after an unclean stop, and where
//! the index was touched since the last close (an older one put back, for instance).
//!
//! A pass goes through the directories of chunk files. A file that no record names, or that takes more than the record
//! of its free place says, is removed; what the file of a slot takes is noted. It has no thread: a tick hands one piece
//! to the disk pool while no read waits there, and a fill does some pieces itself. Invariants:
//!
//! * No fill writes before the pass is over: until then larder does not know what the limit leaves.
//! * A file is removed only while its place is free for no tenant: taken out of its segment's table, as for every other
//!   unlink.
//! * Nothing is kept of a pass that was cut short. The cache is not sealed then, and the next opening begins another
//!   one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::index::free_places::FreePlace;
use crate::engine::index::slot::{Slot, Tenancy};
use crate::engine::space::cache_space::Space;
use crate::engine::space::recount::Walk;
use crate::format::SECTOR_LEN;
use crate::runtime::executor::Lane;
use crate::runtime::test_faults::{Rule, is_broken};
use crate::storage::{ChunkStat, DiskOp, Storage};
use crate::units::SlotId;

/// One piece lists directories until it has so many files, and so many directories at most: most of a large cache that
/// is new do not exist.
const FILES: usize = 1024;
const DIRECTORIES: u32 = 4096;
/// It loads no segment of the index beyond so many bytes.
const LOADS: u64 = 16 << 20;
/// How many pieces one fill does. A cache that has no more is counted before its first fill; with a larger one some
/// fills are dropped.
const FILL_PIECES: u32 = 8;

/// What has become of a file.
enum Found {
    /// It is counted.
    Counted,
    /// It was no slot's, and is gone.
    Removed,
    /// Its place is in use just now.
    Busy,
}

impl Space {
    /// Whether it is known what all chunk files take. Nothing new is kept before.
    pub(crate) fn is_counted(&self) -> bool {
        self.recount.over.load(Ordering::Acquire)
    }

    /// Hands the next piece to the disk pool, if there is one to be done. Does not wait for the disk.
    pub(crate) fn recount_on(self: &Arc<Self>) {
        let idle =
            self.is_counted() || self.services.is_closed() || self.index.storage.bypasses_writes();
        if idle || self.services.executor.has_waiting_reads() {
            return;
        }
        let space = Arc::clone(self);
        let executor = &*self.services.executor;
        self.recount.handed.submit(executor, Lane::Write, move || {
            space.recount_piece();
        });
    }

    /// As [`Space::is_counted`], after some pieces. Waits for the disk.
    pub(crate) fn is_counted_for_fill(&self) -> bool {
        if is_broken(Rule::FillAwaitsCount) {
            return true;
        }
        (0..FILL_PIECES).all(|_| self.is_counted() || self.recount_piece()) && self.is_counted()
    }

    /// Does one piece; whether the pass has come on.
    fn recount_piece(&self) -> bool {
        let mut walk = self.recount.walk.lock();
        if self.is_counted() || self.services.is_closed() {
            return self.is_counted();
        }
        match self.recount_some(&mut walk) {
            Err(error) => {
                self.index.storage.report(DiskOp::CountChunks, &error);
                false
            }
            Ok(came_on) => {
                if walk.is_over() {
                    self.recount.over.store(true, Ordering::Release);
                    let Walk { files, removed, .. } = *walk;
                    if removed > 0 {
                        tracing::info!(
                            "the chunk files were counted: {removed} of {files} were not in the index and were removed"
                        );
                    }
                }
                came_on
            }
        }
    }

    /// Sees to it that the index knows what the file of this slot takes. Its segment is loaded.
    fn recount_file(&self, id: SlotId) -> io::Result<Found> {
        let number = id.0 / self.index.file.geometry.slots_per_segment();
        if let Some(slot) = self.index.slots.at(id) {
            return self.recount_slot(&slot);
        }
        let taken = self
            .index
            .slots
            .with_segment(number, |table| table.take_place(id))
            .flatten();
        let Some(left) = taken else {
            return Ok(Found::Busy);
        };
        let found = self.index.storage.stat_chunk(id);
        match found {
            Ok(Some(file)) if is_unknown(file, left) => {
                self.index.unlink_at(number, id, left.unwrap_or_default())?;
                Ok(Found::Removed)
            }
            other => {
                self.index
                    .slots
                    .with_segment(number, |table| table.put_place_back(id, left));
                other.map(|_| Found::Counted)
            }
        }
    }

    /// Notes what the file of a slot takes. One that is longer than its chunk is another tenancy's, and the slot is
    /// dropped: the next tenant cuts it.
    fn recount_slot(&self, slot: &Arc<Slot>) -> io::Result<Found> {
        let tenancy = slot.tenancy.lock();
        if slot.state.lock().retired {
            return Ok(Found::Busy);
        }
        let Some(file) = self.index.storage.stat_chunk(slot.id)? else {
            return Ok(Found::Counted);
        };
        let pages = pages(file);
        let before = std::mem::replace(&mut slot.state.lock().alloc_4k, pages);
        self.index.slots.account(slot, before, pages);
        if *tenancy == Tenancy::Begun && file.len > u64::from(slot.valid_len) {
            self.index.drop_slot(slot);
        } else if before != pages && self.index.load_checksums(slot).is_some() {
            self.index.dirty.note(slot);
        }
        Ok(Found::Counted)
    }

    /// Lists the next directories that have files, and looks at these; whether it has come on.
    fn recount_some(&self, walk: &mut Walk) -> io::Result<bool> {
        for _ in 0..DIRECTORIES {
            if let (Some(next), true) = (walk.next, walk.left.len() < FILES) {
                let (found, next) = self.index.storage.list_chunks(next)?;
                walk.next = next;
                walk.files += found.len() as u64;
                walk.left.extend(found);
            }
        }
        let per_segment = self.index.file.geometry.slots_per_segment();
        let (before, mut busy, mut loaded) = (walk.left.len(), Vec::new(), 0);
        while loaded < LOADS
            && let Some(id) = walk.left.pop()
        {
            let found = self
                .index
                .slots
                .load(id.0 / per_segment)
                .and_then(|was_loaded| {
                    loaded += u64::from(was_loaded) * u64::from(per_segment) * SECTOR_LEN as u64;
                    self.recount_file(id)
                });
            match found {
                Ok(Found::Counted) => {}
                Ok(Found::Removed) => walk.removed += 1,
                Ok(Found::Busy) => busy.push(id),
                Err(error) => {
                    walk.left.push(id);
                    walk.left.append(&mut busy);
                    return Err(error);
                }
            }
        }
        walk.left.append(&mut busy);
        Ok(before == 0 || walk.left.len() < before)
    }
}

/// Whether the index does not know what a file at a free place takes.
fn is_unknown(file: ChunkStat, place: Option<FreePlace>) -> bool {
    place.is_none_or(|place| pages(file) > place.alloc_4k)
}

fn pages(file: ChunkStat) -> u32 {
    u32::try_from(file.bytes.div_ceil(4096)).unwrap_or(u32::MAX)
}
