//! Which versions of blobs are in use, and which are stale: no blob record names them and no handle has them open.
//!
//! Superseding a version is O(1): it is noted here. Its slots are freed piece by piece in the background, by looking up
//! one chunk after the other, so that they are the first places that new chunks get. What is not reached before the
//! cache is closed leaves by the policy's queue.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::engine::placement::stale_version::StaleVersion;
use crate::runtime::locks::Mutex;
use crate::units::Tag;

/// A version that is open.
#[derive(Default)]
struct Open {
    handles: usize,
    /// No record names it any more: it dies when the last handle goes.
    superseded: Option<StaleVersion>,
}

/// The versions in use and the dead ones.
#[derive(Default)]
pub(crate) struct StaleVersions(Mutex<State>);

#[derive(Default)]
struct State {
    open: HashMap<Tag, Open>,
    dead: VecDeque<StaleVersion>,
}

impl StaleVersions {
    /// A blob goes from one tag to another.
    pub(crate) fn in_use(&self, now: Option<Tag>, before: Option<Tag>) {
        let mut state = self.0.lock();
        if let Some(tag) = now {
            let open = state.open.entry(tag).or_default();
            open.handles += 1;
            // Whatever was noted of its death is void.
            open.superseded = None;
            state.dead.retain(|dead| dead.tag != tag);
        }
        let Some(tag) = before else { return };
        let Some(open) = state.open.get_mut(&tag) else {
            return;
        };
        open.handles -= 1;
        if open.handles == 0 {
            let dead = state.open.remove(&tag).and_then(|open| open.superseded);
            state.dead.extend(dead);
        }
    }

    /// A version that no record names any more.
    pub(crate) fn superseded(&self, dead: StaleVersion) {
        let mut state = self.0.lock();
        match state.open.get_mut(&dead.tag) {
            Some(open) => open.superseded = Some(dead),
            None => state.dead.push_back(dead),
        }
    }

    /// Whether a version can be read through a handle that could not get it from the remote any more.
    pub(crate) fn is_irreplaceable(&self, tag: Tag) -> bool {
        let state = self.0.lock();
        state
            .open
            .get(&tag)
            .is_some_and(|open| open.superseded.is_some())
    }

    /// Whether a version is open.
    pub(crate) fn is_in_use(&self, tag: Tag) -> bool {
        self.0.lock().open.contains_key(&tag)
    }

    /// Whether something waits to be freed.
    pub(super) fn has_stale(&self) -> bool {
        !self.0.lock().dead.is_empty()
    }

    /// The next chunks to be freed, at most `most` of one version.
    pub(super) fn next_stale(&self, most: u64) -> Option<(Tag, std::ops::Range<u64>)> {
        let mut state = self.0.lock();
        let dead = state.dead.front_mut()?;
        let (tag, first) = (dead.tag, dead.next);
        dead.next = dead.chunks.min(first + most);
        let chunks = first..dead.next;
        if dead.next == dead.chunks {
            state.dead.pop_front();
        }
        Some((tag, chunks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ChunkSize;

    const OLD: Tag = Tag([1; 16]);

    fn dead() -> StaleVersion {
        StaleVersion::new(OLD, ChunkSize::MIN, 5 * ChunkSize::MIN.bytes() - 1)
    }

    #[test]
    fn a_version_dies_with_its_last_handle() {
        let versions = StaleVersions::default();
        versions.in_use(Some(OLD), None);
        versions.in_use(Some(OLD), None);
        assert!(!versions.is_irreplaceable(OLD));
        versions.superseded(dead());
        assert!(versions.is_irreplaceable(OLD) && !versions.has_stale());
        versions.in_use(Some(Tag([2; 16])), Some(OLD));
        assert!(!versions.has_stale());
        versions.in_use(None, Some(OLD));
        assert!(versions.has_stale() && !versions.is_irreplaceable(OLD));
        assert_eq!(versions.next_stale(3), Some((OLD, 0..3)));
        assert_eq!(versions.next_stale(3), Some((OLD, 3..5)));
        assert_eq!(versions.next_stale(3), None);
    }

    #[test]
    fn a_version_that_comes_back_lives() {
        let versions = StaleVersions::default();
        versions.superseded(dead());
        assert!(versions.has_stale());
        versions.in_use(Some(OLD), None);
        assert!(!versions.has_stale());
    }
}
