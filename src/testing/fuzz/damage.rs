//! Damage of a cache's sectors and files as the input of a fuzz target says it.

use crate::format::{Geometry, SECTOR_LEN, Sector, Superblock, reseal};
use crate::storage::{ChunkFile, Storage};
use crate::testing::CrashStore;
use crate::units::{SlotId, Uuid};

/// An input of more patches than this only takes longer.
pub(super) const PATCHES_MAX: usize = 64;
/// The bytes of one patch: which sector, two of where in it, a value, what to do.
pub(super) const PATCH_LEN: usize = 5;

/// Where a store can be damaged.
pub(super) struct Damage {
    uuid: Uuid,
    /// The offsets of all sectors that mean something, the superblocks first.
    places: Vec<u64>,
    /// The offset of the third superblock.
    backup: u64,
    slots: u32,
}

impl Damage {
    /// The places of a store that is whole.
    pub(super) fn of(store: &CrashStore) -> Self {
        let superblock = Superblock::decode(&read(store, 0), 0).expect("the store is whole");
        let geometry = superblock.geometry;
        let heads = [
            Geometry::superblock_offset(0),
            Geometry::superblock_offset(1),
            Geometry::session_offset(0),
            Geometry::session_offset(1),
            Geometry::segment_header_offset(0),
        ];
        let backup = geometry.backup_offset();
        let tables = (geometry.slot_table_offset(0)..backup).step_by(SECTOR_LEN);
        Self {
            uuid: superblock.uuid,
            places: heads.into_iter().chain(tables).chain([backup]).collect(),
            backup,
            slots: geometry.n_slots(),
        }
    }

    /// Does what one patch says.
    pub(super) fn apply(&self, store: &CrashStore, patch: &[u8; PATCH_LEN]) {
        let [sector, low, high, value, verb] = *patch;
        let place = usize::from(sector) % self.places.len();
        let at = usize::from(u16::from_le_bytes([low, high])) % SECTOR_LEN;
        let offset = self.places[place];
        let mut sector = read(store, offset);
        match verb >> 1 & 3 {
            0 => sector[at] = value,
            // A record of another place, as a misdirected write leaves it.
            1 => sector = read(store, self.places[usize::from(value) % self.places.len()]),
            2 => sector = [0; SECTOR_LEN],
            _ => {
                let slot = SlotId(u32::from(value) % self.slots);
                match verb >> 3 & 1 {
                    0 => drop(store.remove_chunk(slot)),
                    _ => write_chunk(store, slot, at as u64 * 128, &[value]),
                }
            }
        }
        if verb & 1 == 1 {
            let owner = if place < 2 || offset == self.backup {
                Uuid::default()
            } else {
                self.uuid
            };
            reseal(&mut sector, Geometry::seed(owner, offset));
        }
        let written = store.write_index(offset, &sector);
        written.expect("the store takes every write within the index");
    }
}

pub(super) fn read(store: &CrashStore, offset: u64) -> Sector {
    let mut sector = [0; SECTOR_LEN];
    let read = store.read_index(offset, &mut sector);
    read.expect("the store has every byte of the index");
    sector
}

pub(super) fn write_chunk(store: &CrashStore, slot: SlotId, offset: u64, data: &[u8]) {
    let file = ChunkFile {
        slot,
        generation: 1,
    };
    let written = store.write_chunk(file, offset, data);
    written.expect("the store takes every write");
}
