//! What has to stay free on the cache's disk, and what follows from what is free: pure.
//!
//! Three marks, as cachefilesd has them, each a share of the disk's bytes and, where it counts them, of its inodes:
//!
//! * below `cull` the cache gives back what it has, until `run` is reached;
//! * while it gives back, it takes nothing: no file grows and none is made. Files are written over in place;
//! * below `stop` it gives back faster. Its own fills never go below `cull`.

use serde::{Deserialize, Serialize};

use crate::storage::Space;

/// Shares are counted in this many parts.
const WHOLE: u16 = 1000;

/// Shares of the cache's disk, in parts per thousand of its bytes and of its inodes. `stop <= cull <= run < 1000`; all
/// zero where nothing has to stay free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FreeSpace {
    run: u16,
    cull: u16,
    stop: u16,
}

/// How short the disk is of space or inodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pressure {
    /// It is not: the cache may grow down to the `cull` mark.
    #[default]
    None,
    /// It fell below `cull`: the cache gives back until `run` is reached.
    Culling,
    /// It fell below `stop`.
    Stopped,
}

impl Default for FreeSpace {
    /// 10 %, 7 % and 3 %.
    fn default() -> Self {
        Self {
            run: 100,
            cull: 70,
            stop: 30,
        }
    }
}

impl FreeSpace {
    /// Nothing has to stay free.
    pub const NONE: Self = Self {
        run: 0,
        cull: 0,
        stop: 0,
    };

    /// These marks, in parts per thousand. Errors with a sentence where they are in no order or leave nothing to use.
    pub fn new(run: u16, cull: u16, stop: u16) -> Result<Self, String> {
        let ordered = stop <= cull && cull <= run;
        if !ordered {
            return Err(format!(
                "{} is not in descending order: RUN must be the largest and STOP the smallest, as in 10/7/3",
                Self { run, cull, stop }
            ));
        }
        if run >= WHOLE {
            return Err(format!(
                "to keep {} % of a disk free leaves nothing for the cache: give less than 100 %",
                percent(run)
            ));
        }
        Ok(Self { run, cull, stop })
    }

    /// The marks that go with this `run` mark, in parts per thousand, in the proportions of the default ones.
    pub fn from_run(run: u16) -> Result<Self, String> {
        let part = |of: u32| u16::try_from(u32::from(run) * of / 10).unwrap_or(WHOLE);
        Self::new(run, part(7), part(3))
    }

    /// The share up to which the cache gives back, in parts per thousand.
    pub fn run(&self) -> u16 {
        self.run
    }

    /// The share below which it gives back.
    pub fn cull(&self) -> u16 {
        self.cull
    }

    /// The share below which it does so in haste.
    pub fn stop(&self) -> u16 {
        self.stop
    }

    /// The state that follows `before` when the disk has this left.
    pub(crate) fn next(self, before: Pressure, space: &Space) -> Pressure {
        let reached = |mark| self.reached(mark, space);
        if !reached(self.stop) {
            Pressure::Stopped
        } else if !reached(self.cull) || (before != Pressure::None && !reached(self.run)) {
            Pressure::Culling
        } else {
            Pressure::None
        }
    }

    /// Whether the cache has given back enough.
    pub(crate) fn is_run(self, space: &Space) -> bool {
        self.reached(self.run, space)
    }

    /// Whether so much of the disk is free, of bytes and of inodes.
    fn reached(self, mark: u16, space: &Space) -> bool {
        space.free_bytes >= share(mark, space.total_bytes)
            && space.free_files >= share(mark, space.total_files)
    }

    /// The bytes of the disk that the cache may still take.
    pub(crate) fn bytes_to_take(self, space: &Space) -> u64 {
        let kept = share(self.cull, space.total_bytes);
        space.free_bytes.saturating_sub(kept)
    }

    /// The files that the cache may still make; where inodes are not counted, any number.
    pub(crate) fn files_to_make(self, space: &Space) -> u64 {
        match space.total_files {
            0 => u64::MAX,
            total => space.free_files.saturating_sub(share(self.cull, total)),
        }
    }
}

impl std::fmt::Display for FreeSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [run, cull, stop] = [self.run, self.cull, self.stop].map(percent);
        write!(f, "{run}/{cull}/{stop} %")
    }
}

/// So many parts per thousand of a total, rounded up; nothing of nothing.
fn share(parts: u16, total: u64) -> u64 {
    let part = (u128::from(total) * u128::from(parts)).div_ceil(u128::from(WHOLE));
    u64::try_from(part).unwrap_or(u64::MAX)
}

fn percent(parts: u16) -> String {
    match (parts / 10, parts % 10) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(free_bytes: u64, total_files: u64, free_files: u64) -> Space {
        Space {
            total_bytes: 1000,
            free_bytes,
            total_files,
            free_files,
        }
    }

    #[test]
    fn culling_goes_on_until_run_is_reached() {
        let marks = FreeSpace::default();
        let mut state = Pressure::None;
        let mut walk = |free: u64| {
            state = marks.next(state, &disk(free, 0, 0));
            state
        };
        assert_eq!(walk(500), Pressure::None);
        assert_eq!(walk(70), Pressure::None, "the mark itself is kept");
        assert_eq!(walk(69), Pressure::Culling);
        assert_eq!(walk(99), Pressure::Culling, "not yet");
        assert_eq!(walk(100), Pressure::None);
        assert_eq!(
            walk(80),
            Pressure::None,
            "between cull and run on the way down"
        );
        assert_eq!(walk(29), Pressure::Stopped);
        assert_eq!(walk(30), Pressure::Culling);
        assert_eq!(walk(100), Pressure::None);
    }

    #[test]
    fn inodes_count_where_there_are_any() {
        let marks = FreeSpace::default();
        let next = |before, total, free| marks.next(before, &disk(900, total, free));
        assert_eq!(next(Pressure::None, 100, 6), Pressure::Culling);
        assert_eq!(next(Pressure::None, 100, 2), Pressure::Stopped);
        assert_eq!(next(Pressure::Culling, 100, 9), Pressure::Culling);
        assert_eq!(next(Pressure::Culling, 100, 10), Pressure::None);
        assert_eq!(next(Pressure::None, 0, 0), Pressure::None, "not counted");
        assert_eq!(next(Pressure::Stopped, 0, 0), Pressure::None);
        assert_eq!(marks.files_to_make(&disk(900, 0, 0)), u64::MAX);
        assert_eq!(marks.files_to_make(&disk(900, 100, 9)), 2);
        assert_eq!(marks.files_to_make(&disk(900, 100, 3)), 0);
        assert_eq!(marks.bytes_to_take(&disk(90, 0, 0)), 20);
        assert_eq!(marks.bytes_to_take(&disk(9, 0, 0)), 0);
    }

    #[test]
    fn nothing_is_kept_free_where_nobody_asks_for_it() {
        let none = FreeSpace::NONE;
        assert_eq!(
            none.next(Pressure::Stopped, &disk(0, 10, 0)),
            Pressure::None
        );
        assert_eq!(none.bytes_to_take(&disk(3, 0, 0)), 3);
    }

    #[test]
    fn marks_have_an_order() {
        assert_eq!(FreeSpace::from_run(100), Ok(FreeSpace::default()));
        assert_eq!(FreeSpace::from_run(0), Ok(FreeSpace::NONE));
        assert_eq!(FreeSpace::default().to_string(), "10/7/3 %");
        assert_eq!(
            FreeSpace::from_run(25).unwrap().to_string(),
            "2.5/1.7/0.7 %"
        );
        assert!(FreeSpace::new(70, 100, 30).unwrap_err().contains("10/7/3"));
        assert!(FreeSpace::from_run(1000).unwrap_err().contains("100 %"));
    }
}
