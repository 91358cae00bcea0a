//! Any single live sector or block of a small cache that the engine made, overwritten: every read is right all the same,
//! the checker finds it and mends it, and its second look finds nothing.

use std::ops::ControlFlow;
use std::sync::Arc;

use larder::check::{CheckOptions, Disk, Mode, Report, exit, run};
use larder::format::{
    BlobKind, BlobRecord, Geometry, SECTOR_LEN, Sector, SegmentHeader, SlotKind, SlotRecord,
    Superblock,
};
use larder::storage::{ChunkFile, Storage};
use larder::testing::{CrashStore, Fate, Rng, trust_every_checksum};
use larder::units::{ChunkSize, SlotId, Uuid};

use crate::origin::Origin;
use crate::world::{Setup, World};

const SMALL: ChunkSize = ChunkSize::MIN;

/// Two segments of 16 slots, 16 blob records and 8 heap cells.
fn geometry() -> Geometry {
    Geometry::new(32, 32, 16, 1).unwrap()
}

fn copy(disk: &CrashStore) -> CrashStore {
    disk.crash_with(|_| Fate::Keep)
}

/// A cache that was filled twice, with chunks of two sizes, and closed.
struct Made {
    disk: CrashStore,
    origin: Origin,
    uuid: Uuid,
}

/// A sector that means something.
#[derive(Clone, Copy)]
struct Live {
    kind: &'static str,
    offset: u64,
    bytes: Sector,
}

/// A block that is present.
struct Present {
    file: ChunkFile,
    start: u64,
    bytes: Vec<u8>,
}

impl Made {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut origin = Origin::new(&mut rng, 7);
        for object in 0..origin.objects.len() {
            let len = 3000 + 21_111 * object;
            origin.replace_with_len(object, len, &mut rng);
        }
        let mut disk = Arc::new(CrashStore::format(geometry(), 16 << 20, seed));
        for chunk in [SMALL, ChunkSize::from_log2(18).unwrap()] {
            // What is read with the larger chunks is new.
            for object in 0..if chunk == SMALL { 0 } else { 3 } {
                origin.replace_with_len(object, 150_000 + 1000 * object, &mut rng);
            }
            let setup = Setup {
                chunk,
                ..Setup::PLAIN
            };
            let mut world = World::over(disk, origin.clone(), rng.fork(), setup, 1);
            world.read_all();
            world.calm();
            world.daemon().cache.close().unwrap();
            disk = Arc::clone(&world.store);
            world.daemon.take().unwrap().kill();
        }
        let disk = copy(&disk);
        let uuid = Superblock::decode(&read(&disk, 0), 0).unwrap().uuid;
        let made = Self { disk, origin, uuid };
        assert_eq!(check(&made.disk, Mode::Check).exit_code(), exit::CLEAN);
        made
    }

    fn slots(&self) -> impl Iterator<Item = (SlotId, u64, SlotRecord)> {
        (0..geometry().n_slots()).map(SlotId).filter_map(|slot| {
            let offset = geometry().slot_offset(slot);
            let record = SlotRecord::decode(&read(&self.disk, offset), self.uuid, offset).ok()?;
            (record.kind == SlotKind::Data).then_some((slot, offset, record))
        })
    }

    fn live(&self) -> Vec<Live> {
        let mut places = vec![
            ("superblock", Geometry::superblock_offset(0)),
            ("superblock", Geometry::superblock_offset(1)),
            ("backup", geometry().backup_offset()),
            ("session", Geometry::session_offset(0)),
            ("session", Geometry::session_offset(1)),
        ];
        let header = |n| (n, Geometry::segment_header_offset(n));
        places.extend((0..2).map(header).filter_map(|(n, offset)| {
            let header = SegmentHeader::decode(&read(&self.disk, offset), self.uuid, n).ok()?;
            (header.used_slots > 0).then_some(("header", offset))
        }));
        places.extend(self.slots().map(|(_, offset, _)| ("slot", offset)));
        let blobs = (0..geometry().n_blobs()).map(|n| geometry().blob_offset(n));
        places.extend(blobs.filter_map(|offset| {
            let record = BlobRecord::decode(&read(&self.disk, offset), self.uuid, offset).ok()?;
            (record.kind != BlobKind::Free).then_some(("blob", offset))
        }));
        let live = places.into_iter().map(|(kind, offset)| Live {
            kind,
            offset,
            bytes: read(&self.disk, offset),
        });
        live.collect()
    }

    fn present(&self) -> Vec<Present> {
        let mut found = Vec::new();
        for (slot, _, record) in self.slots() {
            let generation = record.generation;
            let file = ChunkFile { slot, generation };
            for n in record.present.iter() {
                let len = record.chunk.block_len(u64::from(record.valid_len), n);
                let start = u64::from(n) * record.chunk.block_size();
                let mut bytes = vec![0; usize::try_from(len).unwrap()];
                let got = self.disk.read_chunk(file, start, &mut bytes).unwrap();
                assert_eq!(got, bytes.len());
                found.push(Present { file, start, bytes });
            }
        }
        found
    }

    /// Reads everything through the engine, in the boot of this number; every byte is judged.
    fn read_all(&self, disk: CrashStore, boot: u8) -> u64 {
        let rng = Rng::new(u64::from(boot));
        let mut world = World::over(Arc::new(disk), self.origin.clone(), rng, Setup::PLAIN, boot);
        world.read_all();
        world.calm();
        world.reads_judged
    }

    /// Whether a slot that the last session stamped names the blob record at this offset. Nothing tells that one which
    /// only earlier sessions named was ever written: they may have been killed before.
    fn is_vouched_for(&self, offset: u64) -> bool {
        let last = self
            .slots()
            .map(|(_, _, record)| record.stamp.epoch())
            .max();
        let named = self
            .slots()
            .filter(|(_, _, record)| Some(record.stamp.epoch()) == last);
        let mut named = named.filter_map(|(_, _, record)| record.blob_hint);
        named.any(|number| geometry().blob_offset(number) == offset)
    }

    /// Damages a copy of which nothing tells that it was: it must be read right.
    fn survives_unseen(&self, what: &str, damage: impl Fn(&CrashStore)) -> u64 {
        let disk = copy(&self.disk);
        damage(&disk);
        let looked = check(&disk, Mode::Check);
        assert_eq!(looked.exit_code(), exit::CLEAN, "{what}: {looked}");
        self.read_all(copy(&disk), 1) + self.read_all(disk, 9)
    }

    /// Damages a copy, which must be read right, found, mended, found clean, and read right.
    fn survives(&self, what: &str, damage: impl Fn(&CrashStore)) -> u64 {
        let disk = copy(&self.disk);
        damage(&disk);
        disk.sync_all().unwrap();
        // The damage is as old as the boot, or older.
        let mut reads = self.read_all(copy(&disk), 1) + self.read_all(copy(&disk), 9);
        let looked = check(&disk, Mode::Check);
        assert_eq!(looked.exit_code(), exit::UNCORRECTED, "{what}: {looked}");
        let mended = check(&disk, Mode::Repair);
        assert_eq!(mended.exit_code(), exit::CORRECTED, "{what}: {mended}");
        let again = check(&disk, Mode::Check);
        assert_eq!(
            again.exit_code(),
            exit::CLEAN,
            "{what}: {mended}{:?}",
            again.findings
        );
        reads += self.read_all(disk, 1);
        reads
    }
}

fn read(disk: &CrashStore, offset: u64) -> Sector {
    let mut sector = [0; SECTOR_LEN];
    disk.read_index(offset, &mut sector).unwrap();
    sector
}

fn check(disk: &CrashStore, mode: Mode) -> Report {
    let go_on = &mut |_| ControlFlow::Continue(());
    run(Disk::of(disk), mode, CheckOptions::DEEP, go_on).unwrap()
}

/// What a place is overwritten with: zeros, ones, noise.
fn patterns(len: usize, seed: u64) -> Vec<(&'static str, Vec<u8>)> {
    let mut noise = vec![0; len];
    Rng::new(seed).fill(&mut noise);
    vec![
        ("zeros", vec![0; len]),
        ("ones", vec![0xff; len]),
        ("noise", noise),
    ]
}

#[test]
fn any_live_sector_may_be_overwritten() {
    let made = Made::new(1);
    let live = made.live();
    let kinds = ["superblock", "backup", "session", "header", "slot", "blob"];
    for kind in kinds {
        assert!(live.iter().any(|sector| sector.kind == kind), "{kind}");
    }
    let (mut states, mut reads, mut seen) = (0, 0, 0);
    for (n, sector) in live.iter().enumerate() {
        let mut with = patterns(SECTOR_LEN, sector.offset);
        for kind in kinds {
            // Of its own kind the neighbour, of another kind one after the other.
            let others: Vec<_> = live
                .iter()
                .filter(|other| other.kind == kind && other.offset != sector.offset)
                .collect();
            if let Some(other) = others.get(n % others.len().max(1)) {
                with.push((kind, other.bytes.to_vec()));
            }
        }
        for (pattern, bytes) in with {
            let what = format!("{} at {} with {pattern}", sector.kind, sector.offset);
            let damage = |disk: &CrashStore| disk.write_index(sector.offset, &bytes).unwrap();
            let blank_blob = sector.kind == "blob" && pattern == "zeros";
            reads += match blank_blob && !made.is_vouched_for(sector.offset) {
                true => made.survives_unseen(&what, damage),
                false => made.survives(&what, damage),
            };
            seen += u32::from(blank_blob && made.is_vouched_for(sector.offset));
            states += 1;
        }
    }
    eprintln!(
        "{states} states of {} live sectors, {reads} reads, {seen} blank blob records were found",
        live.len()
    );
    assert!(
        seen > 0 && states > 200 && reads > 10_000,
        "{states} {reads}"
    );
}

#[test]
fn any_present_block_may_be_overwritten() {
    let made = Made::new(2);
    let blocks = made.present();
    let (mut states, mut reads) = (0, 0);
    for (n, block) in blocks.iter().enumerate() {
        let mut with = patterns(block.bytes.len(), n as u64);
        let mut other = blocks[(n + 7) % blocks.len()].bytes.clone();
        other.resize(block.bytes.len(), 0);
        with.push(("another block", other));
        for (pattern, bytes) in with {
            assert!(bytes != block.bytes, "the damage is none");
            let what = format!("{:?} at {} with {pattern}", block.file, block.start);
            reads += made.survives(&what, |disk| {
                disk.write_chunk(block.file, block.start, &bytes).unwrap();
            });
            states += 1;
        }
    }
    eprintln!(
        "{states} states of {} present blocks, {reads} reads",
        blocks.len()
    );
    assert!(states > 400 && reads > 10_000, "{states} {reads}");
}

/// The rig can see: with every checksum trusted, damaged blocks reach the reader.
#[test]
fn without_checksums_a_damaged_block_is_read() {
    let _unsafe = trust_every_checksum();
    let made = Made::new(2);
    let blocks = made.present();
    let (mut caught, mut states) = (0, 0);
    for block in blocks.iter().step_by(blocks.len() / 16) {
        let disk = copy(&made.disk);
        let wrong: Vec<u8> = block.bytes.iter().map(|byte| !byte).collect();
        disk.write_chunk(block.file, block.start, &wrong).unwrap();
        let judged = std::panic::AssertUnwindSafe(|| made.read_all(disk, 1));
        caught += u32::from(std::panic::catch_unwind(judged).is_err());
        states += 1;
    }
    eprintln!("wrong bytes in {caught} of {states} states");
    // A slot of a version that was replaced is read by nobody.
    assert!(caught * 2 > states, "{caught} of {states}");
}
