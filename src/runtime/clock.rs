//! The clock, passed in so that the simulation can hold it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;

    /// The time since 1970.
    fn wall(&self) -> Duration;
}

/// The machine's clock.
pub struct SystemClock(Instant);

impl Default for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that is passed in"
    )]
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that is passed in"
    )]
    fn wall(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }
}
