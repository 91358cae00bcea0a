//! Sectors, hashes and checksums.

use criterion::{Criterion, Throughput};
use std::hint::black_box;

use larder::format::{
    BlobKind, BlobRecord, SlotFlags, SlotKind, SlotRecord, blob_key, block_crc, slot_hash,
    version_tag,
};
use larder::units::{BlockMask, ChunkSize, ObjectName, Stamp, Tag, Timestamp, Uuid, Validator};

const UUID: Uuid = Uuid([7; 16]);
const OFFSET: u64 = 1 << 20;

fn slot() -> SlotRecord {
    SlotRecord {
        kind: SlotKind::Data,
        chunk: ChunkSize::DEFAULT,
        device: 0,
        flags: SlotFlags::default(),
        stamp: Stamp::new(3, 9),
        tag: Tag([5; 16]),
        chunk_no: 12,
        present: BlockMask::ALL,
        valid_len: 4 << 20,
        blob_hint: Some(1),
        last_use: 1,
        generation: 4,
        alloc_4k: 1024,
        crcs: [0xdead_beef; 64],
    }
}

fn blob() -> BlobRecord {
    let time = Timestamp {
        secs: 1_700_000_000,
        nanos: 1,
    };
    BlobRecord {
        kind: BlobKind::File,
        chunk: ChunkSize::DEFAULT,
        validator_class: 2,
        flags: 0,
        stamp: Stamp::new(3, 8),
        key: blob_key(UUID, "bench:", "", &ObjectName::new(*b"a/b")),
        tag: Tag([5; 16]),
        size: 1 << 30,
        ino: 1,
        mtime: time,
        ctime: time,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        nlink: 1,
        rdev: 0,
        validated_at: 1_700_000_000,
        heap_head: None,
        pack: None,
        name: b"a/b".as_slice().into(),
        validator: vec![2; 41].into(),
        link: Box::default(),
    }
}

pub(crate) fn sectors(c: &mut Criterion) {
    let (slot, blob) = (slot(), blob());
    let (slot_sector, blob_sector) = (slot.encode(UUID, OFFSET), blob.encode(UUID, OFFSET));
    let mut group = c.benchmark_group("sector");
    group.throughput(Throughput::Elements(1));
    group.bench_function("slot decode", |b| {
        b.iter(|| SlotRecord::decode(black_box(&slot_sector), UUID, OFFSET));
    });
    group.bench_function("slot encode", |b| {
        b.iter(|| black_box(&slot).encode(UUID, OFFSET))
    });
    group.bench_function("blank decode", |b| {
        b.iter(|| SlotRecord::decode(black_box(&[0; 512]), UUID, OFFSET));
    });
    group.bench_function("blob decode", |b| {
        b.iter(|| BlobRecord::decode(black_box(&blob_sector), UUID, OFFSET));
    });
    group.bench_function("blob encode", |b| {
        b.iter(|| black_box(&blob).encode(UUID, OFFSET))
    });
    group.finish();
}

pub(crate) fn identities(c: &mut Criterion) {
    let name = ObjectName::new(*b"some/folder/with/a/file.bin");
    let key = blob_key(UUID, "bench:", "", &name);
    let time = Timestamp {
        secs: 1_700_000_000,
        nanos: 1,
    };
    let validator = Validator::Local {
        ino: 1,
        size: 2,
        mtime: time,
        ctime: time,
    };
    let tag = version_tag(UUID, key, &validator, 1 << 30, ChunkSize::DEFAULT);
    let mut group = c.benchmark_group("identity");
    group.bench_function("blob key", |b| {
        b.iter(|| blob_key(UUID, black_box("bench:"), "", &name));
    });
    group.bench_function("version tag", |b| {
        b.iter(|| {
            version_tag(
                UUID,
                black_box(key),
                &validator,
                1 << 30,
                ChunkSize::DEFAULT,
            )
        });
    });
    group.bench_function("slot hash", |b| b.iter(|| slot_hash(black_box(tag), 7)));
    group.finish();
}

pub(crate) fn checksums(c: &mut Criterion) {
    let mut group = c.benchmark_group("block crc");
    for (name, len) in [("4K", 4 << 10), ("64K", 64 << 10), ("1M", 1 << 20)] {
        let data = vec![0x5a; len];
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| block_crc(Tag([5; 16]), 1, 2, black_box(&data)));
        });
    }
    group.finish();
}
