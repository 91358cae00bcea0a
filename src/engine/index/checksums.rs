//! The checksums of a slot: in memory while its sector lacks some of them, otherwise in the sector.

use std::sync::Arc;

use crate::engine::index::cache_index::Index;
use crate::engine::index::index_file::Unread;
use crate::engine::index::slot::{Slot, SlotState};
use crate::format::SlotRecord;
use crate::storage::{DiskOp, IndexPart};

/// The checksums of the blocks of a slot.
pub(crate) type Checksums = Box<[u32; 64]>;

/// Why the record of a slot cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoRecord {
    /// The disk failed: nothing follows for the slot.
    DiskFailed,
    /// The sector is not the one that is known: the slot was dropped.
    Dropped,
}

impl Index {
    /// The sector of a slot, if it is still the one that is known: tag and stamp equal those in memory. Otherwise the
    /// slot is dropped. An error of the disk drops nothing. Called with the tenancy locked: nothing is writing the
    /// sector.
    pub(crate) fn read_record(&self, slot: &Arc<Slot>) -> Result<SlotRecord, NoRecord> {
        match self.file.read_slot(slot.id) {
            Ok(record) if slot.owns(&slot.state.lock(), &record) => Ok(record),
            Err(Unread::Io(error)) => {
                self.storage
                    .report(DiskOp::ReadIndex(IndexPart::Slot), &error);
                Err(NoRecord::DiskFailed)
            }
            Ok(_) | Err(Unread::NotWhole) => {
                self.drop_slot(slot);
                Err(NoRecord::Dropped)
            }
        }
    }

    /// The checksums of a slot whose tenancy is locked. Waits for the disk.
    pub(crate) fn checksums(&self, slot: &Arc<Slot>) -> Result<Checksums, NoRecord> {
        if let Some(crcs) = slot.state.lock().crcs.clone() {
            return Ok(crcs);
        }
        self.read_record(slot).map(|record| Box::new(record.crcs))
    }

    /// The checksums of a slot, if they can be had while others may write its sector: one that is just being written
    /// may look damaged, and says nothing then. Waits for the disk.
    pub(crate) fn try_checksums(&self, slot: &Slot) -> Option<Checksums> {
        if let Some(crcs) = slot.state.lock().crcs.clone() {
            return Some(crcs);
        }
        let record = self.file.read_slot(slot.id).ok()?;
        let owned = slot.owns(&slot.state.lock(), &record);
        owned.then(|| Box::new(record.crcs))
    }

    /// The checksum of one block of a slot whose state is locked, if it can be had without waiting.
    pub(crate) fn checksum_now(&self, slot: &Slot, state: &SlotState, block: u32) -> Option<u32> {
        match &state.crcs {
            Some(crcs) => crcs.get(block as usize).copied(),
            None => {
                let record = self.file.read_slot_now(slot.id)?;
                record.crc_of(block).filter(|_| slot.owns(state, &record))
            }
        }
    }

    /// Has the checksums of a slot in memory, so that some can be added. Drops the slot where its sector is not the one
    /// that is known. Called with the tenancy locked.
    pub(crate) fn load_checksums(&self, slot: &Arc<Slot>) -> Option<()> {
        {
            let mut state = slot.state.lock();
            if state.crcs.is_none() && state.present.is_empty() {
                state.crcs = Some(Box::new([0; 64]));
            }
            if state.crcs.is_some() {
                return Some(());
            }
        }
        let record = self.read_record(slot).ok()?;
        let mut state = slot.state.lock();
        state.crcs.get_or_insert_with(|| Box::new(record.crcs));
        Some(())
    }
}
