//! What a rule says of a cache: what is wrong, where, and what would put it right.

use std::path::PathBuf;

use serde::Serialize;

use crate::check::clause::Clause;
use crate::check::facts::{Bad, Evidence, FileSeen};
use crate::format::{SegmentHeader, Session, Superblock};
use crate::units::{BlockMask, SlotId};

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The clause that is broken.
    pub clause: Clause,
    /// Where: which record or file.
    pub place: String,
    /// What is wrong there, as a sentence.
    pub detail: String,
    /// Bytes of cached data that are lost, or set aside, by putting it right.
    pub bytes: u64,
    /// Whether it was put right.
    pub fixed: bool,
    /// What would put it right.
    #[serde(skip)]
    pub repair: Repair,
    /// The sectors that it is about: all that the rule looked at.
    #[serde(skip)]
    pub evidence: Vec<Evidence>,
    /// The file that it is about.
    #[serde(skip)]
    pub file: Option<FileSeen>,
}

/// What puts a finding right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repair {
    /// Cut the index to this length, or write zeros up to it.
    IndexLength(u64),
    /// Write this superblock over the copy that its sequence selects.
    Superblock(Box<Superblock>),
    /// Write this superblock as the backup.
    Backup(Box<Superblock>),
    /// Write this session.
    Session(Box<Session>),
    /// Write this segment header.
    Segment(Box<SegmentHeader>),
    /// Write a blank slot record and remove the slot's file, of which nothing is known any more.
    BlankSlot(SlotId),
    /// Free the slot; its file stays its own.
    FreeSlot(SlotId),
    /// Call these blocks of the slot absent.
    ClearBlocks(SlotId, BlockMask),
    /// Write a free record over the blob record of this number.
    FreeBlob(u32),
    /// Write a blank sector at this offset.
    Blank(u64),
    /// Remove the file at the place of this slot.
    RemoveFile(SlotId),
    /// Move this into `quarantine`.
    Quarantine(PathBuf),
    /// Remove `dirty` with the bytes of users in it: only where the user said so.
    DiscardDirty,
}

impl Finding {
    pub(super) fn new(clause: Clause, place: String, detail: String, repair: Repair) -> Self {
        Self {
            clause,
            place,
            detail,
            bytes: 0,
            fixed: false,
            repair,
            evidence: Vec::new(),
            file: None,
        }
    }

    /// A finding about one bad record.
    pub(super) fn bad(clause: Clause, what: &str, bad: &Bad, repair: Repair) -> Self {
        let place = format!("{what} {}", bad.number);
        Self::new(clause, place, bad.why.clone(), repair).seen([bad.evidence])
    }

    pub(super) fn seen(self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        Self {
            evidence: evidence.into_iter().collect(),
            ..self
        }
    }

    pub(super) fn costs(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    pub(super) fn at_file(self, seen: FileSeen) -> Self {
        Self {
            file: Some(seen),
            ..self
        }
    }
}
