//! How far a check goes, and whether it repairs.

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
pub struct CheckOptions {
    /// Whether every present block is read and compared with its checksum.
    pub deep: bool,
    /// How many threads read blocks; at least one does.
    pub jobs: usize,
}

impl CheckOptions {
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
