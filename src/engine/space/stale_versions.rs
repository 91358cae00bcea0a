//! Which versions of blobs are in use, and which are dead: no blob record names them and nobody has them open.
//!
//! Superseding a version is O(1): it is noted here. Its slots are freed piece by piece in the background, by looking up
//! one chunk after the other, so that they are the first places that new chunks get. What is not reached before the cache
//! is closed leaves by the policy's queue.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::runtime::locks::Mutex;
use crate::units::{ChunkSize, Tag};

/// A version whose chunks are to be freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dead {
    /// The version.
    pub(crate) tag: Tag,
    /// The chunk that is looked up next.
    pub(crate) next: u64,
    /// How many chunks it had.
    pub(crate) chunks: u64,
}

impl Dead {
    /// A version of `size` bytes, nothing of it freed yet.
    pub(crate) fn new(tag: Tag, chunk: ChunkSize, size: u64) -> Self {
        Self {
            tag,
            next: 0,
            chunks: size.div_ceil(chunk.bytes()),
        }
    }
}

/// A version that somebody has open.
#[derive(Default)]
struct Open {
    handles: usize,
    /// No record names it any more: it dies when the last handle goes.
    superseded: Option<Dead>,
}

/// The versions in use and the dead ones.
#[derive(Default)]
pub(crate) struct Versions(Mutex<State>);

#[derive(Default)]
struct State {
    open: HashMap<Tag, Open>,
    dead: VecDeque<Dead>,
}

impl Versions {
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
    pub(crate) fn superseded(&self, dead: Dead) {
        let mut state = self.0.lock();
        match state.open.get_mut(&dead.tag) {
            Some(open) => open.superseded = Some(dead),
            None => state.dead.push_back(dead),
        }
    }

    /// Whether a version can be read by somebody who could not get it from the remote any more.
    pub(crate) fn is_irreplaceable(&self, tag: Tag) -> bool {
        let state = self.0.lock();
        state
            .open
            .get(&tag)
            .is_some_and(|open| open.superseded.is_some())
    }

    /// Whether somebody has a version open.
    pub(crate) fn is_in_use(&self, tag: Tag) -> bool {
        self.0.lock().open.contains_key(&tag)
    }

    /// Whether something waits to be freed.
    pub(crate) fn has_dead(&self) -> bool {
        !self.0.lock().dead.is_empty()
    }

    /// The next chunks to be freed, at most `most` of one version.
    pub(crate) fn next_dead(&self, most: u64) -> Option<(Tag, std::ops::Range<u64>)> {
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

    const OLD: Tag = Tag([1; 16]);

    fn dead() -> Dead {
        Dead::new(OLD, ChunkSize::MIN, 5 * ChunkSize::MIN.bytes() - 1)
    }

    #[test]
    fn a_version_dies_with_its_last_handle() {
        let versions = Versions::default();
        versions.in_use(Some(OLD), None);
        versions.in_use(Some(OLD), None);
        assert!(!versions.is_irreplaceable(OLD));
        versions.superseded(dead());
        assert!(versions.is_irreplaceable(OLD) && !versions.has_dead());
        versions.in_use(Some(Tag([2; 16])), Some(OLD));
        assert!(!versions.has_dead());
        versions.in_use(None, Some(OLD));
        assert!(versions.has_dead() && !versions.is_irreplaceable(OLD));
        assert_eq!(versions.next_dead(3), Some((OLD, 0..3)));
        assert_eq!(versions.next_dead(3), Some((OLD, 3..5)));
        assert_eq!(versions.next_dead(3), None);
    }

    #[test]
    fn a_version_that_comes_back_lives() {
        let versions = Versions::default();
        versions.superseded(dead());
        assert!(versions.has_dead());
        versions.in_use(Some(OLD), None);
        assert!(!versions.has_dead());
    }
}
