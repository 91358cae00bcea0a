//! Versions that the open of an older inode has found, until their names are looked up.
//!
//! An open that finds another version than the one that was shown answers ESTALE, and the kernel looks the name up again at
//! once. What the open has learned is evidence for that lookup, and the bytes that came along open the new inode.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::Blob;
use crate::units::{Facts, ObjectName};

/// How many are kept: each with 128 KiB of bytes, or with a block of 1 MiB at most.
const KEPT_MAX: usize = 16;
/// The kernel looks a name up within microseconds.
const LIFE: Duration = Duration::from_secs(1);

/// A version that was found.
pub(in crate::vfs) struct NewVersion {
    pub(in crate::vfs) name: ObjectName,
    pub(in crate::vfs) facts: Facts,
    pub(in crate::vfs) blob: Arc<Blob>,
    /// When it was asked for.
    pub(in crate::vfs) at: Duration,
    /// When the answer came.
    pub(in crate::vfs) came: Duration,
}

/// The versions that wait for a lookup, oldest first.
#[derive(Default)]
pub(in crate::vfs) struct Announced(Mutex<VecDeque<NewVersion>>);

impl Announced {
    pub(in crate::vfs) fn put(&self, found: NewVersion) {
        let mut kept = self.0.lock();
        kept.retain(|other| other.name != found.name);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(found);
    }

    /// Takes what was found of a name a moment before `now`.
    pub(in crate::vfs) fn take(&self, name: &ObjectName, now: Duration) -> Option<NewVersion> {
        let mut kept = self.0.lock();
        if kept.is_empty() {
            return None;
        }
        kept.retain(|found| now.saturating_sub(found.came) < LIFE);
        let place = kept.iter().position(|found| found.name == *name)?;
        kept.remove(place)
    }
}
