//! Whether the file system gives a growing file more space than it asked for.

use std::fs::File;

/// XFS, by the number that statfs(2) gives.
const XFS_MAGIC: u32 = 0x5846_5342;

/// Whether the file system of `dir` gives a file that grows more space than it asked for: XFS does so with every write
/// beyond the end, up to the size of the file once more, and takes it back when it likes.
pub(super) fn preallocates(dir: &File) -> bool {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "file system magics have 32 bits, whatever the type"
    )]
    rustix::fs::fstatfs(dir).is_ok_and(|fs| fs.f_type as u32 == XFS_MAGIC)
}
