//! What the scrub does to one slot, piece by piece.
//!
//! A piece locks the tenancy for as long as it reads at most 1 MiB: meanwhile no fill writes the slot's data or sector,
//! and no eviction takes the slot away, so that what it finds is so. Its read may bring pages in (some file systems
//! read through the page cache whatever they are asked): no block of the slot counts as verified meanwhile.
//!
//! A suspect slot keeps its suspicion until every block of it held. While a slot is suspect no fill writes to it, so
//! what held in one piece still does in the next; the first read or fill that touches it meanwhile checks it whole, and
//! the scrub is spared the rest.

use std::sync::Arc;

use crate::engine::index::cache_index::Index;
use crate::engine::index::checksums::{Checksums, NoRecord};
use crate::engine::index::slot::Slot;
use crate::engine::proof::cache_proof::Proof;
use crate::engine::proof::compare::ReadFrom;

use crate::units::BlockMask;

/// The most that one piece reads.
const PIECE: u64 = 1 << 20;

/// What one piece has done.
#[derive(Default)]
pub(crate) struct Done {
    /// Bytes that were read.
    pub(crate) read: u64,
    /// Bytes on disk that the pass has come on by.
    pub(crate) passed: u64,
    pub(crate) checked: u64,
    pub(crate) bad: u64,
    pub(crate) dropped: u64,
    /// A read failed.
    pub(crate) failed: bool,
    /// There is nothing more to do.
    pub(super) over: bool,
}

/// A slot that is being gone through.
pub(crate) struct Work {
    slot: Arc<Slot>,
    /// Blocks that are still to be read.
    left: BlockMask,
    /// The checksums that a suspect slot is held against, from its first piece on.
    crcs: Option<Checksums>,
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
    pub(crate) fn piece(&mut self, proof: &Proof, done: &mut Done) -> bool {
        let over = self.check(proof, done).is_none() || self.left.is_empty();
        let told = if over {
            self.untold
        } else {
            self.untold.min(done.read)
        };
        self.untold -= told;
        done.passed += told;
        over
    }

    /// `None` where there is no more to be done for the slot.
    fn check(&mut self, proof: &Proof, done: &mut Done) -> Option<()> {
        let slot = Arc::clone(&self.slot);
        let _tenancy = slot.tenancy.lock();
        let piece = {
            let mut state = slot.state.lock();
            // One that is suspect no more was checked whole at first touch.
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
        let crcs = self.checksums(&proof.index, &slot, done)?;
        let found = proof.compare(&slot, piece, &crcs, ReadFrom::Disk);
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
                proof.trust(&slot, crcs);
            }
            return Some(());
        }
        proof.count_bad(found.bad);
        if self.suspect {
            done.dropped = 1;
            proof.index.drop_slot(&slot);
            return None;
        }
        proof.forget_blocks(&slot, found.bad);
        Some(())
    }

    /// The checksums, from memory or from the sector, which is not written meanwhile.
    fn checksums(&mut self, index: &Index, slot: &Arc<Slot>, done: &mut Done) -> Option<Checksums> {
        let from_memory = slot.state.lock().crcs.is_some();
        let crcs = match index.checksums(slot) {
            Ok(crcs) => crcs,
            Err(NoRecord::DiskFailed) => {
                done.failed = true;
                return None;
            }
            Err(NoRecord::Dropped) => {
                done.dropped = 1;
                return None;
            }
        };
        if from_memory {
            return Some(crcs);
        }
        // What held in the pieces before held against these.
        let same = self.crcs.get_or_insert_with(|| crcs.clone()) == &crcs;
        (same || !self.suspect).then_some(crcs)
    }
}

/// The blocks that a piece reads, which no reader may call verified until it is over.
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
