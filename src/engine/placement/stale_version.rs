//! A version that no blob record names any more.

use crate::units::{ChunkSize, Tag};

/// A version whose chunks are to be freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StaleVersion {
    /// The version.
    pub(crate) tag: Tag,
    /// The chunk that is looked up next.
    pub(crate) next: u64,
    /// How many chunks it had.
    pub(crate) chunks: u64,
}

impl StaleVersion {
    /// A version of `size` bytes, nothing of it freed yet.
    pub(crate) fn new(tag: Tag, chunk: ChunkSize, size: u64) -> Self {
        Self {
            tag,
            next: 0,
            chunks: size.div_ceil(chunk.bytes()),
        }
    }
}
