//! Seeded choices: the same seed gives the same run, on every machine.

/// A small generator of numbers (SplitMix64, Steele, Lea and Flood, 2014). For tests only: it is no secret.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// An index into something of this length; 0 where it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or_default()
    }

    /// True in `of_256` of 256 cases: never at 0, always at 256.
    pub fn chance(&mut self, of_256: u16) -> bool {
        self.below(256) < u64::from(of_256)
    }

    /// Brings the items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.index(at + 1));
        }
    }

    /// Fills `buf` with noise.
    pub fn fill(&mut self, buf: &mut [u8]) {
        for piece in buf.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            piece.iter_mut().zip(word).for_each(|(to, from)| *to = from);
        }
    }

    /// A generator of its own for a part of a run, so that the part's choices do not shift the others'.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_sequence_comes_out() {
        // The first numbers of SplitMix64 from the seed 1234567, as its authors' C code prints them.
        let mut rng = Rng::new(1_234_567);
        let first = [rng.next_u64(), rng.next_u64()];
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
    }

    #[test]
    fn choices_stay_within_bounds_and_reach_them() {
        let mut rng = Rng::new(5);
        let mut seen = [0; 7];
        (0..1000).for_each(|_| seen[rng.index(7)] += 1);
        assert!(seen.iter().all(|n| *n > 100), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert!((0..1000).all(|_| !rng.chance(0) && rng.chance(256)));
        let mut items: Vec<_> = (0..50).collect();
        rng.shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
