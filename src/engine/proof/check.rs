//! Checking: blocks whose bytes are not in memory, or were never checked in this mount, come from disk.
//!
//! The whole block is read once into a buffer and checked, and the readers are answered from that buffer: what the disk
//! would say at a second read does not matter. A block that does not pass is forgotten; a slot
//! that was stamped in another boot is checked whole, and one bad block drops it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::MutexGuard;

use crate::engine::index::checksums::Checksums;
use crate::engine::index::slot::{Slot, Tenancy};
use crate::engine::proof::cache_proof::Proof;
use crate::engine::proof::compare::{Compared, ReadFrom};
use crate::runtime::test_faults::{Rule, is_broken};
use crate::units::BlockMask;

/// How long a reader waits for a write to its slot; then the remote is the quicker one.
const WRITE_PATIENCE: Duration = Duration::from_millis(500);

impl Proof {
    /// Reads and checks blocks of a slot; those that are missing from the answer did not pass.
    pub(crate) fn read_blocks(&self, slot: &Arc<Slot>, blocks: BlockMask) -> Vec<(u32, Bytes)> {
        // A suspect slot is checked whole, once, by the first reader that comes.
        let suspect = slot.state.lock().suspect;
        if suspect {
            let Some(_tenancy) = self.tenancy_of(slot) else {
                return Vec::new();
            };
            if self.make_trusted(slot).is_none() {
                return Vec::new();
            }
        }
        let Some(crcs) = self.checksums(slot) else {
            return Vec::new();
        };
        let Compared { good, bad, .. } = self.compare(slot, blocks, &crcs, ReadFrom::Memory);
        if !bad.is_empty() {
            self.count_bad(bad);
            // Where a writer never lets go, the next reader finds them bad once more.
            if let Some(_tenancy) = self.tenancy_of(slot) {
                self.forget_blocks(slot, bad);
            }
        }
        good
    }

    /// The write lock of a slot, for a reader: not waited for where it is held by a write that does not come back.
    fn tenancy_of<'a>(&self, slot: &'a Slot) -> Option<MutexGuard<'a, Tenancy>> {
        if self.index.storage.bypasses_writes() {
            slot.tenancy.try_lock()
        } else {
            slot.tenancy.try_lock_for(WRITE_PATIENCE)
        }
    }

    /// The checksums of a slot. A sector that is just being written may look damaged; it is read once more when nothing
    /// writes it.
    fn checksums(&self, slot: &Arc<Slot>) -> Option<Checksums> {
        self.index.try_checksums(slot).or_else(|| {
            let _tenancy = self.tenancy_of(slot)?;
            self.index.checksums(slot).ok()
        })
    }

    /// Checks a suspect slot whole: afterwards it has a new stamp, or is dropped. Nothing happens to one that is not
    /// suspect. Called with the tenancy locked.
    pub(crate) fn make_trusted(&self, slot: &Arc<Slot>) -> Option<()> {
        let present = {
            let state = slot.state.lock();
            match (state.retired, state.suspect) {
                (true, _) if !is_broken(Rule::FillSeesRetired) => return None,
                (_, false) => return Some(()),
                (_, true) => state.present,
            }
        };
        let record = self.index.read_record(slot).ok()?;
        let (mut bad, mut unread) = (BlockMask::NONE, BlockMask::NONE);
        for n in present.iter() {
            // Block by block, so that a large chunk does not take its size in memory.
            let found = self.compare(slot, BlockMask::one(n), &record.crcs, ReadFrom::Memory);
            bad = bad.with(found.bad);
            unread = unread.with(found.unread);
        }
        // A disk that was not asked has not said anything against it.
        if bad.is_empty() && !unread.is_empty() {
            return None;
        }
        if !bad.is_empty() {
            self.count_bad(bad);
            self.index.drop_slot(slot);
            return None;
        }
        self.trust(slot, Box::new(record.crcs));
        Some(())
    }

    /// A suspect slot held against these checksums, whole. Called with the tenancy locked.
    pub(crate) fn trust(&self, slot: &Arc<Slot>, crcs: Checksums) {
        let mut state = slot.state.lock();
        state.suspect = false;
        if self.index.file.read_only {
            return;
        }
        // The new stamp is one of this boot; it reaches the sector with the next flush, checksums and all.
        state.stamp = self.index.file.stamp();
        state.crcs = Some(crcs);
        drop(state);
        self.index.dirty.note(slot);
    }

    /// Forgets blocks that did not pass. The sector on disk may claim them for a little longer; their checksum still
    /// does not fit. Called with the tenancy locked.
    pub(crate) fn forget_blocks(&self, slot: &Arc<Slot>, bad: BlockMask) {
        if self.index.load_checksums(slot).is_none() {
            return;
        }
        let mut state = slot.state.lock();
        if state.retired {
            return;
        }
        state.present = state.present.without(bad);
        state.verified = state.verified.without(bad);
        drop(state);
        self.index.dirty.note(slot);
    }

    /// Counts blocks whose bytes did not pass their checksum.
    pub(crate) fn count_bad(&self, bad: BlockMask) {
        self.services
            .counters
            .blocks_bad
            .add(u64::from(bad.count()));
    }
}
