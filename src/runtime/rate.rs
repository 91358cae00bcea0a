//! A rate of bytes a second, as the moment from which on the next bytes may be had. Pure.

use std::time::Duration;

/// What was not used for a while can be made up for to this extent: about two ticks.
const BURST: Duration = Duration::from_millis(100);

/// A rate.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Pace {
    /// Bytes a second; 0 is no limit.
    rate: u64,
    free_at: Duration,
}

impl Pace {
    /// This many bytes a second from `now` on; 0 is no limit.
    pub(crate) fn new(rate: u64, now: Duration) -> Self {
        Self { rate, free_at: now }
    }

    /// Whether something may be done now.
    pub(crate) fn is_free(&self, now: Duration) -> bool {
        self.rate == 0 || now >= self.free_at
    }

    /// So many bytes were used.
    pub(crate) fn spend(&mut self, bytes: u64, now: Duration) {
        if self.rate > 0 {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
            let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            let from = self.free_at.max(now.saturating_sub(BURST));
            self.free_at = from.saturating_add(cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_over_any_time() {
        for (rate, tick) in [(1 << 20, 50), (32 << 20, 50), (100, 1), (7 << 30, 100)] {
            let mut pace = Pace::new(rate, Duration::ZERO);
            let (mut used, piece) = (0, 1 << 20);
            for ms in (0..20_000).step_by(tick) {
                let now = Duration::from_millis(ms);
                while pace.is_free(now) {
                    pace.spend(piece, now);
                    used += piece;
                }
            }
            let due = rate * 20;
            assert!(used <= due + piece + rate / 5, "{used} of {due}");
            assert!(used + piece + rate / 5 >= due, "{used} of {due}");
        }
        let mut pace = Pace::new(0, Duration::ZERO);
        pace.spend(u64::MAX, Duration::ZERO);
        assert!(pace.is_free(Duration::ZERO));
    }

    #[test]
    fn what_was_not_used_is_lost() {
        let mut pace = Pace::new(1 << 20, Duration::ZERO);
        let late = Duration::from_secs(100);
        pace.spend(1 << 20, late);
        assert!(!pace.is_free(late));
        assert!(pace.is_free(late + Duration::from_secs(1)));
    }
}
