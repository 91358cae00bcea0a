//! Writes the golden cache, byte for byte the same each time, with nothing but `larder::format`.
//!
//! The committed copy in `tests/fixtures/golden-v1/` is what format 1.0 is: it changes only together with
//! `format-spec.md`, and never once the format is called stable. `format-spec.md` takes its worked examples from it.

use std::collections::BTreeMap;

use larder::format::{
    BlobKind, BlobRecord, Features, Geometry, SECTOR_LEN, Sector, SegmentHeader, Session,
    SessionState, SlotFlags, SlotKind, SlotRecord, Superblock, blob_key, blob_segment_hash,
    block_crc, encode_validator, slot_hash, version_tag,
};
use larder::units::{
    BlobKey, BlockMask, ChunkSize, ObjectName, SlotId, Stamp, Tag, Timestamp, Uuid, Validator,
};

/// Where the committed copy lies, from the project's folder.
pub(crate) const FIXTURE: &str = "tests/fixtures/golden-v1";
pub(crate) const INDEX: &str = "index.larder";
/// The identity of the remote that the golden cache was filled from; the namespace's salt is empty.
pub(crate) const REMOTE: &str = "golden:";
pub(crate) const CAPACITY: u64 = 16 << 20;

/// The cache's uuid: 00, 01, ... 0f.
pub(crate) fn uuid() -> Uuid {
    Uuid(std::array::from_fn(|n| u8::try_from(n).unwrap()))
}

/// Four segments of 16 slots, 16 blob records and 8 heap cells.
pub(crate) fn geometry() -> Geometry {
    Geometry::new(64, 64, 32, 2).unwrap()
}

/// One chunk that the golden cache has a slot for.
pub(crate) struct Chunk {
    pub(crate) number: u64,
    pub(crate) present: BlockMask,
}

/// One blob of the golden cache.
pub(crate) struct Blob {
    pub(crate) name: &'static [u8],
    pub(crate) kind: BlobKind,
    pub(crate) size: u64,
    pub(crate) chunk: ChunkSize,
    pub(crate) validator: Option<Validator>,
    pub(crate) mtime: Timestamp,
    pub(crate) link: &'static [u8],
    pub(crate) chunks: Vec<Chunk>,
}

impl Blob {
    pub(crate) fn object(&self) -> ObjectName {
        ObjectName::new(self.name)
    }

    pub(crate) fn key(&self) -> BlobKey {
        blob_key(uuid(), REMOTE, "", &self.object())
    }

    pub(crate) fn tag(&self) -> Tag {
        self.validator
            .as_ref()
            .map(|validator| version_tag(uuid(), self.key(), validator, self.size, self.chunk))
            .unwrap_or_default()
    }

    /// The byte at `offset` of the blob: anybody can compute what a reader must get.
    pub(crate) fn byte(&self, offset: u64) -> u8 {
        let salt = u64::from(self.name[0]);
        u8::try_from((offset * 31 + (offset >> 8) * 17 + salt) % 256).unwrap()
    }

    /// The bytes of a block, by the chunk's number and the block's within it.
    pub(crate) fn block(&self, chunk_no: u64, block: u32) -> Vec<u8> {
        let valid_len = self.chunk.valid_len(self.size, chunk_no);
        let start = chunk_no * self.chunk.bytes() + u64::from(block) * self.chunk.block_size();
        let len = self.chunk.block_len(valid_len, block);
        (start..start + len)
            .map(|offset| self.byte(offset))
            .collect()
    }
}

fn time(secs: i64, nanos: u32) -> Timestamp {
    Timestamp { secs, nanos }
}

fn file(name: &'static [u8], size: u64, log2: u8, validator: Validator) -> Blob {
    Blob {
        name,
        kind: BlobKind::File,
        size,
        chunk: ChunkSize::from_log2(log2).unwrap(),
        validator: Some(validator),
        mtime: time(1_700_000_000, 123_456_789),
        link: b"",
        chunks: Vec::new(),
    }
}

impl Blob {
    fn with(mut self, number: u64, blocks: &[u32]) -> Self {
        let present = blocks
            .iter()
            .fold(BlockMask::NONE, |mask, n| mask.with(BlockMask::one(*n)));
        self.chunks.push(Chunk { number, present });
        self
    }
}

/// The version of `docs/a.txt` that was superseded: its slot is still there, bound to no record.
pub(crate) fn superseded() -> Blob {
    let old = Validator::Local {
        ino: 42,
        size: 5000,
        mtime: time(1_600_000_000, 0),
        ctime: time(1_600_000_000, 0),
    };
    file(b"docs/a.txt", 5000, 16, old).with(0, &[0])
}

/// The blobs that the golden cache has records of.
pub(crate) fn blobs() -> Vec<Blob> {
    let mtime = time(1_700_000_000, 123_456_789);
    let local = Validator::Local {
        ino: 42,
        size: 5000,
        mtime,
        ctime: time(1_700_000_001, 0),
    };
    let modified = Validator::Modified {
        mtime: time(1_700_000_000, 0),
        size: (3 << 20) + 5,
    };
    let weak = Validator::WeakEtag {
        etag: b"w-1".as_slice().into(),
        size: 0,
    };
    let hundred_gb = 100_000_000_000;
    vec![
        file(b"docs/a.txt", 5000, 16, local).with(0, &[0, 1]),
        file(
            b"data/two-chunks",
            70_000,
            16,
            Validator::Strong(b"5f-1".as_slice().into()),
        )
        .with(0, &[0, 15])
        .with(1, &[0, 1]),
        file(b"large", (3 << 20) + 5, 20, modified)
            .with(1, &[2])
            .with(3, &[0]),
        file(b"empty", 0, 16, weak),
        file(
            b"b\xff\nname",
            100,
            17,
            Validator::Stamp(Stamp::new(2, 9).0),
        )
        .with(0, &[]),
        file(
            b"sparse.img",
            hundred_gb,
            22,
            Validator::TimeEtag(b"6-1".as_slice().into()),
        )
        .with(11_920, &[0]),
        Blob {
            kind: BlobKind::Symlink,
            validator: None,
            link: b"docs/a.txt",
            ..file(b"link", 10, 16, Validator::Stamp(0))
        },
    ]
}

/// The golden cache as its files' paths and bytes.
pub(crate) fn write() -> BTreeMap<String, Vec<u8>> {
    let mut cache = Writer::new();
    cache.heads();
    for (n, blob) in blobs().iter().enumerate() {
        let counter = u64::try_from(n).unwrap() + 100;
        let hint = cache.record(blob, Stamp::new(3, counter));
        for chunk in &blob.chunks {
            cache.slot(blob, chunk, Stamp::new(3, counter + 100), Some(hint));
        }
    }
    for chunk in &superseded().chunks {
        cache.slot(&superseded(), chunk, Stamp::new(1, 7), None);
    }
    cache.free_records();
    cache.segment_headers();
    cache.files
}

struct Writer {
    files: BTreeMap<String, Vec<u8>>,
    used_slots: [u32; 4],
    used_blobs: [u32; 4],
    allocated: [u64; 4],
}

impl Writer {
    fn new() -> Self {
        let len = usize::try_from(geometry().index_len()).unwrap();
        Self {
            files: BTreeMap::from([(INDEX.to_owned(), vec![0; len])]),
            used_slots: [0; 4],
            used_blobs: [0; 4],
            allocated: [0; 4],
        }
    }

    fn sector(&mut self, offset: u64, sector: Sector) {
        let at = usize::try_from(offset).unwrap();
        self.files.get_mut(INDEX).unwrap()[at..at + SECTOR_LEN].copy_from_slice(&sector);
    }

    fn heads(&mut self) {
        for superblock in [0, 1].map(superblock) {
            self.sector(superblock.offset(), superblock.encode());
        }
        self.sector(geometry().backup_offset(), superblock(1).encode_backup());
        for session in [
            session(3, SessionState::Open),
            session(4, SessionState::Clean),
        ] {
            self.sector(session.offset(), session.encode(uuid()));
        }
    }

    /// Writes the blob's record into the next place of its segment; returns its number.
    fn record(&mut self, blob: &Blob, stamp: Stamp) -> u32 {
        let segment = geometry().segment_of(blob_segment_hash(blob.key()));
        let used = &mut self.used_blobs[segment as usize];
        let number = segment * geometry().blobs_per_segment() + *used;
        *used += 1;
        let offset = geometry().blob_offset(number);
        self.sector(offset, blob_record(blob, stamp).encode(uuid(), offset));
        number
    }

    /// Writes a slot into the next place of its segment, and its file.
    fn slot(&mut self, blob: &Blob, chunk: &Chunk, stamp: Stamp, hint: Option<u32>) {
        let segment = geometry().segment_of(slot_hash(blob.tag(), chunk.number));
        let used = &mut self.used_slots[segment as usize];
        let slot = SlotId(segment * geometry().slots_per_segment() + *used);
        *used += 1;
        let mut crcs = [0; 64];
        // A file in which nothing is present holds what an earlier tenant left there.
        let mut data = if chunk.present.is_empty() {
            vec![0xee; 100]
        } else {
            Vec::new()
        };
        for n in chunk.present.iter() {
            let block = blob.block(chunk.number, n);
            crcs[n as usize] = block_crc(blob.tag(), chunk.number, n, &block);
            let start = n as usize * usize::try_from(blob.chunk.block_size()).unwrap();
            data.resize(data.len().max(start + block.len()), 0);
            data[start..start + block.len()].copy_from_slice(&block);
        }
        let alloc_4k = u32::try_from(data.len().div_ceil(4096)).unwrap();
        self.allocated[segment as usize] += u64::from(alloc_4k) * 4096;
        let valid_len = u32::try_from(blob.chunk.valid_len(blob.size, chunk.number)).unwrap();
        let weak = matches!(
            blob.validator,
            Some(Validator::Stamp(_) | Validator::TimeEtag(_))
        );
        let record = SlotRecord {
            kind: SlotKind::Data,
            chunk: blob.chunk,
            device: 0,
            flags: SlotFlags(if weak { SlotFlags::WEAK_VALIDATOR } else { 0 }),
            stamp,
            tag: blob.tag(),
            chunk_no: chunk.number,
            present: chunk.present,
            valid_len,
            blob_hint: hint,
            last_use: 28_333_333,
            generation: 1,
            alloc_4k,
            crcs,
        };
        let offset = geometry().slot_offset(slot);
        self.sector(offset, record.encode(uuid(), offset));
        self.files.insert(chunk_path(slot), data);
    }

    /// In the last places of segment 0: a free slot that keeps its file, a free slot whose file is tainted, and a free
    /// blob record.
    fn free_records(&mut self) {
        let tainted = SlotFlags(SlotFlags::TAINTED);
        for (slot, generation, flags) in [(14, 3, SlotFlags::default()), (15, 8, tainted)] {
            let offset = geometry().slot_offset(SlotId(slot));
            let record = SlotRecord::free(Stamp::new(2, 5), generation, 1, flags);
            self.sector(offset, record.encode(uuid(), offset));
            self.files
                .insert(chunk_path(SlotId(slot)), vec![0xdd; 4096]);
            self.allocated[0] += 4096;
        }
        let mut free = blob_record(&blobs()[0], Stamp::new(2, 6));
        free.kind = BlobKind::Free;
        let offset = geometry().blob_offset(15);
        self.sector(offset, free.encode(uuid(), offset));
    }

    fn segment_headers(&mut self) {
        for segment in 0..geometry().segments() {
            let n = segment as usize;
            let header = SegmentHeader {
                segment,
                used_slots: self.used_slots[n],
                used_blobs: self.used_blobs[n],
                hand: 0,
                allocated: self.allocated[n],
                stamp: Stamp::new(3, 900),
            };
            self.sector(
                Geometry::segment_header_offset(segment),
                header.encode(uuid()),
            );
        }
    }
}

/// The path of a slot's file, as `format-spec.md` has it.
pub(crate) fn chunk_path(slot: SlotId) -> String {
    let per_segment = geometry().slots_per_segment();
    let (segment, index) = (slot.0 / per_segment, slot.0 % per_segment);
    format!("chunks/{segment:02x}/{:04x}/{:08x}", index >> 10, slot.0)
}

pub(crate) fn superblock(sequence: u64) -> Superblock {
    Superblock {
        minor: 0,
        uuid: uuid(),
        sequence,
        features: Features::default(),
        geometry: geometry(),
        owner_uid: 0,
        capacity: CAPACITY,
        created_at: 1_700_000_000,
    }
}

fn session(sequence: u64, state: SessionState) -> Session {
    Session {
        state,
        sequence,
        epoch: 3,
        trusted_epoch: 2,
        boot_id: [0xb0; 16],
        host_id: [0x40; 16],
        disk_mount_id: 29,
        started_at: 1_700_000_100,
        pid: 4711,
    }
}

fn blob_record(blob: &Blob, stamp: Stamp) -> BlobRecord {
    let validator = blob.validator.as_ref();
    let ino = match validator {
        Some(Validator::Local { ino, .. }) => *ino,
        _ => 0,
    };
    let link = blob.kind == BlobKind::Symlink;
    BlobRecord {
        kind: blob.kind,
        chunk: blob.chunk,
        validator_class: validator.map_or(0, |v| v.class() as u8),
        flags: 0,
        stamp,
        key: blob.key(),
        tag: blob.tag(),
        size: blob.size,
        ino,
        mtime: blob.mtime,
        ctime: time(1_700_000_001, 0),
        mode: if link { 0o120_777 } else { 0o100_644 },
        uid: 1000,
        gid: 100,
        nlink: 1,
        rdev: 0,
        validated_at: 1_700_000_200,
        heap_head: None,
        pack: None,
        name: blob.name.into(),
        validator: validator.map(encode_validator).unwrap_or_default().into(),
        link: blob.link.into(),
    }
}
