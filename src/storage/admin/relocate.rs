//! Which records of an index go where in one of another geometry: pure.
//!
//! A record belongs into the segment of its hash. Of two of one identity the newer one moves. What does not fit, because
//! its segment is full or the bytes are spent, stays behind: the oldest first.

use std::collections::HashSet;
use std::hash::Hash;

/// A record that may move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<K> {
    /// Its number in the old index.
    pub(super) from: u32,
    /// What it is the record of.
    pub(super) identity: K,
    /// The segment of the new index where it belongs.
    pub(super) segment: u32,
    /// When it was written: greater is later.
    pub(super) stamp: u64,
    /// The bytes that come with it.
    pub(super) bytes: u64,
}

/// What the new index takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    /// How many segments.
    pub(super) segments: u32,
    /// How many records a segment takes.
    pub(super) per_segment: u32,
    /// How many bytes may come with all of them.
    pub(super) bytes: u64,
}

/// The old and the new number of every record that moves, in the order of the old ones.
pub(super) fn assign<K: Copy + Eq + Hash>(
    mut candidates: Vec<Candidate<K>>,
    capacity: Capacity,
) -> Vec<(u32, u32)> {
    candidates.sort_by_key(|candidate| std::cmp::Reverse((candidate.stamp, candidate.from)));
    let mut seen = HashSet::with_capacity(candidates.len());
    let mut used = vec![0u32; capacity.segments as usize];
    let (mut bytes, mut placed) = (0u64, Vec::with_capacity(candidates.len()));
    for candidate in candidates {
        let Some(next) = used.get_mut(candidate.segment as usize) else {
            continue;
        };
        let sum = bytes.saturating_add(candidate.bytes);
        if !seen.insert(candidate.identity) || *next == capacity.per_segment || sum > capacity.bytes
        {
            continue;
        }
        placed.push((
            candidate.from,
            candidate.segment * capacity.per_segment + *next,
        ));
        (*next, bytes) = (*next + 1, sum);
    }
    placed.sort_unstable();
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(
        from: u32,
        identity: char,
        segment: u32,
        stamp: u64,
        bytes: u64,
    ) -> Candidate<char> {
        Candidate {
            from,
            identity,
            segment,
            stamp,
            bytes,
        }
    }

    #[test]
    fn the_newest_move_as_far_as_there_is_room() {
        let capacity = Capacity {
            segments: 2,
            per_segment: 2,
            bytes: 100,
        };
        let all = vec![
            candidate(0, 'a', 0, 5, 10),
            candidate(1, 'b', 0, 6, 10),
            candidate(2, 'c', 0, 7, 10),
            candidate(3, 'd', 1, 1, 10),
            candidate(4, 'd', 1, 2, 10),
        ];
        assert_eq!(assign(all.clone(), capacity), [(1, 1), (2, 0), (4, 2)]);
        let tight = Capacity {
            bytes: 25,
            ..capacity
        };
        assert_eq!(assign(all.clone(), tight), [(1, 1), (2, 0)]);
        let none = Capacity {
            bytes: 9,
            ..capacity
        };
        assert_eq!(assign(all, none), []);
    }

    #[test]
    fn what_is_too_large_keeps_no_smaller_one_from_moving() {
        let capacity = Capacity {
            segments: 1,
            per_segment: 8,
            bytes: 20,
        };
        let all = vec![candidate(0, 'a', 0, 1, 5), candidate(1, 'b', 0, 2, 50)];
        assert_eq!(assign(all, capacity), [(0, 0)]);
    }
}
