//! What goes wrong with a crash store while it is in use.

use std::ops::Range;

/// What goes wrong while the store is in use. The default is nothing. Chances are in 256 cases.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// A read that may not wait is refused although the bytes are in memory.
    pub refuse_now: u16,
    /// A read that may not wait gives what it had to bring in from the disk as if it had been in memory: a kernel that
    /// does not account.
    pub unaccounted: bool,
    /// A read brings other pages of the file in as well, as readahead does unasked; one that may not wait is
    /// then refused, because it has read from the disk.
    pub reads_around: u16,
    /// A page comes from the disk with one bit flipped; the next time it may come right.
    pub lies: u16,
    /// A read errs with EIO.
    pub read_errors: u16,
    /// A write errs with EIO, and a prefix of it may have landed.
    pub write_errors: u16,
    /// Whatever needs new space errs with ENOSPC; overwriting works.
    pub full: bool,
    /// Dirty pages of these slots' files are dropped where they should be written back.
    pub failing_writeback: Range<u32>,
    /// The same for the index.
    pub failing_index_writeback: bool,
    /// After so many more operations the disk is dead: every operation errs with EIO.
    pub operations_left: Option<u64>,
}
