//! A remote that does not answer: a request that can be served from what is known does not wait for it.
//!
//! The first question that waits long and in vain marks the remote as silent. From then on questions whose answer is
//! known, if only of old, are answered from that at once, and one of them at a time is asked in the background, until
//! something comes back. Questions whose answer is not known at all are asked as ever.

use std::time::Duration;

use parking_lot::Mutex;

/// A question that failed faster than this kept no program waiting.
const LONG: Duration = Duration::from_millis(500);
/// The least time between two questions to a silent remote whose answers no program waits for.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What to do with a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::vfs) enum Course {
    /// Ask it, and wait for the answer.
    Ask,
    /// Ask it for the sake of an answer, and do not wait.
    Probe,
    /// Do not ask it.
    Spare,
}

/// What an answer changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::vfs) enum Change {
    /// Nothing.
    None,
    /// The remote is silent from now on.
    Silent,
    /// It answers again.
    Back,
}

/// Whether the remote is silent.
#[derive(Default)]
pub(in crate::vfs) struct Silence(Mutex<State>);

#[derive(Default)]
struct State {
    silent: bool,
    probing: bool,
    /// When the last answer came, or failed to.
    last: Duration,
}

impl Silence {
    /// What to do at `now` with a question whose answer is `known`, if only of old.
    pub(in crate::vfs) fn course(&self, known: bool, now: Duration) -> Course {
        let mut state = self.0.lock();
        if !state.silent || !known {
            return Course::Ask;
        }
        if state.probing || now.saturating_sub(state.last) < PROBE_EVERY {
            return Course::Spare;
        }
        state.probing = true;
        Course::Probe
    }

    /// A question that was asked at `asked` was answered at `now`, or failed to reach the remote.
    pub(in crate::vfs) fn note(&self, reached: bool, asked: Duration, now: Duration) -> Change {
        let mut state = self.0.lock();
        let before = state.silent;
        state.probing = false;
        state.last = now;
        if reached {
            state.silent = false;
        } else if now.saturating_sub(asked) >= LONG {
            state.silent = true;
        }
        match (before, state.silent) {
            (false, true) => Change::Silent,
            (true, false) => Change::Back,
            _ => Change::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn one_waits_and_the_others_are_spared_until_an_answer_comes() {
        let silence = Silence::default();
        assert_eq!(silence.course(true, at(0)), Course::Ask);
        assert_eq!(silence.note(false, at(0), at(3000)), Change::Silent);
        assert_eq!(silence.course(true, at(3001)), Course::Spare);
        assert_eq!(silence.course(false, at(3001)), Course::Ask);
        assert_eq!(silence.course(true, at(4000)), Course::Probe);
        assert_eq!(
            silence.course(true, at(9000)),
            Course::Spare,
            "one at a time"
        );
        assert_eq!(silence.note(false, at(4000), at(7000)), Change::None);
        assert_eq!(silence.course(true, at(8000)), Course::Probe);
        assert_eq!(silence.note(true, at(8000), at(8001)), Change::Back);
        assert_eq!(silence.course(true, at(8001)), Course::Ask);
    }

    #[test]
    fn what_fails_at_once_silences_nobody() {
        let silence = Silence::default();
        assert_eq!(silence.note(false, at(0), at(100)), Change::None);
        assert_eq!(silence.course(true, at(100)), Course::Ask);
    }
}
