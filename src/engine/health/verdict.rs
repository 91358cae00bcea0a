//! What the cache disk is judged to be, for reading and for writing apart: the decisions alone, without clock or
//! effects.
//!
//! A disk that is not well is left alone: nothing is asked of it but a probe now and then, and the first that succeeds
//! brings it back. Nothing is held against it for good (peers shut a disk for ever after one slow moment). Invariants:
//!
//! * At most one probe of a side is under way.
//! * A verdict is told when it is passed and when it is lifted, and not in between.
//! * One error is no verdict: a bad sector costs its block. Only [`FAILURES`] in a row are.

use std::fmt;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// So many operations that fail in a row are a disk that fails.
const FAILURES: u32 = 8;
/// The pauses before the first probe, and between the later ones at most.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A disk that fails again so soon is probed as seldom as before.
const RELAPSE: Duration = Duration::from_secs(60);
/// How long nothing new is allocated on a disk that had no space.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// What the cache disk is judged to be. All but the first mean that it is not used until a probe succeeds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskState {
    /// It works.
    #[default]
    Well,
    /// Its operations err, one after the other.
    Failing,
    /// An operation does not come back.
    Hung,
    /// It has become read-only.
    ReadOnly,
    /// The cache directory was removed, or something else is in its place.
    Vanished,
}

impl fmt::Display for DiskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Well => "works",
            Self::Failing => "returns errors",
            Self::Hung => "does not respond",
            Self::ReadOnly => "has become read-only",
            Self::Vanished => "has lost the cache directory: it was removed or replaced",
        })
    }
}

/// Of what kind an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Why an operation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The disk.
    Disk,
    /// No space, or no quota, for something new.
    NoSpace,
    ReadOnly,
    Vanished,
    /// The process, or the machine, has no descriptor left.
    Descriptors,
    /// It was not tried, because the disk is not well.
    Bypassed,
}

/// Marks an operation that was not tried.
#[derive(Debug, thiserror::Error)]
#[error("the cache disk {0} and is not used at the moment")]
pub(super) struct Bypassed(pub(crate) DiskState);

impl Failure {
    pub(crate) fn of(error: &io::Error, access: Access) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<Bypassed>()) {
            return Self::Bypassed;
        }
        match (Errno::from_io_error(error), access) {
            (Some(Errno::NOSPC | Errno::DQUOT), _) => Self::NoSpace,
            (Some(Errno::MFILE | Errno::NFILE), _) => Self::Descriptors,
            (Some(Errno::ROFS), Access::Write) => Self::ReadOnly,
            (Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE), Access::Write) => {
                Self::Vanished
            }
            _ => Self::Disk,
        }
    }

    /// Whether it says nothing of what the disk holds: what was to be read may be there all the same.
    pub(crate) fn spares_blocks(self) -> bool {
        self != Self::Disk
    }

    fn verdict(self) -> Option<DiskState> {
        match self {
            Self::ReadOnly => Some(DiskState::ReadOnly),
            Self::Vanished => Some(DiskState::Vanished),
            Self::Disk | Self::NoSpace | Self::Descriptors | Self::Bypassed => None,
        }
    }
}

/// A verdict was passed or lifted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Sick(DiskState),
    Well { was: DiskState, lasted: Duration },
}

/// The judge of one side.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    state: DiskState,
    /// Since when it is what it is; `None` for one that was never anything but well.
    since: Option<Duration>,
    failures: u32,
    pause: Duration,
    next_probe: Duration,
    probing: bool,
}

impl Judge {
    pub(crate) fn state(&self) -> DiskState {
        self.state
    }

    /// An operation of this side succeeded.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// One failed.
    pub(crate) fn failed(&mut self, failure: Failure, now: Duration) -> Option<Change> {
        if let Some(state) = failure.verdict() {
            return self.condemn(state, now);
        }
        if failure != Failure::Disk {
            return None;
        }
        self.failures += 1;
        if self.failures >= FAILURES {
            self.condemn(DiskState::Failing, now)
        } else {
            None
        }
    }

    /// One does not come back.
    pub(crate) fn stuck(&mut self, now: Duration) -> Option<Change> {
        self.condemn(DiskState::Hung, now)
    }

    /// One that did not come back has come back: a probe may be worth it.
    pub(super) fn stirred(&mut self, now: Duration) {
        self.next_probe = self.next_probe.min(now);
    }

    /// Whether a probe is to begin now; it is under way then.
    pub(super) fn takes_probe(&mut self, now: Duration) -> bool {
        let due = self.state != DiskState::Well && !self.probing && now >= self.next_probe;
        self.probing |= due;
        due
    }

    /// The probe has ended. A full disk is one that answers.
    pub(super) fn probed(&mut self, outcome: Result<(), Failure>, now: Duration) -> Option<Change> {
        self.probing = false;
        match outcome {
            Ok(()) | Err(Failure::NoSpace) => self.acquit(now),
            Err(failure) => {
                if self.state != DiskState::Well {
                    self.state = failure.verdict().unwrap_or(self.state);
                }
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                self.next_probe = now + self.pause;
                None
            }
        }
    }

    fn acquit(&mut self, now: Duration) -> Option<Change> {
        let was = std::mem::take(&mut self.state);
        let since = self.since.replace(now).unwrap_or(now);
        self.failures = 0;
        let lasted = now.saturating_sub(since);
        (was != DiskState::Well).then_some(Change::Well { was, lasted })
    }

    fn condemn(&mut self, state: DiskState, now: Duration) -> Option<Change> {
        if self.state != DiskState::Well {
            return None;
        }
        let relapsed = self
            .since
            .is_some_and(|well| now.saturating_sub(well) < RELAPSE);
        self.pause = if relapsed {
            (self.pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX)
        } else {
            PAUSE_FIRST
        };
        self.next_probe = now + self.pause;
        self.state = state;
        self.since = Some(now);
        Some(Change::Sick(state))
    }
}

/// Whether the disk has space for something new.
#[derive(Debug, Default)]
pub(super) struct Fullness {
    full: bool,
    until: Duration,
    spell: Spell,
    told: bool,
}

impl Fullness {
    /// Something found no space. Whether to tell of it: not where space comes and goes.
    pub(crate) fn refused(&mut self, now: Duration) -> bool {
        self.until = now + FULL_PAUSE;
        let new = self.spell.came(now) && !self.full;
        self.full = true;
        self.told |= new;
        new
    }

    /// Something new was written. Whether to tell that there is space again.
    pub(crate) fn took(&mut self, now: Duration) -> bool {
        if now < self.until {
            return false;
        }
        self.full = false;
        std::mem::take(&mut self.told)
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether something new may be tried.
    pub(crate) fn may_grow(&self, now: Duration) -> bool {
        !self.full || now >= self.until
    }
}

/// Trouble that comes and goes without a verdict: told once for as long as it keeps coming back.
#[derive(Debug, Default)]
pub(super) struct Spell(Option<Duration>);

/// Trouble that was away for so long is new.
const SPELL: Duration = Duration::from_secs(60);

impl Spell {
    /// It came; whether to tell of it.
    pub(crate) fn came(&mut self, now: Duration) -> bool {
        let last = self.0.replace(now);
        last.is_none_or(|last| now.saturating_sub(last) >= SPELL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn one_error_is_no_verdict_and_eight_in_a_row_are() {
        let mut judge = Judge::default();
        for round in 0..3 {
            for _ in 1..FAILURES {
                assert_eq!(judge.failed(Failure::Disk, s(round)), None);
            }
            judge.succeeded();
        }
        for _ in 1..FAILURES {
            assert_eq!(judge.failed(Failure::Disk, s(5)), None);
        }
        let sick = Change::Sick(DiskState::Failing);
        assert_eq!(judge.failed(Failure::Disk, s(5)), Some(sick));
        assert_eq!(judge.failed(Failure::Disk, s(5)), None, "it is told once");
    }

    #[test]
    fn what_is_not_the_disks_fault_is_no_verdict() {
        let mut judge = Judge::default();
        for failure in [Failure::NoSpace, Failure::Descriptors, Failure::Bypassed] {
            for _ in 0..100 {
                assert_eq!(judge.failed(failure, s(1)), None);
            }
        }
        assert_eq!(judge.state(), DiskState::Well);
        let sick = Change::Sick(DiskState::ReadOnly);
        assert_eq!(judge.failed(Failure::ReadOnly, s(1)), Some(sick));
    }

    #[test]
    fn one_probe_at_a_time_with_growing_pauses_until_one_succeeds() {
        let mut judge = Judge::default();
        assert!(!judge.takes_probe(s(100)));
        assert_eq!(judge.stuck(s(100)), Some(Change::Sick(DiskState::Hung)));
        assert_eq!(judge.stuck(s(100)), None);
        let mut now = s(100);
        for pause in [1, 2, 4, 8, 10, 10] {
            assert!(!judge.takes_probe(now + s(pause) - Duration::from_millis(1)));
            now += s(pause);
            assert!(judge.takes_probe(now));
            assert!(!judge.takes_probe(now + s(99)), "one is under way");
            assert_eq!(judge.probed(Err(Failure::Disk), now), None);
        }
        judge.stirred(now + s(1));
        assert!(judge.takes_probe(now + s(1)), "something came back");
        let well = judge.probed(Ok(()), now + s(2));
        let (was, lasted) = (DiskState::Hung, now + s(2) - s(100));
        assert_eq!(well, Some(Change::Well { was, lasted }));
        assert_eq!(judge.probed(Ok(()), now + s(3)), None);
        // A relapse is probed as seldom as before; one that comes much later is a new one.
        now += s(10);
        assert!(judge.stuck(now).is_some());
        assert!(!judge.takes_probe(now + s(9)) && judge.takes_probe(now + s(10)));
        assert!(judge.probed(Ok(()), now + s(10)).is_some());
        now += s(1000);
        assert!(judge.stuck(now).is_some() && judge.takes_probe(now + s(1)));
    }

    #[test]
    fn a_full_disk_answers_and_a_probe_may_find_another_reason() {
        let mut judge = Judge::default();
        judge.stuck(s(0));
        assert_eq!(judge.probed(Err(Failure::Vanished), s(1)), None);
        assert_eq!(judge.state(), DiskState::Vanished);
        assert!(judge.probed(Err(Failure::NoSpace), s(3)).is_some());
    }

    #[test]
    fn a_full_disk_is_told_once_and_tried_again_after_a_while() {
        let mut full = Fullness::default();
        assert!(full.may_grow(s(0)) && !full.took(s(0)));
        assert!(full.refused(s(10)) && !full.refused(s(10)));
        assert!(!full.may_grow(s(11)), "it pauses");
        assert!(!full.took(s(11)), "what was under way says nothing");
        assert!(full.may_grow(s(12)) && full.is_full());
        assert!(full.took(s(12)) && !full.took(s(12)));
        assert!(!full.is_full());
        assert!(!full.refused(s(13)) && full.is_full(), "it comes and goes");
        assert!(!full.took(s(20)) && !full.is_full());
        assert!(full.refused(s(100)) && full.took(s(110)));
    }

    #[test]
    fn a_spell_is_told_once() {
        let mut spell = Spell::default();
        assert!(spell.came(s(1)));
        for n in 2..500 {
            assert!(!spell.came(s(n)));
        }
        assert!(spell.came(s(600)));
    }

    #[test]
    fn errors_are_told_apart() {
        let of = |errno: Errno, access| Failure::of(&errno.into(), access);
        assert_eq!(of(Errno::IO, Access::Read), Failure::Disk);
        assert_eq!(of(Errno::NOSPC, Access::Write), Failure::NoSpace);
        assert_eq!(of(Errno::DQUOT, Access::Write), Failure::NoSpace);
        assert_eq!(of(Errno::MFILE, Access::Read), Failure::Descriptors);
        assert_eq!(of(Errno::ROFS, Access::Write), Failure::ReadOnly);
        assert_eq!(of(Errno::NOENT, Access::Write), Failure::Vanished);
        assert_eq!(of(Errno::NOTCONN, Access::Write), Failure::Disk);
        let bypassed = io::Error::other(Bypassed(DiskState::Hung));
        assert_eq!(Failure::of(&bypassed, Access::Read), Failure::Bypassed);
        let why = "the cache disk does not respond and is not used at the moment";
        assert_eq!(bypassed.to_string(), why);
    }
}
