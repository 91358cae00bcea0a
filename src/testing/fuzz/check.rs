//! The target `check`: the checker on a small cache of which the input damages some sectors and files.
//!
//! Held here: no damage makes the checker panic, hang or give up, and what it puts right stays right, so that a second
//! check finds nothing.

use std::ops::ControlFlow;

use super::damage::{Damage, PATCH_LEN, PATCHES_MAX, read, write_chunk};
use crate::check::{CheckOptions, Disk, Mode, run};
use crate::format::{
    BlobKind, BlobRecord, Geometry, Session, SessionState, SlotFlags, SlotKind, SlotRecord,
    Superblock, block_crc,
};
use crate::storage::Storage;
use crate::testing::CrashStore;
use crate::units::{BlobKey, BlockMask, ChunkSize, SlotId, Stamp, Tag, Timestamp};

/// Slots, blob records and heap cells of the cache: eight each, in one segment.
const RECORDS: u64 = 8;
const CAPACITY: u64 = 16 << 20;
const BLOCK: &[u8] = &[0x5a; 4096];

/// The target. Each five bytes are a patch: the sector, the byte in it (two bytes), its new value, and what else to do.
pub fn check(data: &[u8]) {
    let store = cache();
    let damage = Damage::of(&store);
    for patch in data.as_chunks::<PATCH_LEN>().0.iter().take(PATCHES_MAX) {
        damage.apply(&store, patch);
    }
    if !opens(&store) {
        return;
    }
    let observe = &mut |_| ControlFlow::Continue(());
    run(Disk::of(&store), Mode::Repair, CheckOptions::DEEP, observe)
        .expect("the store has no other faults");
    let second = run(Disk::of(&store), Mode::Check, CheckOptions::DEEP, observe);
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

fn geometry() -> Geometry {
    Geometry::new(RECORDS, RECORDS, RECORDS, 0).expect("the smallest geometry there is")
}

/// A cache with a session, three chunks of two blobs, and their records.
fn cache() -> CrashStore {
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
    store
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
        name: b"a".as_slice().into(),
        validator: [1, 0, 0, 0, 0, 0, 0, 0, 0].into(),
        link: Box::default(),
    }
}
