//! What is being done on the cache disk, as a type: an error is judged by it and logged with it.

use std::fmt;

/// What an operation of [`Storage`](super::Storage) is for. `Display` gives it as the log says it: "writing a chunk".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DiskOp {
    /// Records are read from the index.
    ReadIndex(IndexPart),
    /// Records are written to the index.
    WriteIndex(IndexPart),
    /// The index is made durable.
    SyncIndex,
    /// Bytes are read from a chunk file.
    ReadChunk,
    /// A descriptor of a chunk file is opened for the kernel.
    LendChunk,
    /// Bytes are written to a chunk file.
    WriteChunk,
    /// A chunk file is made shorter.
    CutChunk,
    /// A chunk file is unlinked.
    RemoveChunk,
    /// The chunk files are listed and measured.
    CountChunks,
    /// The mark of a clean close is written.
    Seal,
    /// The whole file system is made durable.
    SyncAll,
    /// The file system is asked what it has left.
    AskSpace,
}

/// Of what a part of the index is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IndexPart {
    /// More than one of the others.
    Whole,
    /// The records of all slots of a segment.
    Segment,
    /// A segment's header.
    SegmentHeader,
    /// The record of one slot.
    Slot,
    /// The record of one file.
    Blob,
}

impl DiskOp {
    /// Whether it changes the disk: a full or read-only disk fails it, and a disk without the cache directory does, while
    /// reads through open descriptors still succeed.
    pub fn is_write(self) -> bool {
        match self {
            Self::ReadIndex(_)
            | Self::ReadChunk
            | Self::LendChunk
            | Self::CountChunks
            | Self::AskSpace => false,
            Self::WriteIndex(_)
            | Self::SyncIndex
            | Self::WriteChunk
            | Self::CutChunk
            | Self::RemoveChunk
            | Self::Seal
            | Self::SyncAll => true,
        }
    }
}

impl fmt::Display for DiskOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadIndex(part) => write!(f, "reading {part}"),
            Self::WriteIndex(part) => write!(f, "writing {part}"),
            Self::SyncIndex => f.write_str("syncing the index"),
            Self::ReadChunk => f.write_str("reading a chunk"),
            Self::LendChunk => f.write_str("opening a chunk file for the kernel"),
            Self::WriteChunk => f.write_str("writing a chunk"),
            Self::CutChunk => f.write_str("cutting a chunk file"),
            Self::RemoveChunk => f.write_str("unlinking a chunk file"),
            Self::CountChunks => f.write_str("counting the chunk files"),
            Self::Seal => f.write_str("marking the index as closed"),
            Self::SyncAll => f.write_str("syncing the file system"),
            Self::AskSpace => f.write_str("asking for its free space"),
        }
    }
}

impl fmt::Display for IndexPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "the index",
            Self::Segment => "a segment of the index",
            Self::SegmentHeader => "the header of a segment",
            Self::Slot => "a slot's sector",
            Self::Blob => "a blob record",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_says_what_it_does_and_whether_it_writes() {
        for (op, text, writes) in [
            (DiskOp::WriteChunk, "writing a chunk", true),
            (DiskOp::RemoveChunk, "unlinking a chunk file", true),
            (
                DiskOp::WriteIndex(IndexPart::Slot),
                "writing a slot's sector",
                true,
            ),
            (
                DiskOp::ReadIndex(IndexPart::Blob),
                "reading a blob record",
                false,
            ),
            (DiskOp::CountChunks, "counting the chunk files", false),
            (DiskOp::AskSpace, "asking for its free space", false),
        ] {
            assert_eq!((op.to_string().as_str(), op.is_write()), (text, writes));
        }
    }
}
