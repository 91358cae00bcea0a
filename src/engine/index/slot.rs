//! One slot in one tenancy: what its file holds and what of that is proven.
//!
//! Invariants:
//!
//! * `verified` means: in the page cache since it was checked. A read from disk may bring any page of the file in: the
//!   kernel reads around what it is asked for now and then, whatever it was advised. So a refused read that must not
//!   wait ends with no block verified, `state` locked from before it; and a read that waits begins with none, and until
//!   it is over (`checking`, `scrubbing`) none becomes so. No reader finds the bit set over bytes that were not
//!   checked.
//! * `tenancy` is locked while data or the sector is written, until the system call returns. A slot whose lock is held
//!   is no victim, and a retired slot is written by no fill of the old tenancy.
//! * `crcs` are in memory exactly while the sector on disk lacks some of them (the slot is dirty).
//! * A retired slot stays retired: its place in the index belongs to another tenant.
//!
//! Lock order: a blob's flight, a segment's table, `tenancy`, `state`. Only a read that cannot wait happens under
//! `state`.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::index::free_places::FreePlace;
use crate::engine::index::saved_priority::{self, SavedPriorities};
use crate::format::{SlotFlags, SlotKind, SlotRecord};
use crate::runtime::locks::Mutex;
use crate::runtime::test_faults::{Rule, is_broken};
use crate::storage::ChunkFile;
use crate::units::{BlockMask, ChunkSize, SlotId, Stamp, Tag};

/// One slot in one tenancy.
pub(crate) struct Slot {
    pub(crate) id: SlotId,
    pub(crate) generation: u32,
    pub(crate) tag: Tag,
    pub(crate) chunk_no: u64,
    pub(crate) chunk: ChunkSize,
    pub(crate) valid_len: u32,
    pub(crate) blob_hint: Option<u32>,
    /// Read again since the policy last asked.
    pub(crate) used: AtomicBool,
    /// The write lock, and whether the sector that names this tenancy was written.
    pub(crate) tenancy: Mutex<Tenancy>,
    pub(crate) state: Mutex<SlotState>,
}

/// How far a tenancy has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tenancy {
    /// The sector still names the previous tenant (or none): no data may be written.
    Pending,
    /// The sector names this tenancy.
    Begun,
}

/// What is known of a slot's file.
pub(crate) struct SlotState {
    pub(crate) present: BlockMask,
    pub(crate) verified: BlockMask,
    /// Blocks that a pool job is reading from disk.
    pub(crate) checking: BlockMask,
    /// Blocks that the scrub is reading: no reader may call them verified.
    pub(crate) scrubbing: BlockMask,
    /// How often it was noted that any page of the file may have come in from disk.
    pub(crate) doubts: u64,
    /// How many leases there are on the slot.
    pub(crate) leases: u8,
    /// Blocks that a reader has had: a chunk is in use once one of them is read again.
    pub(crate) read: BlockMask,
    /// The slot belongs to another tenant now.
    pub(crate) retired: bool,
    /// Its place, while no tenant may have it: a check that began before the slot was dropped still reads the file.
    pub(crate) held: Option<FreePlace>,
    /// Stamped in another boot: checked whole before it is read or filled.
    pub(crate) suspect: bool,
    pub(crate) stamp: Stamp,
    pub(crate) alloc_4k: u32,
    /// As the sector has them, the saved priority included.
    pub(crate) flags: SlotFlags,
    /// Noted, in this tenancy, to have its priority saved.
    pub(crate) noted: bool,
    pub(crate) last_use: u32,
    /// The checksums, while the sector is dirty.
    pub(crate) crcs: Option<Box<[u32; 64]>>,
}

impl Slot {
    /// A slot that a segment's table brought from disk. A suspect one will get a stamp of this session, which is not to
    /// vouch for a blob record that it was given in another boot and that may have been lost with that.
    pub(super) fn from_record(id: SlotId, record: &SlotRecord, trusted_epoch: u64) -> Self {
        let suspect = record.stamp.epoch() < trusted_epoch;
        Self {
            id,
            generation: record.generation,
            tag: record.tag,
            chunk_no: record.chunk_no,
            chunk: record.chunk,
            valid_len: record.valid_len,
            blob_hint: record.blob_hint.filter(|_| !suspect),
            used: AtomicBool::new(record.flags.has(SlotFlags::VISITED)),
            tenancy: Mutex::new(Tenancy::Begun),
            state: Mutex::new(SlotState {
                present: record.present,
                verified: BlockMask::NONE,
                checking: BlockMask::NONE,
                scrubbing: BlockMask::NONE,
                doubts: 0,
                leases: 0,
                read: record.present,
                retired: false,
                held: None,
                suspect,
                stamp: record.stamp,
                alloc_4k: record.alloc_4k,
                flags: record.flags,
                noted: false,
                last_use: record.last_use,
                crcs: None,
            }),
        }
    }

    /// Notes that a reader gets these blocks. One pass through a chunk, in however many reads, is no use of it: only a
    /// read whose last block was read before is. The first one is noted, if the slot's sector does not tell of it.
    pub(crate) fn note_read(
        &self,
        state: &mut SlotState,
        blocks: BlockMask,
        priorities: &SavedPriorities,
    ) {
        if blocks.last().is_some_and(|last| state.read.has(last)) {
            self.used.store(true, Ordering::Relaxed);
            if !state.noted && state.flags.0 & saved_priority::BITS == 0 {
                state.noted = priorities.note(self.id);
            }
        }
        state.read = state.read.with(blocks);
    }

    /// Whether the chunk was read again since this was last asked.
    pub(super) fn take_used(&self) -> bool {
        self.used.load(Ordering::Relaxed) && self.used.swap(false, Ordering::Relaxed)
    }

    /// The file of this tenancy.
    pub(crate) fn file(&self) -> ChunkFile {
        ChunkFile {
            slot: self.id,
            generation: self.generation,
        }
    }

    /// What the place of the slot remembers once it is free.
    pub(super) fn free_place(&self) -> FreePlace {
        let state = self.state.lock();
        FreePlace {
            generation: self.generation,
            alloc_4k: state.alloc_4k,
            flags: state.flags,
        }
    }

    /// The bytes of block `block`.
    pub(crate) fn block_len(&self, block: u32) -> usize {
        let len = self.chunk.block_len(u64::from(self.valid_len), block);
        usize::try_from(len).unwrap_or_default()
    }

    /// The record of the slot as `state` has it, with these checksums.
    pub(crate) fn record(&self, state: &SlotState, crcs: &[u32; 64]) -> SlotRecord {
        let mut crcs = *crcs;
        for (crc, n) in crcs.iter_mut().zip(0u32..) {
            if !state.present.has(n) {
                *crc = 0;
            }
        }
        SlotRecord {
            kind: SlotKind::Data,
            chunk: self.chunk,
            device: 0,
            flags: state.flags,
            stamp: state.stamp,
            tag: self.tag,
            chunk_no: self.chunk_no,
            present: state.present,
            valid_len: self.valid_len,
            blob_hint: self.blob_hint,
            last_use: state.last_use,
            generation: self.generation,
            alloc_4k: state.alloc_4k,
            crcs,
        }
    }

    /// Whether a record read again from disk is this tenancy's: tag and stamp equal those in memory.
    pub(crate) fn owns(&self, state: &SlotState, record: &SlotRecord) -> bool {
        record.tag == self.tag && record.chunk_no == self.chunk_no && record.stamp == state.stamp
    }
}

/// The number of doubts when something began; `None` where another read was reading from disk then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Witness(Option<u64>);

impl SlotState {
    /// A caller that is about to put blocks into the page cache, by a write or by the read of blocks that it checks
    /// itself (`own`), asks for this first, and may call them verified with it afterwards.
    pub(crate) fn witness(&self, own: BlockMask) -> Witness {
        let alone = self.checking.without(own).is_empty() && self.scrubbing.is_empty();
        Witness(alone.then_some(self.doubts))
    }

    /// Notes that these blocks are right and have been in the page cache since the witness was called, unless any page
    /// may have come in from disk since then: one of theirs may have been dropped, and come back as it was before.
    pub(crate) fn verify(&mut self, blocks: BlockMask, witness: Witness) {
        let undisturbed = self.checking.is_empty() && self.scrubbing.is_empty();
        let heeded = undisturbed && witness.0 == Some(self.doubts);
        if heeded || is_broken(Rule::VerifyHeedsDoubts) {
            self.verified = self.verified.with(blocks.and(self.present));
        }
    }

    /// Notes that any page of the file may come in from disk, or may have.
    pub(crate) fn doubt(&mut self) {
        self.verified = BlockMask::NONE;
        self.doubts += 1;
    }

    /// Ends checks of these blocks. With the last one of a slot that was dropped meanwhile its place is free: the
    /// caller hands it on ([`crate::engine::api::cache::Cache::hand_on`]).
    #[must_use]
    pub(crate) fn end_checks(&mut self, blocks: BlockMask) -> Option<FreePlace> {
        self.checking = self.checking.without(blocks);
        self.place_if_unused()
    }

    /// The place of a slot that was dropped, once no check and no lease is on its file.
    #[must_use]
    pub(super) fn place_if_unused(&mut self) -> Option<FreePlace> {
        if self.is_in_use() {
            return None;
        }
        self.held.take()
    }

    /// Whether a check reads the file, or a lease keeps it.
    pub(super) fn is_in_use(&self) -> bool {
        !self.checking.is_empty() || self.leases > 0
    }

    /// Ends the tenancy in memory: from here on no reader is answered from the slot.
    pub(crate) fn retire(&mut self) {
        self.retired = true;
        if is_broken(Rule::InlineSeesRetired) {
            return;
        }
        self.present = BlockMask::NONE;
        self.verified = BlockMask::NONE;
        self.crcs = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_check_of_a_dropped_slot_hands_its_place_on() {
        let record = SlotRecord::free(Stamp::default(), 3, 5, SlotFlags::default());
        let slot = Slot::from_record(SlotId(0), &record, 0);
        let left = slot.free_place();
        let mut state = slot.state.lock();
        state.checking = BlockMask::span(0..2);
        state.retire();
        state.held = Some(left);
        assert!(state.end_checks(BlockMask::one(0)).is_none());
        assert_eq!(state.end_checks(BlockMask::one(1)).unwrap().generation, 3);
        assert!(state.end_checks(BlockMask::one(1)).is_none(), "once");
    }
}
