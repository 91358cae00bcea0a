//! The names that the kernel was told not to exist.
//!
//! When metadata is expired on request, the kernel must be told name by name. The names that it holds an inode of are in
//! the inode table; the absent ones are noted here, a bounded number of them. Beyond that, the kernel is told to believe
//! such an answer for a moment only.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::ttl::STALE_TTL;
use crate::vfs::names::KernelName;

/// The most names that the kernel is left to believe absent for long: some 100 bytes each.
const ABSENT_MAX: usize = 1 << 16;

/// Names that the kernel was told not to exist, and until when it believes that.
#[derive(Default)]
pub(in crate::vfs) struct Absent(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    until: HashMap<(u64, Box<[u8]>), Duration>,
    /// When to look next for names that the kernel has forgotten by itself.
    look_at: Duration,
}

impl Absent {
    /// Notes a name that is to be believed absent for `ttl`; for how long the kernel may really believe it.
    pub(in crate::vfs) fn note(
        &self,
        parent: u64,
        last: &[u8],
        ttl: Duration,
        now: Duration,
    ) -> Duration {
        if ttl <= STALE_TTL {
            return ttl;
        }
        let mut noted = self.0.lock();
        if noted.until.len() >= ABSENT_MAX && noted.look_at <= now {
            noted.until.retain(|_, until| *until > now);
            noted.look_at = now + STALE_TTL;
        }
        if noted.until.len() >= ABSENT_MAX {
            return STALE_TTL;
        }
        noted
            .until
            .insert((parent, last.into()), now.saturating_add(ttl));
        ttl
    }

    pub(in crate::vfs) fn take(&self) -> impl Iterator<Item = KernelName> {
        let noted = std::mem::take(&mut *self.0.lock());
        let name = |(parent, last)| KernelName {
            parent,
            last,
            inode: None,
        };
        noted.until.into_keys().map(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_names_are_noted_up_to_a_bound() {
        let absent = Absent::default();
        let (minute, now) = (Duration::from_secs(60), Duration::from_secs(100));
        let note = |n: usize, now| absent.note(1, n.to_string().as_bytes(), minute, now);
        assert_eq!(absent.note(1, b"x", Duration::ZERO, now), Duration::ZERO);
        for n in 0..ABSENT_MAX {
            assert_eq!(note(n, now), minute);
        }
        assert_eq!(note(ABSENT_MAX, now), STALE_TTL, "there is no more room");
        let later = now + minute;
        assert_eq!(note(ABSENT_MAX, later), minute, "the kernel has forgotten");
        let names: Vec<KernelName> = absent.take().collect();
        assert_eq!(names.len(), 1);
        assert_eq!((names[0].parent, names[0].inode.is_none()), (1, true));
        assert_eq!(absent.take().count(), 0);
    }
}
