//! How far a check has come, as its caller hears of it.

use std::ops::ControlFlow;

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
