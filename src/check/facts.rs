//! What a scan gathers: everything that the rules need, and nothing that judges.

use std::path::PathBuf;

use bitvec::vec::BitVec;
use hashbrown::HashMap;

use crate::format::{BlobKind, SECTOR_LEN, Session, SessionState, SlotKind, Superblock};
use crate::storage::FoundFile;
use crate::units::{BlobKey, BlockMask, ChunkSize, SlotId, Stamp, Tag};

/// A sector as it was read: where, and a checksum of all its bytes, so that a later look shows whether it has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Evidence {
    /// The offset in the index.
    pub offset: u64,
    /// CRC-32 of its 512 bytes; `None` where the disk did not give them.
    pub fingerprint: Option<u32>,
}

impl Evidence {
    /// A blank sector at this offset.
    pub(super) fn blank(offset: u64) -> Self {
        let fingerprint = Some(crc32fast::hash(&[0; SECTOR_LEN]));
        Self {
            offset,
            fingerprint,
        }
    }
}

/// A file as it was seen, so that a later look shows whether it has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSeen {
    /// Where it lies.
    pub place: FilePlace,
    /// Its length in bytes; `None` where there was none.
    pub len: Option<u64>,
}

/// Where a file lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilePlace {
    /// At the place of this slot.
    Slot(SlotId),
    /// At this path below the cache directory, whatever its length.
    Path(PathBuf),
}

/// A sector that is not believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Bad {
    /// Which record, counted over the whole cache: copy, segment, slot, blob or cell.
    pub(super) number: u32,
    /// Where it lies.
    pub(super) evidence: Evidence,
    /// Why, as a sentence.
    pub(super) why: String,
}

/// A copy of the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SessionCopy {
    /// Never written.
    Blank(Evidence),
    /// It holds.
    Valid(Session, Evidence),
    /// It does not.
    Bad(Bad),
}

impl SessionCopy {
    pub(super) fn session(&self) -> Option<Session> {
        match self {
            Self::Valid(session, _) => Some(*session),
            _ => None,
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        match self {
            Self::Blank(evidence) | Self::Valid(_, evidence) => *evidence,
            Self::Bad(bad) => bad.evidence,
        }
    }
}

/// A slot that holds something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SlotFact {
    pub(super) slot: SlotId,
    pub(super) evidence: Evidence,
    pub(super) kind: SlotKind,
    pub(super) stamp: Stamp,
    pub(super) tag: Tag,
    pub(super) chunk_no: u64,
    pub(super) chunk: ChunkSize,
    pub(super) valid_len: u32,
    /// The number of the blob record that named the tag.
    pub(super) hint: Option<u32>,
    pub(super) present: BlockMask,
    /// Present blocks whose bytes do not give their checksum; only a deep scan looks.
    pub(super) bad_blocks: BlockMask,
}

impl SlotFact {
    /// Whether it holds a chunk of a file. Of the reserved kinds this version knows neither where they belong nor what
    /// their bytes are.
    pub(super) fn is_data(&self) -> bool {
        self.kind == SlotKind::Data
    }

    /// The bytes of these blocks.
    pub(super) fn bytes_of(&self, blocks: BlockMask) -> u64 {
        let valid = u64::from(self.valid_len);
        let len = |block| self.chunk.block_len(valid, block);
        blocks.and(self.present).iter().map(len).sum()
    }

    /// The present blocks that a file of `len` bytes does not hold whole.
    pub(super) fn beyond(&self, len: u64) -> BlockMask {
        let valid = u64::from(self.valid_len);
        let end = |block: u32| {
            u64::from(block) * self.chunk.block_size() + self.chunk.block_len(valid, block)
        };
        let beyond = self.present.iter().filter(|block| end(*block) > len);
        beyond.fold(BlockMask::NONE, |mask, block| {
            mask.with(BlockMask::one(block))
        })
    }
}

/// A blob record in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlobFact {
    pub(super) number: u32,
    pub(super) evidence: Evidence,
    pub(super) kind: BlobKind,
    pub(super) key: BlobKey,
    pub(super) tag: Tag,
    pub(super) size: u64,
    pub(super) chunk: ChunkSize,
    pub(super) stamp: Stamp,
}

/// A session that was closed cleanly: all that belongs to the slots that it stamped was written. Of the sessions before it
/// it is unknown how they ended: a kill or a cut may have cost them a blob record or a segment header for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Closed {
    pub(super) epoch: u64,
    /// The session's sector.
    pub(super) evidence: Evidence,
}

impl Closed {
    /// Whether the session stamped this slot.
    pub(super) fn stamped(&self, slot: &SlotFact) -> bool {
        slot.stamp.epoch() == self.epoch
    }
}

/// What the segments' records add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct SegmentSums {
    pub(super) used_slots: u32,
    pub(super) used_blobs: u32,
    pub(super) allocated: u64,
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct CacheFacts {
    pub(super) superblock: Superblock,
    /// The length that the index has.
    pub(super) index_len: u64,
    /// Copies that do not hold, or contradict the one that does.
    pub(super) bad_superblocks: Vec<Bad>,
    pub(super) sessions: [SessionCopy; 2],
    pub(super) bad_segments: Vec<Bad>,
    /// Headers that were never written, or lost.
    pub(super) blank_segments: Vec<u32>,
    pub(super) sums: Vec<SegmentSums>,
    pub(super) slots: Vec<SlotFact>,
    pub(super) bad_slots: Vec<Bad>,
    /// For each slot whether its sector is anything but blank; those beyond the end of the index are left out.
    pub(super) slot_written: BitVec,
    pub(super) blobs: Vec<BlobFact>,
    pub(super) bad_blobs: Vec<Bad>,
    /// For each blob record whether its sector is anything but blank, as for slots.
    pub(super) blob_written: BitVec,
    pub(super) used_heap: u64,
    pub(super) bad_heap: Vec<Bad>,
    /// The highest epoch in any stamp.
    pub(super) last_epoch: u64,
    /// A sector with a stamp of that epoch.
    pub(super) newest: Option<Evidence>,
    /// The lengths of the slots' files.
    pub(super) files: HashMap<SlotId, u64>,
    /// What is not the cache's.
    pub(super) strays: Vec<FoundFile>,
    /// Bytes of users that were not uploaded.
    pub(super) dirty: Vec<FoundFile>,
    pub(super) blocks_read: u64,
    pub(super) bytes_read: u64,
}

impl CacheFacts {
    /// The last session that holds.
    pub(super) fn last_session(&self) -> Option<(Session, Evidence)> {
        let valid = self
            .sessions
            .iter()
            .filter_map(|copy| copy.session().map(|session| (session, copy.evidence())));
        valid.max_by_key(|(session, _)| session.sequence)
    }

    /// What the last session left whole, where it was closed cleanly.
    pub(super) fn closed_cleanly(&self) -> Option<Closed> {
        let (session, evidence) = self.last_session()?;
        let epoch = session.epoch;
        (session.state == SessionState::Clean).then_some(Closed { epoch, evidence })
    }

    /// Whether the sector of this slot is anything but blank.
    pub(super) fn is_slot_written(&self, slot: SlotId) -> bool {
        self.slot_written
            .get(slot.0 as usize)
            .is_some_and(|bit| *bit)
    }

    /// Whether the sector of the blob record of this number is anything but blank.
    pub(super) fn is_blob_written(&self, number: u32) -> bool {
        self.blob_written
            .get(number as usize)
            .is_some_and(|bit| *bit)
    }

    /// Notes a stamp of this epoch.
    pub(super) fn stamped(&mut self, epoch: u64, evidence: Evidence) {
        if epoch > self.last_epoch {
            (self.last_epoch, self.newest) = (epoch, Some(evidence));
        }
    }
}
