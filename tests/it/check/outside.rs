//! What strangers found who read `format-spec.md` and attacked the checker: it did something else than the specification
//! said.

use std::ops::ControlFlow;

use larder::check::{CheckOptions, Clause, Disk, Means, Mode, check, exit, repair};
use larder::format::{
    Geometry, HeapCell, HeapKind, SegmentHeader, SessionState, SlotFlags, SlotKind, SlotRecord,
    Superblock,
};
use larder::storage::{ChunkFile, Storage};
use larder::units::{BlobKey, BlockMask, ChunkSize, SlotId, Stamp, Tag, Uuid};

use super::Rig;

const TAG: Tag = Tag([5; 16]);
const KEY: BlobKey = BlobKey([6; 16]);

/// The header of the slot's segment and the record that the slot names, both as if they had never been written.
fn lose_what_follows_the_slot(rig: &Rig, slot: SlotId) {
    let segment = slot.0 / rig.geometry().slots_per_segment();
    rig.write(Geometry::segment_header_offset(segment), &[0; 512]);
    let record = rig.blob_for(KEY, 1);
    rig.write(rig.geometry().blob_offset(record), &[0; 512]);
}

#[test]
fn a_clean_close_vouches_for_no_session_before_it() {
    for epoch in [1, 2, 3] {
        let rig = Rig::new();
        let slot = rig.slot_for(TAG, 0, 2);
        rig.slot(slot, TAG, Stamp::new(epoch, 1));
        lose_what_follows_the_slot(&rig, slot);
        for sequence in [2, 3] {
            rig.session_in(SessionState::Clean, sequence, 3);
        }
        match epoch {
            3 => rig.mends(&[Clause::Segment, Clause::BlobLost], "a session of its own"),
            _ => {
                let report = rig.run(Mode::Check);
                assert!(report.is_clean(), "epoch {epoch}: {report}");
            }
        }
    }
}

#[test]
fn a_stamp_in_any_record_tells_of_its_epoch() {
    let header = |rig: &Rig| -> (u64, [u8; 512]) {
        let header = SegmentHeader {
            segment: 1,
            stamp: Stamp::new(9, 0),
            ..SegmentHeader::default()
        };
        let offset = Geometry::segment_header_offset(1);
        (offset, header.encode(rig.uuid()))
    };
    let cell = |rig: &Rig| -> (u64, [u8; 512]) {
        let cell = HeapCell {
            kind: HeapKind::Name,
            ordinal: 0,
            next: None,
            stamp: Stamp::new(9, 0),
            owner: KEY,
            payload: Box::from(*b"x"),
        };
        let offset = rig.geometry().heap_offset(1);
        (offset, cell.encode(rig.uuid(), offset))
    };
    type Make = fn(&Rig) -> (u64, [u8; 512]);
    let records: [Make; 2] = [header, cell];
    for (n, record) in records.into_iter().enumerate() {
        let rig = Rig::new();
        let (offset, sector) = record(&rig);
        rig.write(offset, &sector);
        rig.mends(&[Clause::Session], &format!("record {n}"));
    }
}

/// A chunk of a listing, whatever is the matter with it: no rule of files holds for it.
#[test]
fn slots_of_the_reserved_kind_are_left_alone() {
    let rig = Rig::new();
    let data = rig.record(rig.slot_for(TAG, 0, 2)).unwrap();
    let dir = |tag, flags| SlotRecord {
        kind: SlotKind::Dir,
        tag,
        blob_hint: Some(rig.blob_for(KEY, 1) ^ 1),
        stamp: Stamp::new(3, 900),
        flags: SlotFlags(flags),
        ..data.clone()
    };
    let wrong_segment = SlotId(rig.slot_for(TAG, 0, 5).0 ^ 8);
    let places = [
        (rig.slot_for(TAG, 0, 4), dir(TAG, 0)),
        (wrong_segment, dir(TAG, 0)),
        (
            rig.slot_for(Tag([7; 16]), 0, 6),
            SlotRecord {
                chunk: ChunkSize::MAX,
                present: BlockMask::one(0),
                crcs: std::array::from_fn(|n| u32::from(n == 0)),
                ..dir(TAG, 0)
            },
        ),
    ];
    for (slot, record) in &places {
        let offset = rig.geometry().slot_offset(*slot);
        rig.write(offset, &record.encode(rig.uuid(), offset));
        let file = ChunkFile {
            slot: *slot,
            generation: 1,
        };
        rig.store.write_chunk(file, 0, b"of a listing").unwrap();
    }
    let report = rig.run(Mode::Repair);
    assert_eq!(report.exit_code(), exit::CLEAN, "{:?}", report.findings);
    for (slot, record) in places {
        assert_eq!(rig.record(slot), Some(record));
    }
}

#[test]
fn a_superblock_without_a_uuid_does_not_hold() {
    let rig = Rig::new();
    let nobody = Superblock {
        sequence: 6,
        uuid: Uuid::default(),
        ..rig.superblock
    };
    rig.write(nobody.offset(), &nobody.encode());
    rig.mends(&[Clause::Super], "a uuid of zeros");
}

/// Both copies count more than a billion of each record in an index of a few kilobytes.
#[test]
fn what_a_superblock_counts_beyond_the_end_is_not_walked() {
    let rig = Rig::new();
    let len = rig.store.index_len().unwrap();
    let most = Geometry::COUNT_MAX;
    for sequence in [2, 3] {
        let forged = Superblock {
            sequence,
            geometry: Geometry::new(most, most, most, 0).unwrap(),
            ..rig.superblock
        };
        rig.write(forged.offset(), &forged.encode());
    }
    let mut walked = 0;
    let mut report = check(Disk::of(&rig.store), CheckOptions::DEEP, &mut |step| {
        walked = walked.max(step.done).max(step.total);
        match walked < len {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })
    .unwrap();
    let length = &report.findings[0];
    assert_eq!(length.clause, Clause::IndexLength);
    let slots = (len - 65536) / 512;
    for word in [
        format!("{} slots", most - slots),
        format!("{most} blob records"),
        "beyond its end".to_owned(),
    ] {
        assert!(length.detail.contains(&word), "{word}: {}", length.detail);
    }
    // Where the length is not put right, nothing else makes the index longer.
    let others = |finding: &larder::check::Finding| finding.clause != Clause::IndexLength;
    repair(Disk::of(&rig.store), &mut report, Means::default(), others).unwrap();
    assert_eq!(rig.store.index_len().unwrap(), len);
    let backup = report.findings.iter().find(|f| f.clause == Clause::Super);
    let backup = backup.unwrap();
    assert!(
        !backup.fixed && backup.detail.contains("beyond the end"),
        "{backup:?}"
    );
}
