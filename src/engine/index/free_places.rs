//! The free places of a segment that had a tenant: their files are still there, and are written over by the next one.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::format::SlotFlags;

/// What a free place remembers of its last tenant.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct FreePlace {
    pub(crate) generation: u32,
    pub(crate) alloc_4k: u32,
    pub(crate) flags: SlotFlags,
}

/// Free places by number, and by what their files take.
#[derive(Default)]
pub(super) struct FreePlaces {
    places: HashMap<u32, FreePlace>,
    by_class: BTreeSet<(u32, u32)>,
}

impl FreePlaces {
    /// Notes a free place.
    pub(crate) fn put(&mut self, place: u32, left: FreePlace) {
        self.take(place);
        self.places.insert(place, left);
        self.by_class.insert((class(left.alloc_4k), place));
    }

    /// Forgets a free place.
    pub(crate) fn take(&mut self, place: u32) -> Option<FreePlace> {
        let left = self.places.remove(&place)?;
        self.by_class.remove(&(class(left.alloc_4k), place));
        Some(left)
    }

    /// The place whose file takes something and suits a chunk of so many pages best: one of its class, else the next
    /// smaller one, which only grows, else the next larger one, which is cut.
    pub(super) fn best_for(&self, pages: u32) -> Option<(u32, FreePlace)> {
        let wanted = class(pages);
        let with_file = self.by_class.range((class(1), 0)..);
        let smaller = self
            .by_class
            .range((class(1), 0)..=(wanted.max(class(1)), u32::MAX));
        let (_, place) = smaller.last().or_else(|| with_file.min())?;
        Some((*place, *self.places.get(place)?))
    }

    /// A place whose file takes nothing, or is gone.
    pub(super) fn without_file(&self) -> Option<(u32, FreePlace)> {
        let (_, place) = self.by_class.first().filter(|(class, _)| *class == 0)?;
        Some((*place, *self.places.get(place)?))
    }

    /// What is remembered of a place.
    pub(crate) fn get(&self, place: u32) -> Option<FreePlace> {
        self.places.get(&place).copied()
    }

    /// A place whose file takes exactly so many pages, of the first few of their class.
    pub(crate) fn exact(&self, pages: u32) -> Option<(u32, FreePlace)> {
        let class = class(pages);
        let of_class = self.by_class.range((class, 0)..=(class, u32::MAX)).take(64);
        of_class
            .filter_map(|(_, place)| Some((*place, *self.places.get(place)?)))
            .find(|(_, left)| left.alloc_4k == pages && !left.flags.has(SlotFlags::TAINTED))
    }

    /// A place with a file that takes something: the largest class first.
    pub(crate) fn largest(&self) -> Option<(u32, FreePlace)> {
        let (_, place) = self.by_class.last()?;
        let left = *self.places.get(place)?;
        (left.alloc_4k > 0).then_some((*place, left))
    }

    /// A place with a file that takes something and suits a chunk of so many pages less than another one does.
    pub(crate) fn spare(&self, pages: u32) -> Option<u32> {
        let (best, _) = self.best_for(pages)?;
        let mut with_file = self
            .by_class
            .range((class(1), 0)..)
            .map(|(_, place)| *place);
        with_file.find(|place| *place != best)
    }

    /// The pages that the files of all places take.
    pub(crate) fn pages(&self) -> u64 {
        self.places
            .values()
            .map(|left| u64::from(left.alloc_4k))
            .sum()
    }
}

/// Files whose sizes round up to the same power of two are of one class; an empty one is of the least.
fn class(pages: u32) -> u32 {
    match pages {
        0 => 0,
        _ => 1 + pages.next_power_of_two().ilog2(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(sizes: &[u32]) -> FreePlaces {
        let mut left = FreePlaces::default();
        for (place, pages) in (0..).zip(sizes) {
            let alloc_4k = *pages;
            let file = FreePlace {
                alloc_4k,
                ..FreePlace::default()
            };
            left.put(place, file);
        }
        left
    }

    #[test]
    fn a_chunk_gets_the_file_that_moves_the_fewest_bytes() {
        let left = with(&[0, 16, 1024, 16384, 15]);
        let best = |pages| left.best_for(pages).unwrap().1.alloc_4k;
        assert!([15, 16].contains(&best(16)), "its own class");
        assert!([15, 16].contains(&best(512)), "the next smaller one grows");
        assert!(
            [15, 16].contains(&best(4)),
            "none is as small, and an empty one is no file"
        );
        assert_eq!(left.without_file().unwrap().0, 0);
        assert_eq!(best(1024), 1024);
        assert_eq!(with(&[1024, 16384]).best_for(16).unwrap().0, 0);
        assert!(with(&[]).best_for(1).is_none());
    }

    #[test]
    fn what_is_unlinked_for_room_is_the_largest() {
        let mut left = with(&[0, 16, 1024]);
        assert_eq!(left.pages(), 1040);
        assert_eq!(left.largest().unwrap().0, 2);
        assert_eq!(left.take(2).unwrap().alloc_4k, 1024);
        assert_eq!(left.largest().unwrap().0, 1);
        assert_eq!(left.spare(16), None, "there is but one with a file");
        assert_eq!(with(&[16, 16, 0]).spare(16), Some(0));
        left.take(1);
        assert!(left.largest().is_none(), "an empty file gives nothing");
        assert!(left.take(1).is_none());
    }
}
