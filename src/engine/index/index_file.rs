//! The index as records: every read and write of one record goes through here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::health::monitored_storage::MonitoredStorage;
use crate::format::{BlobRecord, Geometry, SECTOR_LEN, Sector, SegmentHeader, SlotRecord};
use crate::storage::{NowRead, Storage};
use crate::units::{SlotId, Stamp, Uuid};

/// The index file, with what its superblock says.
pub(crate) struct IndexFile {
    pub(crate) storage: Arc<MonitoredStorage>,
    pub(crate) uuid: Uuid,
    pub(crate) geometry: Geometry,
    /// Nothing is written: the superblock has a read-only-compatible feature that this version does not know.
    pub(crate) read_only: bool,
    epoch: u64,
    issued: AtomicU64,
}

/// A record that was asked for is not there in this form, or the disk did not answer.
pub(crate) enum Unread {
    Io(io::Error),
    /// The sector is blank, or its checksum or a field does not hold.
    NotWhole,
}

impl IndexFile {
    pub(crate) fn new(
        storage: Arc<MonitoredStorage>,
        uuid: Uuid,
        geometry: Geometry,
        read_only: bool,
        epoch: u64,
    ) -> Self {
        Self {
            storage,
            uuid,
            geometry,
            read_only,
            epoch,
            issued: AtomicU64::new(1),
        }
    }

    /// A stamp that no earlier one equals: the epoch was synced before its first use.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::new(self.epoch, self.issued.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn read_slot(&self, id: SlotId) -> Result<SlotRecord, Unread> {
        let offset = self.geometry.slot_offset(id);
        let sector = self.sector(offset)?;
        SlotRecord::decode(&sector, self.uuid, offset).map_err(|_| Unread::NotWhole)
    }

    /// The record, if it can be read without waiting and is whole.
    pub(super) fn read_slot_now(&self, id: SlotId) -> Option<SlotRecord> {
        let offset = self.geometry.slot_offset(id);
        let mut sector = [0; SECTOR_LEN];
        match self.storage.read_index_now(offset, &mut sector) {
            Ok(NowRead::Bytes(SECTOR_LEN)) => SlotRecord::decode(&sector, self.uuid, offset).ok(),
            _ => None,
        }
    }

    pub(crate) fn write_slot(&self, id: SlotId, record: &SlotRecord) -> io::Result<()> {
        let offset = self.geometry.slot_offset(id);
        self.write(offset, &record.encode(self.uuid, offset))
    }

    pub(super) fn read_blob(&self, number: u32) -> Result<BlobRecord, Unread> {
        let offset = self.geometry.blob_offset(number);
        let sector = self.sector(offset)?;
        BlobRecord::decode(&sector, self.uuid, offset).map_err(|_| Unread::NotWhole)
    }

    pub(super) fn encode_blob(&self, number: u32, record: &BlobRecord) -> Sector {
        record.encode(self.uuid, self.geometry.blob_offset(number))
    }

    pub(super) fn write_blob(&self, number: u32, sector: &Sector) -> io::Result<()> {
        self.write(self.geometry.blob_offset(number), sector)
    }

    pub(super) fn write_header(&self, header: &SegmentHeader) -> io::Result<()> {
        self.write(
            Geometry::segment_header_offset(header.segment),
            &header.encode(self.uuid),
        )
    }

    /// Calls `each` with the place and the bytes of every sector of a table, which is read in large pieces.
    pub(super) fn for_each_sector(
        &self,
        start: u64,
        count: u32,
        mut each: impl FnMut(u32, u64, &Sector),
    ) -> io::Result<()> {
        const PIECE: usize = 1 << 20;
        let mut piece = vec![0; PIECE.min(count as usize * SECTOR_LEN)];
        let mut place = 0;
        while place < count {
            let left = (count - place) as usize * SECTOR_LEN;
            let len = left.min(PIECE);
            let offset = start + u64::from(place) * SECTOR_LEN as u64;
            let (front, _) = piece.split_at_mut(len);
            self.storage.read_index(offset, front)?;
            for (sector, n) in front.as_chunks::<SECTOR_LEN>().0.iter().zip(place..) {
                each(n, start + u64::from(n) * SECTOR_LEN as u64, sector);
                place = n + 1;
            }
        }
        Ok(())
    }

    pub(crate) fn sector(&self, offset: u64) -> Result<Sector, Unread> {
        let mut sector = [0; SECTOR_LEN];
        self.storage
            .read_index(offset, &mut sector)
            .map_err(Unread::Io)?;
        Ok(sector)
    }

    fn write(&self, offset: u64, sector: &Sector) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.storage.write_index(offset, sector)
    }
}
