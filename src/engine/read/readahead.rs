//! Readahead: a pure decision per open handle.
//!
//! It doubles while reads follow one another and falls to nothing at the first that does not (the shape of Linux's own
//! ondemand readahead, mm/readahead.c): a random reader never pays for more than the blocks that it touches.

use std::time::Duration;

use crate::engine::config::cache::Config;
use crate::units::ByteRange;

/// Reads that arrive out of order by up to this many bytes, or by two of their own lengths, still count as sequential:
/// the kernel's readahead has several of them under way at once.
const SLACK: u64 = 512 << 10;
/// The first window.
const FIRST: u64 = 256 << 10;
/// A wide window moves on in steps of this.
const STEP: u64 = 8 << 20;

/// The rate that readahead aims at while a remote lets it wait, in bytes a second: that of a fast network.
const RATE: u64 = 2 << 30;

/// How far readahead may reach at a remote that takes `latency` to begin an answer: what it could have sent meanwhile
/// comes on top (the product of bandwidth and delay). Where chunks may take `room` bytes, no further than a sixteenth
/// of them: what is read ahead must still be there when it is asked for, with other readers beside.
pub(crate) fn reach(config: &Config, latency: Duration, room: u64) -> u64 {
    let waited = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    let meanwhile = waited.saturating_mul(RATE / 1_000_000);
    config
        .readahead_max
        .saturating_add(meanwhile)
        .min(config.readahead_far)
        .min(room / 16)
}

/// What is known of one handle's reads.
#[derive(Default, Debug)]
pub(super) struct Readahead {
    next: u64,
    window: u64,
    frontier: u64,
}

impl Readahead {
    /// Notes a read of `range` and says what to fetch ahead of the next one, if anything. `size` is the blob's, `most`
    /// the furthest that readahead may reach.
    pub(crate) fn note(&mut self, range: ByteRange, size: u64, most: u64) -> Option<ByteRange> {
        let slack = SLACK.max(2 * range.len());
        let follows = self.next > 0 && range.start.abs_diff(self.next) <= slack;
        if !follows {
            *self = Self {
                next: range.end,
                window: 0,
                frontier: range.end,
            };
            return None;
        }
        if range.end > self.next {
            self.window = (self.window * 2).max(FIRST).min(most);
            self.next = range.end;
        }
        let start = self.frontier.max(self.next);
        let end = (self.next + self.window).min(size);
        let worth_it = end.saturating_sub(start) >= (self.window / 2).min(STEP) || end == size;
        if start >= end || !worth_it {
            return None;
        }
        self.frontier = end;
        Some(ByteRange::new(start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_sequential_reader_is_kept_ahead_of_without_asking_twice() {
        let mut ahead = Readahead::default();
        let (mut asked, mut frontier) = (0, 0);
        for n in 0..512u64 {
            let range = ByteRange::at(n * 128 * 1024, 128 * 1024);
            if let Some(fetch) = ahead.note(range, 64 * MIB, 16 * MIB) {
                assert!(
                    fetch.start >= frontier && fetch.start >= range.end,
                    "{fetch}"
                );
                frontier = fetch.end;
                asked += fetch.len();
            }
        }
        assert_eq!(frontier, 64 * MIB);
        assert!(asked <= 64 * MIB);
    }

    #[test]
    fn reads_that_overtake_one_another_are_sequential() {
        let mut ahead = Readahead::default();
        let order = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8];
        let fetched = order.map(|n| ahead.note(ByteRange::at(n * MIB, MIB), 999 * MIB, 16 * MIB));
        assert!(fetched.iter().skip(2).flatten().count() >= 4, "{fetched:?}");
    }

    #[test]
    fn a_random_reader_fetches_nothing_ahead() {
        let mut ahead = Readahead::default();
        for n in 1..200u64 {
            let range = ByteRange::at(n * 7919 % 997 * 4 * MIB, 4096);
            assert_eq!(ahead.note(range, 4000 * MIB, 16 * MIB), None, "read {n}");
        }
    }

    #[test]
    fn a_remote_that_lets_wait_is_read_further_ahead() {
        let config = Config::default();
        let at = |millis| reach(&config, Duration::from_millis(millis), u64::MAX);
        assert_eq!(reach(&config, Duration::ZERO, 1 << 20), 64 << 10);
        assert_eq!(at(0), config.readahead_max);
        assert!(at(5) > at(0) && at(20) > at(5));
        assert_eq!(at(10_000), config.readahead_far);
    }

    #[test]
    fn one_jump_ends_the_window() {
        let mut ahead = Readahead::default();
        let read =
            |ahead: &mut Readahead, at| ahead.note(ByteRange::at(at, 4096), 999 * MIB, 16 * MIB);
        assert_eq!(read(&mut ahead, 0), None);
        assert!(read(&mut ahead, 4096).is_some());
        assert_eq!(read(&mut ahead, 500 * MIB), None);
    }
}
