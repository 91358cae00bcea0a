//! What a check found, as a value, as a table and as JSON.

use std::fmt;

use bytesize::ByteSize;
use serde::Serialize;

use super::clause::Clause;
use super::facts::CacheFacts;
use super::rules::{self, Finding};
use crate::format::Superblock;

/// The exit codes of `cachefsck`, as fsck(8) has them: where several hold, their sum.
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
    pub(super) fn new(deep: bool, facts: &CacheFacts, findings: Vec<Finding>) -> Self {
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

    /// The exit code: clean, corrected, left uncorrected, or the sum of the last two where some were put right and some
    /// were not.
    pub fn exit_code(&self) -> u8 {
        let open = self.open();
        let mut code = exit::CLEAN;
        if open < self.findings.len() {
            code |= exit::CORRECTED;
        }
        if open > 0 {
            code |= exit::UNCORRECTED;
        }
        code
    }

    /// The bytes of cached data that were dropped, or set aside, by what was put right.
    pub fn bytes_dropped(&self) -> u64 {
        let fixed = self.findings.iter().filter(|finding| finding.fixed);
        fixed.map(|finding| finding.bytes).sum()
    }

    /// The clauses that are broken, with how often and how often that was put right.
    pub fn by_clause(&self) -> impl Iterator<Item = (Clause, usize, usize)> {
        self.rows().map(|row| (row.clause, row.found, row.fixed))
    }

    /// The clauses that are broken, in the order of the specification.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        Clause::ALL.iter().filter_map(|clause| {
            let mut row = Row {
                clause: *clause,
                found: 0,
                fixed: 0,
                bytes: 0,
            };
            for finding in self.findings.iter().filter(|f| f.clause == *clause) {
                row.found += 1;
                row.fixed += usize::from(finding.fixed);
                row.bytes += finding.bytes;
            }
            Some(row).filter(|row| row.found > 0)
        })
    }
}

/// One clause in the table of findings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// The clause of `format-spec.md`.
    pub clause: Clause,
    /// How many findings it has.
    pub found: usize,
    /// How many of them were put right.
    pub fixed: usize,
    /// The bytes of cached data that putting all of them right drops or sets aside.
    pub bytes: u64,
}

/// The table. It says nothing of single findings.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counts;
        writeln!(
            f,
            "{} of {} slots in use with {} blocks ({} slots without a blob record), {} of {} blob records in use, {} chunk files",
            c.used_slots,
            c.slots,
            c.present_blocks,
            c.orphaned_slots,
            c.used_blobs,
            c.blobs,
            c.files
        )?;
        if self.deep {
            let bytes = size(c.checked_bytes);
            writeln!(f, "{} blocks read and verified, {bytes}", c.checked_blocks)?;
        }
        if self.is_clean() {
            return writeln!(f, "clean");
        }
        let head = ("clause", "found", "fixed", "bytes");
        let wide = self.rows().map(|row| row.clause.id().len()).max();
        let wide = wide.unwrap_or(0).max(head.0.len());
        let (clause, found, fixed, bytes) = head;
        writeln!(
            f,
            "{clause:<wide$} {found:>8} {fixed:>8} {bytes:>10}  meaning (clauses are explained in format-spec.md)"
        )?;
        for row in self.rows() {
            let (id, what) = (row.clause.id(), row.clause.text());
            let (found, fixed, bytes) = (row.found, row.fixed, size(row.bytes));
            writeln!(f, "{id:<wide$} {found:>8} {fixed:>8} {bytes:>10}  {what}")?;
        }
        let (fixed, open) = (self.findings.len() - self.open(), self.open());
        if fixed > 0 {
            writeln!(
                f,
                "{fixed} repaired, {} dropped or moved to quarantine/",
                size(self.bytes_dropped())
            )?;
        }
        match open {
            0 => Ok(()),
            open => writeln!(f, "{open} not repaired"),
        }
    }
}

/// A size in powers of 1024.
fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}
