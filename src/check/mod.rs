//! Floor 3, beside the engine: the check of a cache's records, and their repair. It never imports the engine, so that a
//! mistake there is not repeated here.
//!
//! `scan` and `deep` gather facts, `rules` (pure) turns them into findings, `repair` carries out what a finding says,
//! `stand` drops what was only in motion, `report` tells it. Invariants:
//!
//! * A repair frees records and clears presence; it never invents any. All that it can lose is a clean copy of remote
//!   data.
//! * Without repair nothing is written, and a daemon may be at work meanwhile: a finding counts only if all that it is
//!   about was so at one moment.
//! * A second check after a repair finds nothing.
//!
//! The index is read through [`Storage`] in large pieces rather than through a mapping: it is as fast, a disk error stays
//! an error value, and the crash store of the tests can be checked by the same code.

mod anew;
mod clause;
mod deep;
mod facts;
mod repair;
mod report;
mod rules;
mod salvage;
mod scan;
mod stand;

use std::io;
use std::ops::ControlFlow;

pub use anew::{AnewError, start_anew};
pub use clause::Clause;
pub use repair::{Means, repair};
pub use report::{Counts, Report, Row, exit};
pub use rules::{Finding, Repair};
pub use salvage::{Salvage, salvage};

use crate::format::SectorError;
use crate::storage::{ChunkFiles, HostIdentity, Storage};

/// What is checked: the records and the files of one cache.
#[derive(Clone, Copy)]
pub struct Disk<'a> {
    /// The records and the blocks.
    pub storage: &'a dyn Storage,
    /// The files as such.
    pub files: &'a dyn ChunkFiles,
    /// The machine, where it is known: only in the boot that wrote a slot can one bad block of it stand alone.
    pub host: Option<HostIdentity>,
    /// Whether somebody else may change the cache meanwhile: what is found is then looked at again after a while.
    pub live: bool,
}

impl<'a> Disk<'a> {
    /// A store that is both.
    pub fn of(store: &'a (impl Storage + ChunkFiles)) -> Self {
        Self {
            storage: store,
            files: store,
            host: None,
            live: !store.is_exclusive(),
        }
    }

    /// The same on this machine.
    #[must_use]
    pub fn on(self, host: HostIdentity) -> Self {
        Self {
            host: Some(host),
            ..self
        }
    }
}

/// Whether what is found is put right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Only look.
    Check,
    /// Put right whatever can be.
    Repair,
}

/// How far a check goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Whether every present block is read and compared with its checksum.
    pub deep: bool,
    /// How many threads read blocks; at least one does.
    pub jobs: usize,
}

impl Plan {
    /// Records and files alone.
    pub const PLAIN: Self = Self {
        deep: false,
        jobs: 1,
    };
    /// Blocks as well, on this thread.
    pub const DEEP: Self = Self {
        deep: true,
        jobs: 1,
    };
}

/// What a check does one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Every sector of the index is read and judged by itself.
    Sectors,
    /// The files are listed, and held against the slots.
    Files,
    /// Every present block is read and compared with its checksum.
    Blocks,
    /// The records are held against one another.
    CrossChecks,
}

impl Phase {
    /// Its name, for a person.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sectors => "sectors",
            Self::Files => "files",
            Self::Blocks => "blocks",
            Self::CrossChecks => "cross-checks",
        }
    }
}

/// How far a check has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// What is being read.
    pub phase: Phase,
    /// How much of it was read.
    pub done: u64,
    /// How much there is; 0 where that is not known.
    pub total: u64,
}

/// Called now and then; the check ends where it answers `Break`.
pub type Observer<'a> = &'a mut dyn FnMut(Step) -> ControlFlow<()>;

/// Why a check did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The disk said no.
    #[error("cannot read the cache: {0}")]
    Io(#[from] io::Error),
    /// No superblock holds, so that nothing can be proven.
    #[error(
        "none of the three superblocks is valid ({0}), so the cached data cannot be verified: cachefsck -y moves the old index to quarantine/ and starts an empty cache"
    )]
    Superblock(SectorError),
    /// The observer ended it.
    #[error("cancelled")]
    Cancelled,
}

/// Looks for whatever is wrong with a cache. Nothing is written.
pub fn check(disk: Disk<'_>, plan: Plan, observe: Observer<'_>) -> Result<Report, CheckError> {
    let mut facts = scan::scan(disk, observe)?;
    if plan.deep {
        deep::blocks(disk, plan.jobs, &mut facts, observe)?;
    }
    let findings = rules::findings(&facts, disk.host);
    let findings = stand::standing(disk, findings)?;
    Ok(Report::new(plan.deep, &facts, findings))
}

/// [`check()`], and [`repair()`] of everything that was found if `mode` says so, apart from bytes of users.
pub fn run(
    disk: Disk<'_>,
    mode: Mode,
    plan: Plan,
    observe: Observer<'_>,
) -> Result<Report, CheckError> {
    let mut report = check(disk, plan, observe)?;
    if mode == Mode::Repair {
        repair(disk, &mut report, Means::default(), |_| true)?;
    }
    Ok(report)
}
