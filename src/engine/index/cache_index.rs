//! The index of one cache, put together.

use std::sync::Arc;

use crate::engine::health::monitored_storage::MonitoredStorage;
use crate::engine::index::dirty_slots::DirtySlots;
use crate::engine::index::index_file::IndexFile;
use crate::engine::index::records::Records;
use crate::engine::index::saved_priority::SavedPriorities;
use crate::engine::index::slots::{Lookup, Slots};
use crate::engine::services::Services;
use crate::format::SegmentHeader;
use crate::storage::{DiskOp, IndexPart};
use crate::units::{ChunkSize, Tag};

/// The index: what is on disk, what of it is in memory, and what of that the disk lacks.
pub(crate) struct Index {
    pub(crate) services: Arc<Services>,
    pub(crate) storage: Arc<MonitoredStorage>,
    pub(crate) file: Arc<IndexFile>,
    pub(crate) slots: Slots,
    pub(crate) records: Records,
    pub(crate) dirty: DirtySlots,
    pub(crate) priorities: SavedPriorities,
}

impl Index {
    /// The index in `file`, nothing of it loaded. Slots of before `trusted_epoch` are suspect; `headers` are those of
    /// all segments, as far as they are whole.
    pub(crate) fn new(
        services: Arc<Services>,
        storage: Arc<MonitoredStorage>,
        file: IndexFile,
        trusted_epoch: u64,
        headers: &[Option<SegmentHeader>],
    ) -> Self {
        let file = Arc::new(file);
        Self {
            slots: Slots::new(Arc::clone(&file), trusted_epoch, headers),
            records: Records::new(Arc::clone(&file)),
            dirty: DirtySlots::default(),
            priorities: SavedPriorities::default(),
            services,
            storage,
            file,
        }
    }

    /// The bytes on disk, index file included.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.file.geometry.index_len() + self.slots.allocated()
    }

    /// The bytes of a version that its slots hold. Loads the segments that it needs.
    pub(crate) fn cached_bytes(&self, tag: Tag, chunk: ChunkSize, size: u64) -> u64 {
        let held = |chunk_no: u64| {
            self.slots.load_for(tag, chunk_no).ok()?;
            let Lookup::Found(slot) = self.slots.find_now(tag, chunk_no) else {
                return None;
            };
            let present = slot.state.lock().present;
            Some(
                present
                    .iter()
                    .map(|n| slot.block_len(n) as u64)
                    .sum::<u64>(),
            )
        };
        (0..size.div_ceil(chunk.bytes())).filter_map(held).sum()
    }

    /// Writes the header of a segment, if that is loaded: after a restart it is believed until the segment is loaded
    /// again.
    pub(crate) fn write_header_of(&self, number: u32) {
        let header = self.slots.header(number);
        if let Some(Err(error)) = header.map(|header| self.file.write_header(&header)) {
            self.storage
                .report(DiskOp::WriteIndex(IndexPart::SegmentHeader), &error);
        }
    }
}
