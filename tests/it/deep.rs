//! The deep check: on any number of threads it finds what is wrong and nothing that is only in motion, it ends when it is
//! told to, and it tells a dying disk from damage.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use larder::check::{CheckError, CheckOptions, Clause, Disk, Phase, Report, check};
use larder::format::{Geometry, SlotFlags, SlotKind, SlotRecord, Superblock, block_crc, slot_hash};
use larder::storage::{ChunkFile, NowRead, Space, Storage};
use larder::testing::{CrashStore, Rng};
use larder::units::{BlockMask, ChunkSize, SlotId, Stamp, Tag, Uuid};

/// What a disk does instead of a read: nothing for `None`.
type Twist =
    Box<dyn Fn(&CrashStore, ChunkFile, u64, &mut [u8]) -> Option<io::Result<usize>> + Send + Sync>;

/// A cache in memory whose reads of chunk files can be meddled with.
struct Stage {
    store: CrashStore,
    superblock: Superblock,
    twist: Twist,
    reads: AtomicU32,
    /// Those of the reads that went past memory.
    cold: AtomicU32,
}

impl Stage {
    fn new(slots: u64) -> Self {
        let geometry = Geometry::new(slots, 16, 16, 1).unwrap();
        let store = CrashStore::format(geometry, 1 << 30, 1);
        let mut copies = [[0; 512]; 2];
        for (n, copy) in (0..).zip(&mut copies) {
            let offset = Geometry::superblock_offset(n);
            store.read_index(offset, copy).unwrap();
        }
        Self {
            store,
            superblock: Superblock::choose(&copies).unwrap(),
            twist: Box::new(|_, _, _, _| None),
            reads: AtomicU32::new(0),
            cold: AtomicU32::new(0),
        }
    }

    fn twisted(
        mut self,
        twist: impl Fn(&CrashStore, ChunkFile, u64, &mut [u8]) -> Option<io::Result<usize>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.twist = Box::new(twist);
        self
    }

    fn uuid(&self) -> Uuid {
        self.superblock.uuid
    }

    /// Fills the slot with chunk 0 of a version that belongs there, of `len` bytes and with these blocks.
    fn fill(&self, slot: SlotId, chunk: ChunkSize, len: u32, present: BlockMask) {
        let geometry = self.superblock.geometry;
        let own = slot.0 / geometry.slots_per_segment();
        let tags = (0u32..).map(|n| {
            let mut tag = [0; 16];
            tag[..4].copy_from_slice(&slot.0.to_le_bytes());
            tag[4..8].copy_from_slice(&n.to_le_bytes());
            Tag(tag)
        });
        let tag = tags
            .into_iter()
            .find(|tag| geometry.segment_of(slot_hash(*tag, 0)) == own);
        let record = filled(tag.unwrap(), chunk, len, present, |block, bytes| {
            let file = ChunkFile {
                slot,
                generation: 1,
            };
            let offset = u64::from(block) * chunk.block_size();
            self.store.write_chunk(file, offset, bytes).unwrap();
        });
        let offset = geometry.slot_offset(slot);
        self.store
            .write_index(offset, &record.encode(self.uuid(), offset))
            .unwrap();
    }

    /// Changes one byte of a chunk file.
    fn spoil(&self, slot: SlotId, at: u64) {
        let file = ChunkFile {
            slot,
            generation: 1,
        };
        let mut byte = [0];
        assert_eq!(self.store.read_chunk(file, at, &mut byte).unwrap(), 1);
        self.store.write_chunk(file, at, &[byte[0] ^ 0x40]).unwrap();
    }

    fn check(&self, jobs: usize) -> Result<Report, CheckError> {
        let disk = Disk {
            storage: self,
            files: &self.store,
            host: None,
            live: false,
        };
        check(disk, CheckOptions { deep: true, jobs }, &mut |_| {
            ControlFlow::Continue(())
        })
    }

    /// What a deep check calls wrong blocks, as place and detail.
    fn wrong(&self, jobs: usize) -> Vec<(String, String)> {
        let report = self.check(jobs).unwrap();
        let found = report.findings.into_iter();
        let found = found.filter(|finding| finding.clause == Clause::BlockCrc);
        found
            .map(|finding| (finding.place, finding.detail))
            .collect()
    }
}

/// A record whose bytes follow from tag and block; `write` is given each present block.
fn filled(
    tag: Tag,
    chunk: ChunkSize,
    len: u32,
    present: BlockMask,
    mut write: impl FnMut(u32, &[u8]),
) -> SlotRecord {
    let mut crcs = [0; 64];
    for block in present.iter() {
        let size = usize::try_from(chunk.block_len(u64::from(len), block)).unwrap();
        let mut bytes = vec![0; size];
        Rng::new(u64::from(block) << 32 | u64::from(tag.0[0])).fill(&mut bytes);
        crcs[block as usize] = block_crc(tag, 0, block, &bytes);
        write(block, &bytes);
    }
    let stamp = Stamp::new(1, 1 + u64::from(tag.0[0]));
    SlotRecord {
        kind: SlotKind::Data,
        chunk,
        tag,
        present,
        valid_len: len,
        crcs,
        ..SlotRecord::free(stamp, 1, 3, SlotFlags::default())
    }
}

impl Storage for Stage {
    fn index_len(&self) -> io::Result<u64> {
        self.store.index_len()
    }

    fn read_index(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.store.read_index(offset, buf)
    }

    fn read_index_now(&self, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        self.store.read_index_now(offset, buf)
    }

    fn write_index(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.store.write_index(offset, data)
    }

    fn sync_index(&self) -> io::Result<()> {
        self.store.sync_index()
    }

    fn read_chunk(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match (self.twist)(&self.store, file, offset, buf) {
            Some(answer) => answer,
            None => self.store.read_chunk(file, offset, buf),
        }
    }

    fn read_chunk_now(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<NowRead> {
        self.store.read_chunk_now(file, offset, buf)
    }

    fn read_chunk_cold(&self, file: ChunkFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.cold.fetch_add(1, Ordering::Relaxed);
        self.read_chunk(file, offset, buf)
    }

    fn write_chunk(&self, file: ChunkFile, offset: u64, data: &[u8]) -> io::Result<u64> {
        self.store.write_chunk(file, offset, data)
    }

    fn cut_chunk(&self, file: ChunkFile, len: u64) -> io::Result<u64> {
        self.store.cut_chunk(file, len)
    }
    fn remove_chunk(&self, slot: SlotId) -> io::Result<()> {
        self.store.remove_chunk(slot)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.store.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        self.store.space()
    }
}

/// 60 slots of several chunk sizes, with holes; in every fifth a block is spoilt. Returns what is to be found.
fn spoilt() -> (Stage, Vec<(String, String)>) {
    let stage = Stage::new(64);
    let mut expected = Vec::new();
    for n in 0..60u32 {
        let slot = SlotId(n);
        let chunk = ChunkSize::from_log2(16 + u8::try_from(n % 6).unwrap()).unwrap();
        let len = u32::try_from(chunk.bytes()).unwrap() - n * 13;
        let blocks = u32::try_from(chunk.blocks_in(u64::from(len))).unwrap();
        let hole = BlockMask::span(3..5 + n % 7);
        stage.fill(slot, chunk, len, BlockMask::span(0..blocks).without(hole));
        if n % 5 == 0 {
            let block = blocks - 1 - n % 2;
            stage.spoil(slot, u64::from(block) * chunk.block_size() + u64::from(n));
            let detail = format!(
                "checksum mismatch or read error in blocks [{block}]; \
                     the slot was written before the last boot, so all of it is dropped"
            );
            expected.push((format!("slot {n}"), detail));
        }
    }
    (stage, expected)
}

#[test]
fn any_number_of_threads_finds_every_wrong_block_and_reads_each_byte_once() {
    let (stage, expected) = spoilt();
    let mut bytes = Vec::new();
    for jobs in [0, 1, 2, 8, 100] {
        assert_eq!(stage.wrong(jobs), expected, "{jobs} threads");
        let counts = stage.check(jobs).unwrap().counts;
        assert_eq!(counts.checked_blocks, counts.present_blocks);
        bytes.push(counts.checked_bytes);
    }
    assert!(
        bytes
            .iter()
            .all(|same| *same == bytes[0] && *same > 10 << 20),
        "{bytes:?}"
    );
}

#[test]
fn adjacent_blocks_are_read_in_pieces_of_a_mebibyte() {
    let stage = Stage::new(16);
    let chunk = ChunkSize::from_log2(22).unwrap();
    stage.fill(SlotId(0), chunk, 4 << 20, BlockMask::ALL);
    assert_eq!(stage.wrong(1), []);
    assert_eq!(stage.reads.load(Ordering::Relaxed), 4);
}

#[test]
fn beside_a_daemon_no_look_goes_through_memory() {
    for (live, jobs) in [(true, 1), (true, 2), (false, 1)] {
        let stage = Stage::new(16);
        stage.fill(SlotId(0), ChunkSize::MIN, 60_000, BlockMask::span(0..15));
        stage.spoil(SlotId(0), 5000);
        let disk = Disk {
            storage: &stage,
            files: &stage.store,
            host: None,
            live,
        };
        let report = check(disk, CheckOptions { deep: true, jobs }, &mut |_| {
            ControlFlow::Continue(())
        });
        let findings = report.unwrap().findings;
        assert!(findings.iter().any(|f| f.clause == Clause::BlockCrc));
        let reads = stage.reads.load(Ordering::Relaxed);
        assert_eq!(reads, 2, "the first look and the second");
        let cold = stage.cold.load(Ordering::Relaxed);
        assert_eq!(cold, if live { reads } else { 0 }, "live: {live}");
    }
}

#[test]
fn a_block_that_is_right_the_second_time_is_no_finding() {
    for jobs in [1, 2] {
        let stage = Stage::new(16);
        stage.fill(SlotId(0), ChunkSize::MIN, 60_000, BlockMask::span(0..15));
        let lies = AtomicU32::new(0);
        let stage = stage.twisted(move |store, file, offset, buf| {
            let read = store.read_chunk(file, offset, buf);
            if lies.fetch_add(1, Ordering::Relaxed) == 0 {
                buf[5000] ^= 1;
            }
            Some(read)
        });
        assert_eq!(stage.wrong(jobs), []);
        assert_eq!(stage.reads.load(Ordering::Relaxed), 2, "it looked again");
    }
}

#[test]
fn a_slot_that_is_refilled_while_it_is_read_is_no_finding() {
    for moment in 0..3 {
        let stage = Stage::new(16);
        let slot = SlotId(0);
        stage.fill(slot, ChunkSize::MIN, 60_000, BlockMask::span(0..15));
        let (uuid, offset) = (stage.uuid(), stage.superblock.geometry.slot_offset(slot));
        let reads = AtomicU32::new(0);
        let stage = stage.twisted(move |store, file, at, buf| {
            // A daemon takes the slot for another blob: sector first, then bytes.
            if reads.fetch_add(1, Ordering::Relaxed) == moment {
                let tenant = filled(
                    Tag([9; 16]),
                    ChunkSize::MIN,
                    4096,
                    BlockMask::NONE,
                    |_, _| {},
                );
                store
                    .write_index(offset, &tenant.encode(uuid, offset))
                    .unwrap();
                store.write_chunk(file, 0, &[0xaa; 60_000]).unwrap();
            }
            Some(store.read_chunk(file, at, buf))
        });
        assert_eq!(stage.wrong(1), [], "at read {moment}");
    }
}

#[test]
fn what_the_disk_does_not_give_is_a_wrong_block_and_nothing_beside_it() {
    let stage = Stage::new(16);
    stage.fill(SlotId(0), ChunkSize::MIN, 60_000, BlockMask::span(0..15));
    let stage = stage.twisted(|_, _, offset, buf| {
        let bad = 3 * 4096 + 77;
        let hit = (offset..offset + buf.len() as u64).contains(&bad);
        hit.then(|| Err(io::Error::other("a bad sector")))
    });
    for jobs in [1, 2] {
        let [(place, detail)] = &stage.wrong(jobs)[..] else {
            panic!("not one finding");
        };
        assert_eq!(place, "slot 0");
        assert!(
            detail.starts_with("checksum mismatch or read error in blocks [3]"),
            "{detail}"
        );
    }
}

#[test]
fn a_dying_disk_is_an_error() {
    let stage = Stage::new(128);
    for n in 0..100 {
        stage.fill(SlotId(n), ChunkSize::MIN, 65_536, BlockMask::span(0..16));
    }
    let stage = stage.twisted(|_, _, _, _| Some(Err(io::Error::other("click"))));
    for jobs in [1, 2] {
        let error = stage.check(jobs).unwrap_err();
        assert!(matches!(error, CheckError::Io(_)), "{error}");
        let said = error.to_string();
        assert!(
            said.contains("click") && said.contains("is failing"),
            "{said}"
        );
    }
}

#[test]
fn an_observer_ends_it_at_once() {
    for jobs in [1, 2] {
        let stage = Stage::new(512);
        for n in 0..400 {
            stage.fill(SlotId(n), ChunkSize::MIN, 4096, BlockMask::one(0));
        }
        let stage = stage.twisted(|store, file, offset, buf| {
            std::thread::sleep(Duration::from_millis(5));
            Some(store.read_chunk(file, offset, buf))
        });
        let disk = Disk {
            storage: &stage,
            files: &stage.store,
            host: None,
            live: false,
        };
        let plan = CheckOptions { deep: true, jobs };
        let result = check(disk, plan, &mut |step| match step.phase {
            Phase::Blocks if step.done > 0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert!(matches!(result, Err(CheckError::Cancelled)), "{result:?}");
        let reads = stage.reads.load(Ordering::Relaxed);
        assert!((1..100).contains(&reads), "{reads} of 400 blocks were read");
    }
}

#[test]
fn progress_is_in_bytes_and_reaches_its_total() {
    let (stage, _) = spoilt();
    for jobs in [1, 2] {
        let disk = Disk {
            storage: &stage,
            files: &stage.store,
            host: None,
            live: false,
        };
        let mut steps = Vec::new();
        let report = check(disk, CheckOptions { deep: true, jobs }, &mut |step| {
            steps.extend((step.phase == Phase::Blocks).then_some((step.done, step.total)));
            ControlFlow::Continue(())
        });
        let bytes = report.unwrap().counts.checked_bytes;
        assert_eq!(steps.last(), Some(&(bytes, bytes)));
        assert!(steps.is_sorted(), "{steps:?}");
    }
}
