//! The session: who used the cache last, and whether they closed it.
//!
//! Two copies, as for the superblock. Writing the next one with a raised epoch and syncing it is the one sync of a
//! mount; it makes every stamp of the mount new. The boot id, and the mount of the disk, distinguish a killed daemon
//! (the page cache is whole) from a power cut (everything older is suspect).

use super::geometry::Geometry;
use super::wire::{
    SEQUENCE_END, Sector, SectorError, SectorReader, SectorSeed, SectorWriter, layout,
};
use crate::units::Uuid;

const MAGIC_BYTES: [u8; 4] = *b"LdSE";

layout! {
    MAGIC: 4,
    CRC: 4,
    STATE: 1,
    RESERVED_A: 7,
    SEQUENCE: 8,
    EPOCH: 8,
    TRUSTED_EPOCH: 8,
    BOOT_ID: 16,
    HOST_ID: 16,
    DISK_MOUNT_ID: 8,
    STARTED_AT: 8,
    PID: 4,
    RESERVED_B: 420,
}

/// Whether the last user closed the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SessionState {
    /// In use, or its user died.
    Open = 1,
    /// Closed, with everything synced.
    Clean = 2,
}

/// The record of one mount of the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// Open or clean.
    pub state: SessionState,
    /// Rises with each rewrite; its lowest bit is the number of the copy.
    pub sequence: u64,
    /// The mount's own number; the top bits of every stamp that it issues. Below 2^24.
    pub epoch: u64,
    /// The first epoch of the same boot and the same mount of the cache disk: stamps below it are suspect.
    pub trusted_epoch: u64,
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// The machine's id.
    pub host_id: [u8; 16],
    /// The kernel's number of the mount that holds the cache directory.
    pub disk_mount_id: u64,
    /// When it began, in seconds since 1970.
    pub started_at: u64,
    /// The daemon's process id.
    pub pid: u32,
}

impl Session {
    /// The sector of this session in cache `uuid`.
    pub fn encode(&self, uuid: Uuid) -> Sector {
        SectorWriter::new()
            .u8(STATE, self.state as u8)
            .u64(SEQUENCE, self.sequence)
            .u64(EPOCH, self.epoch)
            .u64(TRUSTED_EPOCH, self.trusted_epoch)
            .bytes(BOOT_ID, &self.boot_id)
            .bytes(HOST_ID, &self.host_id)
            .u64(DISK_MOUNT_ID, self.disk_mount_id)
            .u64(STARTED_AT, self.started_at)
            .u32(PID, self.pid)
            .seal(MAGIC_BYTES, Self::seed(uuid, self.copy()))
    }

    /// The copy, 0 or 1, that this sequence number is written to.
    pub fn copy(&self) -> u32 {
        u32::from(self.sequence & 1 == 1)
    }

    /// The offset in the index that this sequence number is written to.
    pub fn offset(&self) -> u64 {
        Geometry::session_offset(self.copy())
    }

    /// Reads copy `copy`. Errors: blank, magic, checksum, or a field.
    pub fn decode(sector: &Sector, uuid: Uuid, copy: u32) -> Result<Self, SectorError> {
        let read = SectorReader(sector);
        read.check(MAGIC_BYTES, Self::seed(uuid, copy))?;
        read.zero(RESERVED_A)?;
        read.zero(RESERVED_B)?;
        let state = match read.u8(STATE) {
            1 => SessionState::Open,
            2 => SessionState::Clean,
            other => {
                return Err(SectorError::Field {
                    field: STATE.name,
                    value: u64::from(other),
                });
            }
        };
        let session = Self {
            state,
            sequence: read.u64(SEQUENCE),
            epoch: read.u64(EPOCH),
            trusted_epoch: read.u64(TRUSTED_EPOCH),
            boot_id: read.bytes(BOOT_ID),
            host_id: read.bytes(HOST_ID),
            disk_mount_id: read.u64(DISK_MOUNT_ID),
            started_at: read.u64(STARTED_AT),
            pid: read.u32(PID),
        };
        match session {
            s if s.epoch >= 1 << 24 => Err(SectorError::Field {
                field: EPOCH.name,
                value: s.epoch,
            }),
            s if s.trusted_epoch > s.epoch => Err(SectorError::Field {
                field: TRUSTED_EPOCH.name,
                value: s.trusted_epoch,
            }),
            s if s.copy() != copy & 1 || s.sequence >= SEQUENCE_END => Err(SectorError::Field {
                field: SEQUENCE.name,
                value: s.sequence,
            }),
            s => Ok(s),
        }
    }

    /// The last session of an index, if any: the valid copy with the higher sequence number.
    pub fn choose(copies: &[Sector; 2], uuid: Uuid) -> Option<Self> {
        let [a, b] = copies;
        let valid = [Self::decode(a, uuid, 0), Self::decode(b, uuid, 1)];
        valid
            .into_iter()
            .flatten()
            .max_by_key(|session| session.sequence)
    }

    fn seed(uuid: Uuid, copy: u32) -> SectorSeed {
        Geometry::seed(uuid, Geometry::session_offset(copy))
    }
}
