//! Half-open ranges of bytes.

/// The bytes from `start` up to, not including, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

impl ByteRange {
    /// The bytes from `start` up to `end`; empty where `end` is not above `start`.
    pub fn new(start: u64, end: u64) -> Self {
        Self {
            start,
            end: end.max(start),
        }
    }

    /// `len` bytes from `start`, cut at the largest offset that there is.
    pub fn at(start: u64, len: u64) -> Self {
        Self {
            start,
            end: start.saturating_add(len),
        }
    }

    /// How many bytes.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes that are in both ranges; empty where none are.
    #[must_use]
    pub fn clip(self, other: Self) -> Self {
        let start = self.start.max(other.start);
        Self::new(start, self.end.min(other.end))
    }
}

impl std::fmt::Display for ByteRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bytes {}..{}", self.start, self.end)
    }
}

/// The distance of `offset` from the start of `range`. Ranges here are as long as one read at most.
pub fn offset_in(range: ByteRange, offset: u64) -> usize {
    usize::try_from(offset.saturating_sub(range.start)).unwrap_or(usize::MAX)
}
