//! What there is once or twice: the index's length, superblocks, sessions, segment headers.

use super::{Finding, Repair};
use crate::check::clause::Clause;
use crate::check::facts::{CacheFacts, Evidence, SessionCopy};
use crate::format::{Geometry, SegmentHeader, Session, SessionState};
use crate::storage::HostIdentity;
use crate::units::Stamp;

/// What was cut off reads as zeros, which are blank records.
pub(super) fn length(facts: &CacheFacts, found: &mut Vec<Finding>) {
    let (actual, expected) = (facts.index_len, facts.superblock.geometry.index_len());
    if actual == expected {
        return;
    }
    let mut detail = format!("it is {actual} bytes long, but its superblock says {expected}");
    if actual < expected {
        let geometry = &facts.superblock.geometry;
        let [slots, blobs, cells] = geometry.within(actual);
        detail.push_str(&format!(
            "; {} slots, {} blob records and {} heap cells lie beyond its end and count as never used",
            geometry.n_slots() - slots,
            geometry.n_blobs() - blobs,
            geometry.n_heap() - cells
        ));
    }
    let repair = Repair::IndexLength(expected);
    let place = "index".to_owned();
    let finding = Finding::new(Clause::IndexLength, place, detail, repair);
    found.push(finding.costs(actual.saturating_sub(expected)));
}

/// A copy that holds is written over a bad one, as the next in sequence whose number selects that copy.
pub(super) fn superblocks(facts: &CacheFacts, found: &mut Vec<Finding>) {
    for copy in &facts.bad_superblocks {
        let held = &facts.superblock;
        let finding = match copy.number {
            0 | 1 => {
                let repair = Repair::Superblock(Box::new(held.next_for(copy.number)));
                Finding::bad(Clause::Super, "superblock copy", copy, repair)
            }
            _ => {
                let repair = Repair::Backup(Box::new(*held));
                let backup = Finding::bad(Clause::Super, "", copy, repair);
                Finding {
                    place: "superblock backup".to_owned(),
                    ..backup
                }
            }
        };
        found.push(finding);
    }
}

/// A new session is written over a bad or missing one, with an epoch above any that was ever seen, so that no stamp can be
/// issued twice, and with no boot id, so that everything older is suspect.
pub(super) fn sessions(facts: &CacheFacts, found: &mut Vec<Finding>) {
    let last = facts.last_session().map(|(session, _)| session);
    let epoch = last
        .map_or(0, |session| session.epoch)
        .max(facts.last_epoch);
    // A bad copy may have been the last one, whose epoch has left no stamp yet.
    let next_epoch = (epoch + 1).min((1 << 24) - 1);
    let written_to = |number: u32| {
        let sequence = last.map_or(0, |session| session.sequence + 1);
        let sequence = sequence + u64::from(sequence & 1 != u64::from(number));
        Repair::Session(Box::new(Session {
            state: SessionState::Open,
            sequence,
            epoch: next_epoch,
            trusted_epoch: next_epoch,
            boot_id: [0; 16],
            host_id: [0; 16],
            disk_mount_id: 0,
            started_at: 0,
            pid: 0,
        }))
    };
    let before = found.len();
    // Both are written at every opening: one alone is as the first of all openings leaves it, before its first stamp.
    let both = last.is_some_and(|session| session.sequence > 1) || facts.last_epoch > 0;
    let all = facts.sessions.iter().map(SessionCopy::evidence);
    let all: Vec<Evidence> = all.chain(facts.newest).collect();
    for (number, copy) in (0..).zip(&facts.sessions) {
        match copy {
            SessionCopy::Bad(copy) => {
                let repair = written_to(copy.number);
                found.push(Finding::bad(Clause::Session, "session copy", copy, repair));
            }
            SessionCopy::Blank(_) if both => {
                let place = format!("session copy {number}");
                let detail = "it is blank, although the cache was used".to_owned();
                let finding = Finding::new(Clause::Session, place, detail, written_to(number));
                found.push(finding.seen(all.iter().copied()));
            }
            _ => {}
        }
    }
    let known = last.map_or(0, |session| session.epoch);
    if found.len() == before && known < facts.last_epoch {
        let newest = facts.last_epoch;
        let detail = format!("its epoch is {known}, but a record has the later epoch {newest}");
        let repair = written_to(last.map_or(0, |session| 1 - session.copy()));
        // A mount in the middle of the scan would explain it, and would have written the other copy.
        let finding = Finding::new(Clause::Session, "session".to_owned(), detail, repair);
        found.push(finding.seen(all));
    }
}

/// A header only informs; it is written again from what was counted. One that is blank over a slot that a cleanly closed
/// session stamped was lost; otherwise it may just not have been written.
pub(super) fn segments(facts: &CacheFacts, found: &mut Vec<Finding>) {
    let counted = |number: u32| {
        let sums = facts.sums.get(number as usize).copied();
        let sums = sums.unwrap_or_default();
        Repair::Segment(Box::new(SegmentHeader {
            segment: number,
            used_slots: sums.used_slots,
            used_blobs: sums.used_blobs,
            hand: 0,
            allocated: sums.allocated,
            stamp: Stamp::default(),
        }))
    };
    for header in &facts.bad_segments {
        let repair = counted(header.number);
        found.push(Finding::bad(Clause::Segment, "segment", header, repair));
    }
    let Some(closed) = facts.closed_cleanly() else {
        return;
    };
    let per_segment = facts.superblock.geometry.slots_per_segment();
    for number in &facts.blank_segments {
        // The slots lie in the order of their numbers.
        let first = facts
            .slots
            .partition_point(|slot| slot.slot.0 / per_segment < *number);
        let behind = facts.slots.iter().skip(first);
        let mut own = behind.take_while(|slot| slot.slot.0 / per_segment == *number);
        let Some(slot) = own.find(|slot| closed.stamped(slot)) else {
            continue;
        };
        let detail = format!(
            "its header is blank, although slot {} is in use",
            slot.slot.0
        );
        let place = format!("segment {number}");
        let header = Evidence::blank(Geometry::segment_header_offset(*number));
        let finding = Finding::new(Clause::Segment, place, detail, counted(*number));
        found.push(finding.seen([closed.evidence, header, slot.evidence]));
    }
}

/// Slots with a lower epoch are suspect: written before the last boot, or before the cache disk was mounted as it is now.
/// Without a session of this host and boot all of them are.
pub(super) fn trusted_epoch(facts: &CacheFacts, host: Option<HostIdentity>) -> u64 {
    let last = facts.last_session().map(|(session, _)| session);
    let here = |s: &Session, host: HostIdentity| {
        (s.boot_id, s.host_id, s.disk_mount_id) == (host.boot_id, host.host_id, host.disk_mount_id)
    };
    let same_boot = last.filter(|s| host.is_some_and(|host| here(s, host)));
    same_boot.map_or(u64::MAX, |session| session.trusted_epoch)
}
