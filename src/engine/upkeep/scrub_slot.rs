//! What the scrub does to one slot, piece by piece.
//!
//! A piece locks the tenancy for as long as it reads at most 1 MiB: meanwhile nobody writes the slot's data or sector, and
//! nobody takes the slot away, so that what it finds is so. Its read may bring pages in (some file systems read through the
//! page cache whatever they are asked): no block of the slot counts as verified meanwhile.
//!
//! A suspect slot keeps its suspicion until every block of it held. While a slot is suspect nobody fills it, so what
//! held in one piece still does in the next; whoever touches it first meanwhile checks it whole, and the scrub is spared
//! the rest.

use std::sync::Arc;

use crate::engine::api::cache::Cache;
use crate::engine::index::index_file::Unread;
use crate::engine::index::slot::Slot;
use crate::engine::proof::verify::{self, ReadFrom};
use crate::engine::upkeep::scrub::Done;
use crate::units::BlockMask;

/// The most that one piece reads.
const PIECE: u64 = 1 << 20;

/// A slot that is being gone through.
pub(crate) struct Work {
    slot: Arc<Slot>,
    /// Blocks that are still to be read.
    left: BlockMask,
    /// The checksums that a suspect slot is held against, from its first piece on.
    crcs: Option<Box<[u32; 64]>>,
    suspect: bool,
    /// Bytes on disk that were not told as passed yet.
    untold: u64,
}

impl Work {
    /// What there is to be read of a slot; `None` where that is nothing.
    pub(crate) fn new(slot: &Arc<Slot>, only_suspect: bool) -> Option<Self> {
        let state = slot.state.lock();
        let wanted = !state.retired && (state.suspect || !only_suspect);
        let wanted = wanted && !state.present.is_empty();
        wanted.then(|| Self {
            slot: Arc::clone(slot),
            left: state.present,
            crcs: None,
            suspect: state.suspect,
            untold: u64::from(state.alloc_4k) << 12,
        })
    }

    /// Reads and checks the next piece; true where that was the last.
    pub(crate) fn piece(&mut self, cache: &Arc<Cache>, done: &mut Done) -> bool {
        let over = self.check(cache, done).is_none() || self.left.is_empty();
        let told = match over {
            true => self.untold,
            false => self.untold.min(done.read),
        };
        self.untold -= told;
        done.passed += told;
        over
    }

    /// `None` where there is no more to be done for the slot.
    fn check(&mut self, cache: &Arc<Cache>, done: &mut Done) -> Option<()> {
        let slot = Arc::clone(&self.slot);
        let _tenancy = slot.tenancy.lock();
        let piece = {
            let mut state = slot.state.lock();
            // One that is suspect no more was checked whole by whoever touched it first.
            if state.retired || state.suspect != self.suspect {
                return None;
            }
            let piece = first_of(
                self.left.and(state.present),
                PIECE / slot.chunk.block_size(),
            );
            state.scrubbing = piece;
            state.doubt();
            piece
        };
        let _held = Held(&slot);
        let crcs = self.checksums(cache, &slot, done)?;
        let found = verify::compare(cache, &slot, piece, &crcs, ReadFrom::Disk);
        self.left = self.left.without(piece.without(found.unread));
        done.read = found.read;
        done.checked = found.good.len() as u64;
        done.bad = u64::from(found.bad.count());
        done.failed = found.failed;
        if found.bad.is_empty() && !found.unread.is_empty() {
            // They hold nothing against the slot, and nothing for it.
            return Some(());
        }
        if found.bad.is_empty() {
            if self.suspect && self.left.is_empty() {
                verify::trust(cache, &slot, crcs);
            }
            return Some(());
        }
        cache.counters.blocks_bad.add(done.bad);
        if self.suspect {
            done.dropped = 1;
            cache.forget_slot(&slot);
            return None;
        }
        verify::forget_held(cache, &slot, found.bad);
        Some(())
    }

    /// The checksums, from memory or from the sector, which is not written meanwhile.
    fn checksums(
        &mut self,
        cache: &Cache,
        slot: &Arc<Slot>,
        done: &mut Done,
    ) -> Option<Box<[u32; 64]>> {
        if let Some(crcs) = slot.state.lock().crcs.clone() {
            return Some(crcs);
        }
        let record = match cache.disk.read_slot(slot.id) {
            Err(Unread::Io(error)) => {
                cache.disk_failed("reading a slot's sector", &error);
                done.failed = true;
                return None;
            }
            Ok(record) if slot.owns(&slot.state.lock(), &record) => record,
            Ok(_) | Err(Unread::NotWhole) => {
                cache.forget_slot(slot);
                done.dropped = 1;
                return None;
            }
        };
        let crcs = Box::new(record.crcs);
        // What held in the pieces before held against these.
        let same = self.crcs.get_or_insert_with(|| crcs.clone()) == &crcs;
        (same || !self.suspect).then_some(crcs)
    }
}

/// The blocks that a piece reads, which nobody may call verified until it is over.
struct Held<'a>(&'a Slot);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.state.lock().scrubbing = BlockMask::NONE;
    }
}

/// The first `most` blocks of a mask, and at least one of them.
fn first_of(mask: BlockMask, most: u64) -> BlockMask {
    let most = usize::try_from(most.max(1)).unwrap_or(usize::MAX);
    mask.iter()
        .take(most)
        .fold(BlockMask::NONE, |mask, n| mask.with(BlockMask::one(n)))
}
