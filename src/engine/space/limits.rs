//! What the cache may take of its disk: the size limit, and what has to stay free. The only gate for whatever makes a
//! file grow or makes a new one.
//!
//! Invariants:
//!
//! * What was free is only ever seen from time to time: what the cache took since then is subtracted from it, so that
//!   its own fills never pass the marks, however fast they are.
//! * While the cache has to give back, nothing grows: what one hand frees the other must not take.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::config::free_space::{FreeSpace, Pressure};
use crate::storage::Space;

/// How often the disk is asked what it has left.
const EVERY: Duration = Duration::from_millis(250);
/// After so many bytes written it is asked at once.
const EVERY_BYTES: u64 = 64 << 20;

/// The limits of one cache.
pub(crate) struct Limits {
    capacity: AtomicU64,
    disk: Mutex<DiskSpace>,
    /// Bytes written since the disk was asked.
    written: AtomicU64,
    /// The disk is being asked: one that hangs is not asked again.
    asking: AtomicBool,
    /// Held while the capacity is changed.
    pub(super) changing: Mutex<()>,
}

/// The disk, as it was last seen.
struct DiskSpace {
    marks: FreeSpace,
    pressure: Pressure,
    asked_at: Option<Duration>,
    seen: Option<(Space, Taken)>,
}

/// What the cache takes of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    /// Bytes, index included.
    pub(crate) bytes: u64,
    /// Files made less those unlinked, since the cache was opened.
    pub(crate) files: i64,
}

/// What the gate says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It may be taken.
    Fits,
    /// Something else has to go first.
    Full,
    /// The cache has to give back: only what takes no more goes on.
    Closed,
}

impl Limits {
    /// A size limit in bytes, index included, and what has to stay free.
    pub(crate) fn new(capacity: u64, marks: FreeSpace) -> Self {
        Self {
            capacity: AtomicU64::new(capacity),
            disk: Mutex::new(DiskSpace {
                marks,
                pressure: Pressure::None,
                asked_at: None,
                seen: None,
            }),
            written: AtomicU64::new(0),
            asking: AtomicBool::new(false),
            changing: Mutex::default(),
        }
    }

    /// The size limit in bytes, index included.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    pub(super) fn set_capacity(&self, capacity: u64) {
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    /// What has to stay free on the disk.
    pub(crate) fn marks(&self) -> FreeSpace {
        self.disk.lock().marks
    }

    /// Sets what has to stay free; it is judged by what was last seen, at once.
    pub(super) fn set_marks(&self, marks: FreeSpace) {
        let mut disk = self.disk.lock();
        disk.marks = marks;
        if let Some((space, _)) = disk.seen {
            disk.pressure = marks.next(disk.pressure, &space);
        }
    }

    /// How short the disk is.
    pub(crate) fn pressure(&self) -> Pressure {
        self.disk.lock().pressure
    }

    /// Whether a cache that takes `now`, with what is promised, may take `more` bytes, and a new file if `creates`. To
    /// take no more is always allowed.
    pub(crate) fn allow(&self, now: Taken, more: u64, creates: bool) -> Verdict {
        if more == 0 && !creates {
            return Verdict::Fits;
        }
        let capacity = self.capacity();
        let disk = self.disk.lock();
        if now.bytes > capacity || disk.pressure != Pressure::None {
            return Verdict::Closed;
        }
        let left = disk.left(now);
        let fits = left.is_none_or(|space| {
            more <= disk.marks.bytes_to_take(&space)
                && (!creates || disk.marks.files_to_make(&space) > 0)
        });
        if fits && now.bytes.saturating_add(more) <= capacity {
            Verdict::Fits
        } else {
            Verdict::Full
        }
    }

    /// Whether a cache that takes `now` has to give back.
    pub(crate) fn is_over(&self, now: Taken) -> bool {
        let disk = self.disk.lock();
        let short = |space: Space| !disk.marks.is_run(&space);
        now.bytes > self.capacity()
            || (disk.pressure != Pressure::None && disk.left(now).is_some_and(short))
    }

    /// Notes that so many bytes were written; whether the disk is to be asked now.
    pub(crate) fn wrote(&self, bytes: u64) -> bool {
        self.written.fetch_add(bytes, Ordering::Relaxed) + bytes >= EVERY_BYTES
    }

    /// Whether it is time to ask the disk.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        let asked_at = self.disk.lock().asked_at;
        asked_at.is_none_or(|at| now >= at + EVERY)
    }

    /// Takes the right to ask the disk, until [`Limits::answered`]; not if another caller has it.
    pub(super) fn may_ask(&self) -> bool {
        !self.asking.swap(true, Ordering::AcqRel)
    }

    /// Gives the right to ask back.
    pub(crate) fn answered(&self) {
        self.asking.store(false, Ordering::Release);
    }

    /// Notes what the disk has left while the cache takes `taken`. Returns the state before and after.
    pub(crate) fn saw(
        &self,
        space: Option<Space>,
        taken: Taken,
        now: Duration,
    ) -> (Pressure, Pressure) {
        self.written.store(0, Ordering::Relaxed);
        let mut disk = self.disk.lock();
        disk.asked_at = Some(now);
        let before = disk.pressure;
        // Where the disk does not answer, what it last said holds.
        if let Some(space) = space {
            disk.seen = Some((space, taken));
            disk.pressure = disk.marks.next(before, &space);
        }
        (before, disk.pressure)
    }
}

impl DiskSpace {
    /// What the disk has left by now, as far as the cache itself is concerned.
    fn left(&self, now: Taken) -> Option<Space> {
        let (space, then) = self.seen?;
        let made = now.files - then.files;
        Some(Space {
            free_bytes: (space.free_bytes.saturating_add(then.bytes)).saturating_sub(now.bytes),
            free_files: space.free_files.saturating_add_signed(-made),
            ..space
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn taken(bytes: u64, files: i64) -> Taken {
        Taken { bytes, files }
    }

    fn disk(free_bytes: u64, free_files: u64) -> Option<Space> {
        Some(Space {
            total_bytes: 1000 * MIB,
            free_bytes,
            total_files: 100,
            free_files,
        })
    }

    #[test]
    fn nothing_grows_past_the_size_limit() {
        let limits = Limits::new(100, FreeSpace::default());
        assert_eq!(limits.allow(taken(90, 0), 10, true), Verdict::Fits);
        assert_eq!(limits.allow(taken(90, 0), 11, false), Verdict::Full);
        assert_eq!(limits.allow(taken(101, 0), 1, false), Verdict::Closed);
        assert_eq!(limits.allow(taken(101, 0), 0, true), Verdict::Closed);
        assert_eq!(limits.allow(taken(101, 0), 0, false), Verdict::Fits);
        assert!(limits.is_over(taken(101, 0)) && !limits.is_over(taken(100, 0)));
    }

    #[test]
    fn what_the_cache_took_since_the_disk_was_asked_is_gone_from_it() {
        let limits = Limits::new(u64::MAX, FreeSpace::default());
        limits.saw(disk(80 * MIB, 50), taken(5 * MIB, 7), Duration::ZERO);
        // The cull mark is at 70 MiB.
        let allow = |used, more| limits.allow(taken(used, 7), more, false);
        assert_eq!(allow(5 * MIB, 10 * MIB), Verdict::Fits);
        assert_eq!(allow(5 * MIB, 10 * MIB + 1), Verdict::Full);
        assert_eq!(allow(12 * MIB, 3 * MIB), Verdict::Fits);
        assert_eq!(allow(12 * MIB, 4 * MIB), Verdict::Full);
        assert_eq!(
            allow(MIB, 14 * MIB),
            Verdict::Fits,
            "what it gave back is free"
        );
    }

    #[test]
    fn inodes_are_counted_too() {
        let limits = Limits::new(u64::MAX, FreeSpace::default());
        limits.saw(disk(500 * MIB, 9), taken(0, 100), Duration::ZERO);
        let allow = |files, creates| limits.allow(taken(0, files), 1, creates);
        assert_eq!(allow(101, true), Verdict::Fits);
        assert_eq!(allow(102, true), Verdict::Full);
        assert_eq!(allow(102, false), Verdict::Fits);
        assert_eq!(allow(99, true), Verdict::Fits);
    }

    #[test]
    fn while_it_gives_back_nothing_grows_until_run_is_seen() {
        let limits = Limits::new(u64::MAX, FreeSpace::default());
        let saw = |free, used| limits.saw(disk(free, 50), taken(used, 0), Duration::ZERO).1;
        assert_eq!(saw(69 * MIB, 50 * MIB), Pressure::Culling);
        assert_eq!(limits.allow(taken(0, 0), 1, false), Verdict::Closed);
        assert!(limits.is_over(taken(20 * MIB, 0)), "99 MiB are not run");
        assert!(!limits.is_over(taken(19 * MIB, 0)), "enough was given");
        assert_eq!(limits.allow(taken(19 * MIB, 0), 1, false), Verdict::Closed);
        assert_eq!(saw(100 * MIB, 19 * MIB), Pressure::None);
        assert_eq!(limits.allow(taken(19 * MIB, 0), 1, false), Verdict::Fits);
        limits.set_marks(FreeSpace::new(300, 200, 100).unwrap());
        assert!(limits.is_over(taken(19 * MIB, 0)), "new marks hold at once");
        limits.saw(None, taken(0, 0), Duration::ZERO);
        assert_eq!(limits.pressure(), Pressure::Culling, "no answer is no news");
    }

    #[test]
    fn the_disk_is_asked_by_time_and_by_bytes() {
        let limits = Limits::new(u64::MAX, FreeSpace::default());
        assert!(limits.is_due(Duration::ZERO));
        limits.saw(None, taken(0, 0), Duration::ZERO);
        assert!(!limits.is_due(Duration::from_millis(249)) && limits.is_due(EVERY));
        assert!(!limits.wrote(EVERY_BYTES - 1) && limits.wrote(1));
        assert!(limits.may_ask() && !limits.may_ask(), "one at a time");
        limits.answered();
        assert!(limits.may_ask());
    }
}
