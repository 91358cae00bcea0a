//! A cache that is filled without a remote: sectors and files are written as the engine would write them.

use std::io::Write;
use std::path::Path;

use larder::format::{
    BlobKind, BlobRecord, Geometry, SegmentHeader, Session, SessionState, SlotFlags, SlotKind,
    SlotRecord, blob_key, blob_segment_hash, block_crc, encode_validator, slot_hash, version_tag,
};
use larder::storage::{CacheDir, ChunkFile, CreateOptions, Storage, open_or_create};
use larder::testing::Rng;
use larder::units::{
    BlobKey, BlockMask, ChunkSize, ObjectName, SlotId, Stamp, Tag, Timestamp, Uuid, Validator,
    ValidatorClass,
};

const IDENTITY: &str = "bench:";
const EPOCH: u64 = 1;

/// What a cache is filled with.
pub(crate) struct Shape {
    /// The cache's size, which decides its geometry.
    capacity: u64,
    /// Blobs of one chunk each: how many, and of which bytes at least and at most.
    blobs: &'static [(u32, u64, u64)],
}

impl Shape {
    /// 1 TiB with 100,000 slots in use: small files mostly, of 4 to 64 KiB, some of 1 MiB and of 4 MiB.
    pub(crate) const FULL: Self = Self {
        capacity: 1 << 40,
        blobs: &[
            (98_900, 4 << 10, 64 << 10),
            (900, 1 << 20, 1 << 20),
            (200, 4 << 20, 4 << 20),
        ],
    };
    /// 1 GiB with 1,020.
    pub(crate) const QUICK: Self = Self {
        capacity: 1 << 30,
        blobs: &[
            (1000, 4 << 10, 64 << 10),
            (16, 1 << 20, 1 << 20),
            (4, 4 << 20, 4 << 20),
        ],
    };

    /// The bytes of disk that it takes at most.
    pub(crate) fn needed(&self) -> u64 {
        let index = self.geometry().index_len();
        let blobs: u64 = self
            .blobs
            .iter()
            .map(|(n, _, most)| u64::from(*n) * most)
            .sum();
        index + blobs + (1 << 30)
    }

    fn geometry(&self) -> Geometry {
        Geometry::for_capacity(self.capacity, None, None).expect("a possible size")
    }
}

/// Makes the cache. Returns the bytes of its chunk files.
pub(crate) fn fill(path: &Path, shape: &Shape) -> u64 {
    let options = CreateOptions {
        capacity: shape.capacity,
        slots: None,
        files: None,
    };
    let cache = open_or_create(path, &options, &mut |_| {}).expect("room for it");
    let mut filler = Filler::new(&cache);
    filler.session();
    // As they come in a life: sizes mixed, and slots wherever the hash says.
    let mut rng = Rng::new(1);
    let mut left: Vec<u32> = shape.blobs.iter().map(|(count, ..)| *count).collect();
    let mut bytes = 0;
    loop {
        let total: u32 = left.iter().sum();
        if total == 0 {
            break;
        }
        let mut pick = rng.below(u64::from(total));
        let kind = left.iter().position(|left| {
            let here = pick < u64::from(*left);
            pick = pick.saturating_sub(u64::from(*left));
            here
        });
        let kind = kind.expect("one of them");
        left[kind] -= 1;
        let (_, least, most) = shape.blobs[kind];
        let size = least + rng.below(most - least + 1);
        filler.blob(size, &mut rng);
        bytes += size;
    }
    let slots: u32 = shape.blobs.iter().map(|(count, ..)| count).sum();
    print!(
        "cache of {} GiB geometry: index {} MB, ",
        shape.capacity >> 30,
        shape.geometry().index_len() / 1_000_000
    );
    println!(
        "{slots} slots in use, {} MB in chunk files",
        bytes / 1_000_000
    );
    std::io::stdout().flush().expect("a terminal or a file");
    cache.sync_all().expect("the disk works");
    bytes
}

struct Filler<'a> {
    cache: &'a CacheDir,
    uuid: Uuid,
    geometry: Geometry,
    /// The next free slot, and the next free blob record, of each segment.
    slots: Vec<u32>,
    records: Vec<u32>,
    names: u64,
    stamps: u64,
    noise: Vec<u8>,
}

impl<'a> Filler<'a> {
    fn new(cache: &'a CacheDir) -> Self {
        let (uuid, geometry) = (cache.superblock().uuid, cache.superblock().geometry);
        let segments = geometry.segments() as usize;
        let mut rng = Rng::new(7);
        let noise = (0..1 << 20).flat_map(|_| rng.next_u64().to_le_bytes());
        Self {
            cache,
            uuid,
            geometry,
            slots: vec![0; segments],
            records: vec![0; segments],
            names: 0,
            stamps: 0,
            noise: noise.collect(),
        }
    }

    /// The session in which all of it was written, and the segments' headers.
    fn session(&self) {
        let host = self.cache.host();
        let session = |sequence| Session {
            state: SessionState::Clean,
            sequence,
            epoch: EPOCH,
            trusted_epoch: EPOCH,
            boot_id: host.boot_id,
            host_id: host.host_id,
            disk_mount_id: host.disk_mount_id,
            started_at: 0,
            pid: host.pid,
        };
        for session in [session(0), session(1)] {
            self.write(session.offset(), &session.encode(self.uuid));
        }
        for segment in 0..self.geometry.segments() {
            let header = SegmentHeader {
                segment,
                ..SegmentHeader::default()
            };
            let offset = Geometry::segment_header_offset(segment);
            self.write(offset, &header.encode(self.uuid));
        }
    }

    fn write(&self, offset: u64, sector: &[u8]) {
        let written = self.cache.write_index(offset, sector);
        written.expect("the index is there");
    }

    fn stamp(&mut self) -> Stamp {
        self.stamps += 1;
        Stamp::new(EPOCH, self.stamps)
    }

    /// A blob of one chunk: its record, its slot, its bytes.
    fn blob(&mut self, size: u64, rng: &mut Rng) {
        self.names += 1;
        let chunk = ChunkSize::covering(size);
        let name = ObjectName::new(format!("blob/{}", self.names).into_bytes());
        let validator = Validator::Strong(b"bench".as_slice().into());
        let key = blob_key(self.uuid, IDENTITY, "", &name);
        let tag = version_tag(self.uuid, key, &validator, size, chunk);
        let take = |next: &mut Vec<u32>, segment: u32, per_segment: u32| {
            let place = next[segment as usize];
            next[segment as usize] += 1;
            assert!(place < per_segment, "the segment is full");
            segment * per_segment + place
        };
        let segment = self.geometry.segment_of(blob_segment_hash(key));
        let record = take(
            &mut self.records,
            segment,
            self.geometry.blobs_per_segment(),
        );
        let segment = self.geometry.segment_of(slot_hash(tag, 0));
        let slot = SlotId(take(
            &mut self.slots,
            segment,
            self.geometry.slots_per_segment(),
        ));

        let len = usize::try_from(size).expect("at most 4 MiB");
        let room = self.noise.len() - len + 1;
        let start = usize::try_from(rng.below(room as u64)).expect("within the noise");
        let bytes = &self.noise[start..start + len];
        let file = ChunkFile {
            slot,
            generation: 1,
        };
        let allocated = self.cache.write_chunk(file, 0, bytes).expect("room for it");
        let mut crcs = [0; 64];
        let blocks = bytes.chunks(usize::try_from(chunk.block_size()).expect("small"));
        let blocks = (0u32..).zip(blocks);
        for ((n, block), crc) in blocks.zip(&mut crcs) {
            *crc = block_crc(tag, 0, n, block);
        }
        let count = u32::try_from(chunk.blocks_in(size)).expect("at most 64");
        let mut sector = SlotRecord::free(self.stamp(), 1, 0, SlotFlags::default());
        sector.kind = SlotKind::Data;
        sector.chunk = chunk;
        sector.tag = tag;
        sector.present = BlockMask::span(0..count);
        sector.valid_len = u32::try_from(size).expect("at most 4 MiB");
        sector.blob_hint = Some(record);
        sector.alloc_4k = u32::try_from(allocated >> 12).expect("small");
        sector.crcs = crcs;
        let offset = self.geometry.slot_offset(slot);
        self.write(offset, &sector.encode(self.uuid, offset));
        let offset = self.geometry.blob_offset(record);
        let mut blob = blob_record(key, tag, chunk, &name, &validator);
        (blob.size, blob.stamp) = (size, self.stamp());
        self.write(offset, &blob.encode(self.uuid, offset));
    }
}

fn blob_record(
    key: BlobKey,
    tag: Tag,
    chunk: ChunkSize,
    name: &ObjectName,
    validator: &Validator,
) -> BlobRecord {
    BlobRecord {
        kind: BlobKind::File,
        chunk,
        validator_class: ValidatorClass::Strong as u8,
        flags: 0,
        stamp: Stamp::default(),
        key,
        tag,
        size: 0,
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
        name: name.as_bytes().into(),
        validator: encode_validator(validator).into(),
        link: Box::default(),
    }
}
