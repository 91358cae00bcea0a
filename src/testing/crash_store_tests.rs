//! The disk in memory does what its head says, and no more.

use std::collections::BTreeSet;
use std::io;

use rustix::io::Errno;

use super::{CrashStore, Fate, Faults};
use crate::format::{Geometry, Superblock};
use crate::storage::{ChunkFile, NowRead, Storage};
use crate::units::SlotId;

fn store() -> CrashStore {
    CrashStore::format(Geometry::new(8, 8, 8, 0).unwrap(), 1 << 20, 7)
}

fn file(slot: u32) -> ChunkFile {
    ChunkFile {
        slot: SlotId(slot),
        generation: 0,
    }
}

fn content(store: &CrashStore, slot: u32, len: usize) -> Vec<u8> {
    let mut buf = vec![0xEE; len];
    let len = store.read_chunk(file(slot), 0, &mut buf).unwrap();
    buf.truncate(len);
    buf
}

#[test]
fn it_is_plain_memory_by_default() {
    let store = store();
    assert_eq!(store.write_chunk(file(1), 5000, b"abc").unwrap(), 4096);
    assert_eq!(content(&store, 1, 9000)[4999..], *b"\0abc");
    assert_eq!(
        store.read_chunk_now(file(1), 5000, &mut [0; 3]).unwrap(),
        NowRead::Bytes(3)
    );
    assert_eq!(
        store.read_chunk_now(file(2), 0, &mut [0; 3]).unwrap(),
        NowRead::Bytes(0)
    );
    let len = store.index_len().unwrap();
    store.write_index(len - 512, &[3; 512]).unwrap();
    let mut sector = [0; 512];
    store.read_index(len - 512, &mut sector).unwrap();
    assert_eq!(sector, [3; 512]);
    assert!(store.write_index(len, &[3]).is_err() && store.read_index(len, &mut sector).is_err());
    store.remove_chunk(SlotId(1)).unwrap();
    assert!(content(&store, 1, 10).is_empty());
    let mut copies = [[0; 512]; 2];
    for (copy, sector) in (0..).zip(&mut copies) {
        store
            .read_index(Geometry::superblock_offset(copy), sector)
            .unwrap();
    }
    assert_eq!(Superblock::choose(&copies).unwrap().capacity, 1 << 20);
}

#[test]
fn what_was_synced_survives_every_cut() {
    let store = store();
    store.write_chunk(file(1), 0, b"old").unwrap();
    store.write_index(65536, &[1; 512]).unwrap();
    assert_eq!(store.pending(), 4, "create, size, data, sector");
    store.sync_index().unwrap();
    assert_eq!(store.pending(), 3);
    store.sync_all().unwrap();
    assert_eq!(store.pending(), 0);
    for seed in 0..50 {
        let after = store.crash(seed);
        assert_eq!(content(&after, 1, 10), b"old");
        let mut sector = [0; 512];
        after.read_index(65536, &mut sector).unwrap();
        assert_eq!(sector, [1; 512]);
    }
}

#[test]
fn what_was_not_synced_meets_every_fate() {
    let store = store();
    store.write_chunk(file(1), 0, &[1; 1024]).unwrap();
    store.sync_all().unwrap();
    store.write_chunk(file(1), 0, &[2; 1024]).unwrap();
    store.write_chunk(file(1), 0, &[3; 1024]).unwrap();
    // Written back is not synced.
    store.evict_all();
    let seen: BTreeSet<(u8, u8)> = (0..500)
        .map(|seed| store.crash(seed))
        .map(|after| content(&after, 1, 1024))
        .map(|bytes| (bytes[0], bytes[1023]))
        .collect();
    assert_eq!(seen.len(), 9, "each half old, middle or new: {seen:?}");

    store.remove_chunk(SlotId(1)).unwrap();
    store.write_chunk(file(1), 0, &[4; 10]).unwrap();
    let lens: BTreeSet<usize> = (0..500)
        .map(|seed| content(&store.crash(seed), 1, 2000).len())
        .collect();
    assert_eq!(
        lens,
        [0, 10, 1024].into(),
        "absent or without size, new, old"
    );
    let old = store.crash_with(|_| Fate::Drop);
    assert_eq!(content(&old, 1, 2000), [1; 1024]);
    let new = store.crash_with(|_| Fate::Keep);
    assert_eq!(content(&new, 1, 2000), [4; 10]);
    assert_eq!(
        content(&store, 1, 2000),
        [4; 10],
        "the store itself goes on"
    );
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = || {
        let store = store();
        for n in 0..6 {
            store.write_chunk(file(n), 0, &[1; 2000]).unwrap();
        }
        let after = store.crash(99);
        (0..6).map(|n| content(&after, n, 2000)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn evicted_pages_are_refused_and_read_from_the_disk() {
    let store = store();
    store.write_chunk(file(1), 0, &[1; 4096]).unwrap();
    store.evict_all();
    assert_eq!(
        store.read_chunk_now(file(1), 0, &mut [0; 8]).unwrap(),
        NowRead::Refused
    );
    assert_eq!(content(&store, 1, 4096), [1; 4096]);
    assert_eq!(
        store.read_chunk_now(file(1), 0, &mut [0; 8]).unwrap(),
        NowRead::Bytes(8)
    );
    store.faults(|f| f.refuse_now = 256);
    assert!(
        (0..9).any(|_| store.read_chunk_now(file(1), 0, &mut [0; 8]).unwrap() == NowRead::Refused)
    );
}

#[test]
fn a_failed_writeback_brings_the_previous_tenant_back() {
    let store = store();
    store.write_chunk(file(1), 0, &[1; 4096]).unwrap();
    store.sync_all().unwrap();
    store.faults(|f| (f.failing_writeback, f.failing_index_writeback) = (1..2, true));
    store.write_chunk(file(1), 0, &[2; 4096]).unwrap();
    store.write_index(65536, &[2; 512]).unwrap();
    assert_eq!(content(&store, 1, 4096), [2; 4096]);
    store.evict_all();
    assert_eq!(content(&store, 1, 4096), [1; 4096]);
    let mut sector = [9; 512];
    store.read_index(65536, &mut sector).unwrap();
    assert_eq!(sector, [0; 512]);
    store.write_chunk(file(1), 0, &[3; 4096]).unwrap();
    assert!(store.sync_all().is_err(), "a sync tells");
    assert_eq!(content(&store.crash(0), 1, 4096), [1; 4096]);
}

#[test]
fn errors_come_as_asked() {
    let store = store();
    store.write_chunk(file(1), 0, &[1; 4096]).unwrap();
    let code = |error: io::Error| error.raw_os_error();
    store.faults(|f| f.full = true);
    assert_eq!(
        store.write_chunk(file(1), 0, &[2; 4096]).unwrap(),
        4096,
        "overwriting needs no space"
    );
    for write in [
        store.write_chunk(file(1), 4000, &[3; 200]),
        store.write_chunk(file(2), 0, &[3; 4]),
    ] {
        assert_eq!(code(write.unwrap_err()), Some(Errno::NOSPC.raw_os_error()));
    }
    assert_eq!(content(&store, 1, 9000).len(), 4096);
    store.faults(|f| {
        *f = Faults {
            read_errors: 256,
            write_errors: 256,
            ..Faults::default()
        }
    });
    assert!(store.read_chunk(file(1), 0, &mut [0; 8]).is_err());
    assert!(store.write_chunk(file(1), 0, &[0; 8]).is_err());
    assert!(store.sync_index().is_err());
    store.faults(|f| {
        *f = Faults {
            operations_left: Some(2),
            ..Faults::default()
        }
    });
    let alive: Vec<bool> = (0..4)
        .map(|_| store.read_index(0, &mut [0; 512]).is_ok())
        .collect();
    assert_eq!(alive, [true, true, false, false]);
    assert!(store.write_chunk(file(1), 0, b"x").is_err() && store.sync_all().is_err());
}

#[test]
fn a_store_in_memory_has_no_descriptor_to_lend() {
    let store = store();
    store.write_chunk(file(1), 0, b"x").unwrap();
    let refused = store.lend(file(1)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
}
