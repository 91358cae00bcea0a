//! Counting the chunk files, where the index may not know what they take: after a stop that nobody ordered, and where
//! somebody has touched the index since the last close, to put an older one back for instance.
//!
//! A pass goes through the directories of chunk files. A file that no record names, or that takes more than the record of
//! its free place says, is removed; what the file of a slot takes is noted. It has no thread: a tick hands one piece to the
//! disk pool while no read waits there, and a fill does some pieces itself. Invariants:
//!
//! * No fill writes before the pass is over: until then nobody knows what the limit leaves.
//! * A file is removed only while its place is nobody's: taken out of its segment's table, as for every other unlink.
//! * Nothing is kept of a pass that was cut short. The cache is not sealed then, and the next opening begins another one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::api::cache::Cache;
use crate::engine::index::free_places::FreePlace;
use crate::engine::index::slot::{Slot, Tenancy};
use crate::format::SECTOR_LEN;
use crate::runtime::executor::{Job, Lane};
use crate::runtime::locks::Mutex;
use crate::runtime::test_faults::{Rule, is_broken};
use crate::storage::ChunkStat;
use crate::units::SlotId;

/// One piece lists directories until it has so many files, and so many directories at most: most of a large cache that is
/// new do not exist.
const FILES: usize = 1024;
const DIRECTORIES: u32 = 4096;
/// It loads no segment of the index beyond so many bytes.
const LOADS: u64 = 16 << 20;
/// How many pieces one fill does. A cache that has no more is counted before its first fill; with a larger one some fills
/// are dropped.
const FILL_PIECES: u32 = 8;

/// The count of one cache.
pub(crate) struct Recount {
    over: AtomicBool,
    /// A tick has handed a piece out.
    handed: AtomicBool,
    walk: Mutex<Walk>,
}

/// Where a pass is.
struct Walk {
    /// The first slot of the next directory.
    next: Option<SlotId>,
    /// The files of this directory that are still to be looked at.
    left: Vec<SlotId>,
    files: u64,
    removed: u64,
}

/// What has become of a file.
enum Found {
    /// It is counted.
    Counted,
    /// It was no slot's, and is gone.
    Removed,
    /// Its place is in somebody's hands just now.
    Busy,
}

impl Recount {
    /// A pass over everything, if one is needed.
    pub(crate) fn new(needed: bool) -> Self {
        Self {
            over: AtomicBool::new(!needed),
            handed: AtomicBool::new(false),
            walk: Mutex::new(Walk {
                next: Some(SlotId(0)),
                left: Vec::new(),
                files: 0,
                removed: 0,
            }),
        }
    }
}

impl Cache {
    /// Whether it is known what all chunk files take. Nothing new is kept before.
    pub fn is_counted(&self) -> bool {
        self.recount.over.load(Ordering::Acquire)
    }

    /// Hands the next piece to the disk pool, if there is one to be done. Does not wait for the disk.
    pub(crate) fn recount_on(self: &Arc<Self>) {
        let idle = self.is_counted() || self.is_closed() || self.watched.bypasses_writes();
        if idle
            || self.ground.executor.has_waiting_reads()
            || self.recount.handed.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let cache = Arc::clone(self);
        let job: Job = Box::new(move || {
            cache.recount_piece();
            cache.recount.handed.store(false, Ordering::Release);
        });
        if self.ground.executor.submit(Lane::Write, job).is_err() {
            self.recount.handed.store(false, Ordering::Release);
        }
    }

    /// As [`Cache::is_counted`], after some pieces. Waits for the disk.
    pub(crate) fn is_counted_for_fill(&self) -> bool {
        if is_broken(Rule::FillAwaitsCount) {
            return true;
        }
        (0..FILL_PIECES).all(|_| self.is_counted() || self.recount_piece()) && self.is_counted()
    }

    /// Does one piece; whether the pass has come on.
    fn recount_piece(&self) -> bool {
        let mut walk = self.recount.walk.lock();
        if self.is_counted() || self.is_closed() {
            return self.is_counted();
        }
        match walk.piece(self) {
            Err(error) => {
                self.disk_failed("counting the chunk files", &error);
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
        let number = id.0 / self.disk.geometry.slots_per_segment();
        if let Some(slot) = self.slots.at(id) {
            return self.recount_slot(&slot);
        }
        let taken = self
            .slots
            .with_segment(number, |table| table.take_free(id))
            .flatten();
        let Some(left) = taken else {
            return Ok(Found::Busy);
        };
        let found = self.ground.storage.stat_chunk(id);
        match found {
            Ok(Some(file)) if is_unknown(file, left) => {
                self.unlink_at(number, id, left.unwrap_or_default())?;
                Ok(Found::Removed)
            }
            other => {
                self.slots
                    .with_segment(number, |table| table.put_back(id, left));
                other.map(|_| Found::Counted)
            }
        }
    }

    /// Notes what the file of a slot takes. One that is longer than its chunk is another tenancy's, and the slot is dropped:
    /// the next tenant cuts it.
    fn recount_slot(&self, slot: &Arc<Slot>) -> io::Result<Found> {
        let tenancy = slot.tenancy.lock();
        if slot.state.lock().retired {
            return Ok(Found::Busy);
        }
        let Some(file) = self.ground.storage.stat_chunk(slot.id)? else {
            return Ok(Found::Counted);
        };
        let pages = pages(file);
        let before = std::mem::replace(&mut slot.state.lock().alloc_4k, pages);
        self.slots.account(slot, before, pages);
        if *tenancy == Tenancy::Founded && file.len > u64::from(slot.valid_len) {
            self.forget_slot(slot);
        } else if before != pages && self.load_crcs(slot).is_some() {
            self.flusher.note(slot);
        }
        Ok(Found::Counted)
    }
}

/// Whether the index does not know what a file at a free place takes.
fn is_unknown(file: ChunkStat, place: Option<FreePlace>) -> bool {
    place.is_none_or(|place| pages(file) > place.alloc_4k)
}

fn pages(file: ChunkStat) -> u32 {
    u32::try_from(file.bytes.div_ceil(4096)).unwrap_or(u32::MAX)
}

impl Walk {
    fn is_over(&self) -> bool {
        self.next.is_none() && self.left.is_empty()
    }

    /// Lists the next directories that have files, and looks at these; whether it has come on.
    fn piece(&mut self, cache: &Cache) -> io::Result<bool> {
        for _ in 0..DIRECTORIES {
            if let (Some(next), true) = (self.next, self.left.len() < FILES) {
                let (found, next) = cache.ground.storage.list_chunks(next)?;
                self.next = next;
                self.files += found.len() as u64;
                self.left.extend(found);
            }
        }
        let per_segment = cache.disk.geometry.slots_per_segment();
        let (before, mut busy, mut loaded) = (self.left.len(), Vec::new(), 0);
        while loaded < LOADS
            && let Some(id) = self.left.pop()
        {
            let found = cache.slots.load(id.0 / per_segment).and_then(|was_loaded| {
                loaded += u64::from(was_loaded) * u64::from(per_segment) * SECTOR_LEN as u64;
                cache.recount_file(id)
            });
            match found {
                Ok(Found::Counted) => {}
                Ok(Found::Removed) => self.removed += 1,
                Ok(Found::Busy) => busy.push(id),
                Err(error) => {
                    self.left.push(id);
                    self.left.append(&mut busy);
                    return Err(error);
                }
            }
        }
        self.left.append(&mut busy);
        Ok(before == 0 || self.left.len() < before)
    }
}
