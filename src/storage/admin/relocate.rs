//! Which records of an index go where in one of another geometry: pure.
//!
//! A record belongs into the segment of its hash. Of two of one identity the newer one moves. What does not fit, because
//! its segment is full or the bytes are spent, stays behind: the oldest first.

use std::collections::HashSet;
use std::hash::Hash;

/// A record that may move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mover<K> {
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

/// Room in the new index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// How many segments.
    pub(super) segments: u32,
    /// How many records a segment takes.
    pub(super) per_segment: u32,
    /// How many bytes may come with all of them.
    pub(super) bytes: u64,
}

/// The old and the new number of every record that moves, in the order of the old ones.
pub(super) fn place<K: Copy + Eq + Hash>(mut movers: Vec<Mover<K>>, room: Room) -> Vec<(u32, u32)> {
    movers.sort_by_key(|mover| std::cmp::Reverse((mover.stamp, mover.from)));
    let mut seen = HashSet::with_capacity(movers.len());
    let mut used = vec![0u32; room.segments as usize];
    let (mut bytes, mut placed) = (0u64, Vec::with_capacity(movers.len()));
    for mover in movers {
        let Some(next) = used.get_mut(mover.segment as usize) else {
            continue;
        };
        let sum = bytes.saturating_add(mover.bytes);
        if !seen.insert(mover.identity) || *next == room.per_segment || sum > room.bytes {
            continue;
        }
        placed.push((mover.from, mover.segment * room.per_segment + *next));
        (*next, bytes) = (*next + 1, sum);
    }
    placed.sort_unstable();
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mover(from: u32, identity: char, segment: u32, stamp: u64, bytes: u64) -> Mover<char> {
        Mover {
            from,
            identity,
            segment,
            stamp,
            bytes,
        }
    }

    #[test]
    fn the_newest_move_as_far_as_there_is_room() {
        let room = Room {
            segments: 2,
            per_segment: 2,
            bytes: 100,
        };
        let all = vec![
            mover(0, 'a', 0, 5, 10),
            mover(1, 'b', 0, 6, 10),
            mover(2, 'c', 0, 7, 10),
            mover(3, 'd', 1, 1, 10),
            mover(4, 'd', 1, 2, 10),
        ];
        assert_eq!(place(all.clone(), room), [(1, 1), (2, 0), (4, 2)]);
        let tight = Room { bytes: 25, ..room };
        assert_eq!(place(all.clone(), tight), [(1, 1), (2, 0)]);
        let none = Room { bytes: 9, ..room };
        assert_eq!(place(all, none), []);
    }

    #[test]
    fn what_is_too_large_keeps_no_smaller_one_from_moving() {
        let room = Room {
            segments: 1,
            per_segment: 8,
            bytes: 20,
        };
        let all = vec![mover(0, 'a', 0, 1, 5), mover(1, 'b', 0, 2, 50)];
        assert_eq!(place(all, room), [(0, 0)]);
    }
}
