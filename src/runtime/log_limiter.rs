//! How often trouble is told: a disk that fails at every step must not fill another one with its log.

use std::time::Duration;

use crate::runtime::locks::Mutex;

/// At most one line in this time.
const EVERY: Duration = Duration::from_secs(1);

/// When trouble was told last, and how much was not told since.
#[derive(Default)]
pub struct LogLimiter(Mutex<Told>);

#[derive(Default)]
struct Told {
    last: Option<Duration>,
    untold: u64,
}

impl LogLimiter {
    /// Whether to tell of what happened at `now`: then how much went untold before it.
    pub fn tell(&self, now: Duration) -> Option<u64> {
        let mut told = self.0.lock();
        if told
            .last
            .is_some_and(|last| now.saturating_sub(last) < EVERY)
        {
            told.untold += 1;
            return None;
        }
        told.last = Some(now);
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_none_is_forgotten() {
        let trouble = LogLimiter::default();
        let (mut lines, mut untold) = (0, 0);
        for n in 0..10_000 {
            if let Some(before) = trouble.tell(Duration::from_millis(n)) {
                lines += 1;
                untold += before;
            }
        }
        assert_eq!(lines, 10);
        assert_eq!(
            lines + untold,
            9_001,
            "those of the last second are still untold"
        );
    }
}
