//! What a check found, as a value, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use super::clause::Clause;
use super::facts::Facts;
use super::rules::{self, Finding};
use crate::format::Superblock;

/// The exit codes of `cachefsck`, as fsck(8) has them.
pub mod exit {
    /// Nothing is wrong.
    pub const CLEAN: u8 = 0;
    /// Something was wrong and was put right.
    pub const CORRECTED: u8 = 1;
    /// Something is wrong and was left so.
    pub const UNCORRECTED: u8 = 4;
    /// The check could not be done.
    pub const OPERATIONAL: u8 = 8;
    /// The command line was wrong.
    pub const USAGE: u8 = 16;
    /// The user ended it.
    pub const CANCELLED: u8 = 32;
}

/// What there was to check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// Slots that the cache has.
    pub slots: u64,
    /// Slots that hold a chunk.
    pub used_slots: u64,
    /// Used slots whose version no blob record names. They are no error: the record may come back.
    pub orphaned_slots: u64,
    /// Blob records that the cache has.
    pub blobs: u64,
    /// Blob records in use.
    pub used_blobs: u64,
    /// Heap cells in use.
    pub used_heap: u64,
    /// Blocks that are present.
    pub present_blocks: u64,
    /// Chunk files.
    pub files: u64,
    /// Blocks that were read and checked.
    pub checked_blocks: u64,
    /// Bytes that were read and checked.
    pub checked_bytes: u64,
}

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every block was read.
    pub deep: bool,
    /// What there was.
    pub counts: Counts,
    /// What is wrong.
    pub findings: Vec<Finding>,
    #[serde(skip)]
    pub(super) superblock: Superblock,
}

impl Report {
    pub(super) fn new(deep: bool, facts: &Facts, findings: Vec<Finding>) -> Self {
        let geometry = facts.superblock.geometry;
        let counts = Counts {
            slots: u64::from(geometry.n_slots()),
            used_slots: facts.slots.len() as u64,
            orphaned_slots: rules::orphans(facts),
            blobs: u64::from(geometry.n_blobs()),
            used_blobs: facts.blobs.len() as u64,
            used_heap: facts.used_heap,
            present_blocks: facts
                .slots
                .iter()
                .map(|slot| u64::from(slot.present.count()))
                .sum(),
            files: facts.files.len() as u64,
            checked_blocks: facts.blocks_read,
            checked_bytes: facts.bytes_read,
        };
        Self {
            deep,
            counts,
            findings,
            superblock: facts.superblock,
        }
    }

    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// How many findings are still open.
    pub fn open(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| !finding.fixed)
            .count()
    }

    /// The exit code: clean, corrected, or left uncorrected.
    pub fn exit_code(&self) -> u8 {
        match (self.is_clean(), self.open()) {
            (true, _) => exit::CLEAN,
            (false, 0) => exit::CORRECTED,
            (false, _) => exit::UNCORRECTED,
        }
    }

    /// The clauses that are broken, with how often and how often that was put right.
    pub fn by_clause(&self) -> impl Iterator<Item = (Clause, usize, usize)> {
        Clause::ALL.iter().filter_map(|clause| {
            let of_it = || {
                self.findings
                    .iter()
                    .filter(|finding| finding.clause == *clause)
            };
            let fixed = of_it().filter(|finding| finding.fixed).count();
            Some((*clause, of_it().count(), fixed)).filter(|(_, count, _)| *count > 0)
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counts;
        writeln!(
            f,
            "{} of {} slots hold {} blocks ({} slots orphaned), {} of {} blob records are in use, {} chunk files",
            c.used_slots,
            c.slots,
            c.present_blocks,
            c.orphaned_slots,
            c.used_blobs,
            c.blobs,
            c.files
        )?;
        if self.deep {
            writeln!(
                f,
                "{} blocks read, {} bytes",
                c.checked_blocks, c.checked_bytes
            )?;
        }
        if self.is_clean() {
            return writeln!(f, "clean");
        }
        writeln!(f, "{:<14} {:>8} {:>8}  what", "clause", "found", "fixed")?;
        for (clause, count, fixed) in self.by_clause() {
            writeln!(
                f,
                "{:<14} {count:>8} {fixed:>8}  {}",
                clause.id(),
                clause.text()
            )?;
        }
        match self.open() {
            0 => writeln!(f, "all put right"),
            open => writeln!(
                f,
                "{open} left as they are; cachefsck -y puts right what can be"
            ),
        }
    }
}
