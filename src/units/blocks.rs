//! A set of the 64 blocks of one chunk.

use std::ops::Range;

/// A set of blocks of one chunk: bit `n` stands for block `n`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct BlockMask(pub u64);

impl BlockMask {
    /// No block.
    pub const NONE: Self = Self(0);
    /// All 64 blocks.
    pub const ALL: Self = Self(u64::MAX);

    /// The set of block `n` alone; `n` is below 64.
    pub fn one(n: u32) -> Self {
        debug_assert!(n < 64, "a chunk has 64 blocks");
        Self(1 << (n & 63))
    }

    /// The blocks of the half-open range `blocks`, whose end is at most 64.
    pub fn span(blocks: Range<u32>) -> Self {
        let below = |n: u32| if n >= 64 { u64::MAX } else { (1 << n) - 1 };
        Self(below(blocks.end) & !below(blocks.start))
    }

    /// Whether block `n` is in the set.
    pub fn has(self, n: u32) -> bool {
        self.0 & Self::one(n).0 != 0
    }

    /// Whether every block of `other` is in this set.
    pub fn holds(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no block is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many blocks are in the set.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// The highest block in the set.
    pub fn last(self) -> Option<u32> {
        self.0.checked_ilog2()
    }

    /// The blocks of both sets together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The blocks of this set that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The blocks that are in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The blocks in rising order.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let n = rest.trailing_zeros();
            rest &= rest - 1;
            Some(n)
        })
    }

    /// The maximal runs of adjacent blocks in rising order, as half-open ranges.
    pub fn runs(self) -> impl Iterator<Item = Range<u32>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let start = rest.trailing_zeros();
            let end = start + (rest >> start).trailing_ones();
            rest &= !Self::span(start..end).0;
            Some(start..end)
        })
    }
}

impl std::fmt::Debug for BlockMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockMask({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_spans_agree_with_a_naive_walk() {
        for seed in 0..2_000u64 {
            let mask = BlockMask(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) & (seed << 20 | !seed));
            let listed: Vec<u32> = mask.runs().flatten().collect();
            let naive: Vec<u32> = (0..64).filter(|n| mask.0 >> n & 1 == 1).collect();
            assert_eq!(listed, naive, "seed {seed}");
            assert_eq!(mask.iter().collect::<Vec<_>>(), naive, "seed {seed}");
            let rebuilt = mask
                .runs()
                .fold(BlockMask::NONE, |m, r| m.with(BlockMask::span(r)));
            assert_eq!(rebuilt, mask, "seed {seed}");
        }
        assert_eq!(BlockMask::span(0..64), BlockMask::ALL);
        assert_eq!(BlockMask::span(7..7), BlockMask::NONE);
    }
}
