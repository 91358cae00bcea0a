//! The fingerprints of what was evicted last, in a table of fixed size: nothing grows, and nothing is walked.
//!
//! A fingerprint has a bucket, in which the oldest gives way. Two chunks with one fingerprint cost a wrong queue,
//! nothing else.

/// Fingerprints in a bucket: a line of the processor's cache.
const WAYS: usize = 8;

/// What a place costs here.
pub(super) const BYTES_PER_PLACE: usize = size_of::<u64>();

/// As many fingerprints as the segment has places, about.
pub(super) struct Ghosts {
    /// Fingerprint, and above it the turn at which it came; 0 is none.
    entries: Vec<u64>,
    turn: u32,
}

impl Ghosts {
    /// None, with room for `places` of them.
    pub(super) fn new(places: u32) -> Self {
        Self {
            entries: vec![0; (places as usize).next_multiple_of(WAYS)],
            turn: 0,
        }
    }

    /// Adds one; the oldest of its bucket is forgotten where there is no room.
    pub(super) fn add(&mut self, fingerprint: u32) {
        self.turn = self.turn.wrapping_add(1).max(1);
        let turn = self.turn;
        let bucket = self.bucket(fingerprint);
        let same = bucket.iter().position(|entry| is(*entry, fingerprint));
        let oldest = || {
            bucket
                .iter()
                .enumerate()
                .max_by_key(|(_, entry)| age(**entry, turn))
        };
        let at = same
            .or_else(|| oldest().map(|(at, _)| at))
            .unwrap_or_default();
        if let Some(entry) = bucket.get_mut(at) {
            *entry = u64::from(turn) << 32 | u64::from(fingerprint);
        }
    }

    /// Whether it is among the last `most` that were added, and takes it out.
    pub(super) fn take(&mut self, fingerprint: u32, most: u32) -> bool {
        let turn = self.turn;
        let bucket = self.bucket(fingerprint);
        let Some(entry) = bucket.iter_mut().find(|entry| is(**entry, fingerprint)) else {
            return false;
        };
        let young = age(*entry, turn) < u64::from(most);
        *entry = 0;
        young
    }

    fn bucket(&mut self, fingerprint: u32) -> &mut [u64] {
        let buckets = (self.entries.len() / WAYS) as u64;
        let at =
            usize::try_from((u64::from(fingerprint) * buckets) >> 32).unwrap_or_default() * WAYS;
        self.entries.get_mut(at..at + WAYS).unwrap_or_default()
    }
}

fn is(entry: u64, fingerprint: u32) -> bool {
    entry != 0 && entry & u64::from(u32::MAX) == u64::from(fingerprint)
}

/// How many came after it; more than there can be where there is none.
fn age(entry: u64, turn: u32) -> u64 {
    let came = u32::try_from(entry >> 32).unwrap_or_default();
    match came {
        0 => u64::MAX,
        came => u64::from(turn.wrapping_sub(came)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fingerprints are hashes: so are these.
    fn fingerprint(n: u32) -> u32 {
        n.wrapping_mul(0x9E37_79B1)
            .rotate_left(13)
            .wrapping_mul(0x85EB_CA77)
    }

    #[test]
    fn the_last_ones_are_known_once_each() {
        let mut ghosts = Ghosts::new(4096);
        let len = ghosts.entries.len();
        for n in 0..100_000 {
            ghosts.add(fingerprint(n));
        }
        assert_eq!(ghosts.entries.len(), len, "it does not grow");
        let known = (98_976..100_000)
            .filter(|n| ghosts.take(fingerprint(*n), 1024))
            .count();
        assert!(known > 1000, "{known} of the last 1024");
        assert!(
            (98_976..100_000).all(|n| !ghosts.take(fingerprint(n), 1024)),
            "only once"
        );
        assert!(
            (0..98_000).all(|n| !ghosts.take(fingerprint(n), 1024)),
            "too old"
        );
    }

    /// What was taken and is added again is as young as it can be, however old its first entry was.
    #[test]
    fn taken_and_added_again_it_is_young() {
        let mut ghosts = Ghosts::new(64);
        ghosts.add(1);
        assert!(ghosts.take(1, 4));
        ghosts.add(2);
        ghosts.add(1);
        ghosts.add(3);
        ghosts.add(1);
        ghosts.add(4);
        assert!(ghosts.take(1, 2));
        assert!(!ghosts.take(1, 100), "there is no second entry");
        assert!(ghosts.take(2, 100) && ghosts.take(3, 100) && ghosts.take(4, 1));
    }

    #[test]
    fn turns_begin_again_after_the_last_one() {
        let mut ghosts = Ghosts::new(1);
        ghosts.turn = u32::MAX - 2;
        for n in 0..6 {
            ghosts.add(fingerprint(n));
        }
        assert!((1..6).all(|n| ghosts.take(fingerprint(n), 6)));
        assert!(!ghosts.take(0, 6), "a bucket has no ghost of its own");
        for n in 0..9 {
            ghosts.add(fingerprint(n));
        }
        assert!(!ghosts.take(fingerprint(0), 100), "the oldest gave way");
        assert!((1..9).all(|n| ghosts.take(fingerprint(n), 100)));
    }
}
