//! The target `check`: the checker on a small cache of which the input damages some sectors and files.
//!
//! Held here: no damage makes the checker panic, hang or give up, and what it puts right stays right, so that a second
//! check finds nothing.

use std::ops::ControlFlow;

use crate::check::{Disk, Mode, Plan, run};
use crate::format::{
    BlobKind, BlobRecord, Geometry, SECTOR_LEN, Sector, Session, SessionState, SlotFlags, SlotKind,
    SlotRecord, Superblock, block_crc, reseal,
};
use crate::storage::{ChunkFile, Storage};
use crate::testing::CrashStore;
use crate::units::{BlobKey, BlockMask, ChunkSize, SlotId, Stamp, Tag, Timestamp, Uuid};

/// Slots, blob records and heap cells of the cache: eight each, in one segment.
const RECORDS: u64 = 8;
const CAPACITY: u64 = 16 << 20;
/// An input of more patches than this only takes longer.
const PATCHES_MAX: usize = 64;
/// The bytes of one patch: which sector, two of where in it, a value, what to do.
const PATCH_LEN: usize = 5;
const BLOCK: &[u8] = &[0x5a; 4096];

/// The target. Each five bytes are a patch: the sector, the byte in it (two bytes), its new value, and what else to do.
pub fn check(data: &[u8]) {
    let (store, uuid) = cache();
    let places = places();
    for patch in data.as_chunks::<PATCH_LEN>().0.iter().take(PATCHES_MAX) {
        let [sector, low, high, value, verb] = *patch;
        let place = usize::from(sector) % places.len();
        let at = usize::from(u16::from_le_bytes([low, high])) % SECTOR_LEN;
        damage(&store, uuid, &places, place, at, value, verb);
    }
    if !opens(&store) {
        return;
    }
    let observe = &mut |_| ControlFlow::Continue(());
    run(Disk::of(&store), Mode::Repair, Plan::DEEP, observe)
        .expect("the store has no other faults");
    let second = run(Disk::of(&store), Mode::Check, Plan::DEEP, observe);
    let left = second.expect("the store has no other faults").findings;
    assert!(
        left.is_empty(),
        "{} findings after a repair: {:?}",
        left.len(),
        left.first()
    );
}

/// Whether a superblock holds and the index has the length that it says: otherwise a cache is refused before it is
/// checked.
fn opens(store: &CrashStore) -> bool {
    let copies = [0, 1].map(|copy| read(store, Geometry::superblock_offset(copy)));
    let offset = geometry().backup_offset();
    let chosen = Superblock::choose_or_backup(&copies, Some((&read(store, offset), offset)));
    chosen.is_ok_and(|superblock| store.index_len().ok() == Some(superblock.geometry.index_len()))
}

fn damage(
    store: &CrashStore,
    uuid: Uuid,
    places: &[u64],
    place: usize,
    at: usize,
    value: u8,
    verb: u8,
) {
    let Some(&offset) = places.get(place) else {
        return;
    };
    let mut sector = read(store, offset);
    match verb >> 1 & 3 {
        // A record of a neighbour, as a misdirected write leaves it.
        1 => sector = read(store, places.get(place / 2).copied().unwrap_or(offset)),
        2 => sector = [0; SECTOR_LEN],
        3 => {
            let slot = SlotId(u32::from(value) % 8);
            match verb >> 3 & 1 {
                0 => drop(store.remove_chunk(slot)),
                _ => write_chunk(store, slot, at as u64 * 16, &[value]),
            }
        }
        _ => {}
    }
    if let Some(byte) = sector.get_mut(at)
        && verb >> 1 & 3 == 0
    {
        *byte = value;
    }
    if verb & 1 == 1 {
        let super_block = place < 2 || offset == geometry().backup_offset();
        let owner = if super_block { Uuid::default() } else { uuid };
        reseal(&mut sector, Geometry::seed(owner, offset));
    }
    store
        .write_index(offset, &sector)
        .expect("the store takes every write within the index");
}

fn read(store: &CrashStore, offset: u64) -> Sector {
    let mut sector = [0; SECTOR_LEN];
    store
        .read_index(offset, &mut sector)
        .expect("the store has every byte of the index");
    sector
}

fn geometry() -> Geometry {
    Geometry::new(RECORDS, RECORDS, RECORDS, 0).expect("the smallest geometry there is")
}

/// The offsets of all sectors that mean something.
fn places() -> Vec<u64> {
    let heads = [
        Geometry::superblock_offset(0),
        Geometry::superblock_offset(1),
        Geometry::session_offset(0),
        Geometry::session_offset(1),
        Geometry::segment_header_offset(0),
    ];
    let backup = geometry().backup_offset();
    let tables = geometry().slot_table_offset(0);
    let records = (0..3 * RECORDS).map(|n| tables + n * SECTOR_LEN as u64);
    heads.into_iter().chain(records).chain([backup]).collect()
}

/// A cache with a session, three chunks of two blobs, and their records.
fn cache() -> (CrashStore, Uuid) {
    let store = CrashStore::format(geometry(), CAPACITY, 1);
    let superblock = Superblock::decode(&read(&store, 0), 0).expect("the store was just made");
    let uuid = superblock.uuid;
    let session = Session {
        state: SessionState::Clean,
        sequence: 2,
        epoch: 2,
        trusted_epoch: 2,
        boot_id: [1; 16],
        host_id: [1; 16],
        disk_mount_id: 1,
        started_at: 0,
        pid: 1,
    };
    let twin = Session {
        state: SessionState::Open,
        sequence: 1,
        ..session
    };
    let mut sectors: Vec<_> = [twin, session]
        .map(|session| (session.offset(), session.encode(uuid)))
        .into();
    for (n, (blob, chunk_no)) in [(0u8, 0u64), (0, 1), (1, 0)].into_iter().enumerate() {
        let slot = SlotId(u32::try_from(n).unwrap_or_default());
        let offset = geometry().slot_offset(slot);
        let record = slot_record(Tag([blob + 1; 16]), chunk_no, n as u64, blob.into());
        sectors.push((offset, record.encode(uuid, offset)));
        write_chunk(&store, slot, 0, BLOCK);
    }
    for n in 0..2u8 {
        let offset = geometry().blob_offset(u32::from(n));
        let record = blob_record(BlobKey([n + 9; 16]), Tag([n + 1; 16]));
        sectors.push((offset, record.encode(uuid, offset)));
    }
    for (offset, sector) in sectors {
        let written = store.write_index(offset, &sector);
        written.expect("the store takes every write within the index");
    }
    (store, uuid)
}

fn write_chunk(store: &CrashStore, slot: SlotId, offset: u64, data: &[u8]) {
    let file = ChunkFile {
        slot,
        generation: 1,
    };
    let written = store.write_chunk(file, offset, data);
    written.expect("the store takes every write");
}

pub(super) fn slot_record(tag: Tag, chunk_no: u64, counter: u64, hint: u32) -> SlotRecord {
    let mut crcs = [0; 64];
    if let Some(first) = crcs.first_mut() {
        *first = block_crc(tag, chunk_no, 0, BLOCK);
    }
    SlotRecord {
        kind: SlotKind::Data,
        chunk: ChunkSize::MIN,
        device: 0,
        flags: SlotFlags::default(),
        stamp: Stamp::new(2, counter),
        tag,
        chunk_no,
        present: BlockMask::one(0),
        valid_len: 65536,
        blob_hint: Some(hint),
        last_use: 0,
        generation: 1,
        alloc_4k: 1,
        crcs,
    }
}

fn blob_record(key: BlobKey, tag: Tag) -> BlobRecord {
    BlobRecord {
        kind: BlobKind::File,
        chunk: ChunkSize::MIN,
        validator_class: 1,
        pin_priority: 0,
        flags: 0,
        stamp: Stamp::new(2, 9),
        key,
        tag,
        // A chunk for each slot that names it.
        size: if tag == Tag([1; 16]) { 131_072 } else { 65_536 },
        ino: 0,
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        nlink: 1,
        rdev: 0,
        validated_at: 0,
        heap_head: None,
        pack: None,
        overlay: 0,
        name: b"a".as_slice().into(),
        validator: [1, 0, 0, 0, 0, 0, 0, 0, 0].into(),
        xattrs: Box::default(),
        link: Box::default(),
    }
}
