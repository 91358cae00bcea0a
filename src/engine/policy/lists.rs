//! Queues of places, linked through one array: a place enters and leaves any queue in O(1), and takes 16 bytes.

/// No place.
const NONE: u32 = u32::MAX;

/// The number of a queue.
pub(super) type Queue = u8;

#[derive(Clone, Copy)]
struct Entry {
    older: u32,
    younger: u32,
    pages: u32,
    /// The queue that the place is in.
    queue: Option<Queue>,
}

/// What a place costs here.
pub(super) const BYTES_PER_PLACE: usize = size_of::<Entry>();

/// The two ends of a queue, and what is in it.
#[derive(Clone, Copy)]
struct Ends {
    oldest: u32,
    youngest: u32,
    len: u32,
    pages: u64,
}

/// `N` queues over the places of a segment.
pub(super) struct Lists<const N: usize> {
    entries: Vec<Entry>,
    ends: [Ends; N],
}

impl<const N: usize> Lists<N> {
    /// Empty queues over `places` places.
    pub(super) fn new(places: u32) -> Self {
        let entry = Entry {
            older: NONE,
            younger: NONE,
            pages: 0,
            queue: None,
        };
        let ends = Ends {
            oldest: NONE,
            youngest: NONE,
            len: 0,
            pages: 0,
        };
        Self {
            entries: vec![entry; places as usize],
            ends: [ends; N],
        }
    }

    /// Puts a place that is in no queue at the young end of one.
    pub(super) fn push(&mut self, queue: Queue, place: u32, pages: u32) {
        debug_assert!(
            self.queue_of(place).is_none(),
            "place {place} is in a queue"
        );
        let Some(ends) = self.ends.get_mut(usize::from(queue)) else {
            return;
        };
        let older = std::mem::replace(&mut ends.youngest, place);
        if older == NONE {
            ends.oldest = place;
        }
        ends.len += 1;
        ends.pages += u64::from(pages);
        if let Some(entry) = self.entries.get_mut(older as usize) {
            entry.younger = place;
        }
        if let Some(entry) = self.entries.get_mut(place as usize) {
            *entry = Entry {
                older,
                younger: NONE,
                pages,
                queue: Some(queue),
            };
        }
    }

    /// Takes a place out of its queue; what it weighed, if it was in one.
    pub(super) fn take(&mut self, place: u32) -> Option<u32> {
        let entry = *self.entries.get(place as usize)?;
        let queue = entry.queue?;
        let ends = self.ends.get_mut(usize::from(queue))?;
        ends.len -= 1;
        ends.pages -= u64::from(entry.pages);
        match self.entries.get_mut(entry.older as usize) {
            Some(older) => older.younger = entry.younger,
            None => ends.oldest = entry.younger,
        }
        match self.entries.get_mut(entry.younger as usize) {
            Some(younger) => younger.older = entry.older,
            None => ends.youngest = entry.older,
        }
        if let Some(entry) = self.entries.get_mut(place as usize) {
            entry.queue = None;
        }
        Some(entry.pages)
    }

    /// Notes that a place weighs so much now.
    pub(super) fn weigh(&mut self, place: u32, pages: u32) {
        if let Some(entry) = self.entries.get_mut(place as usize)
            && let Some(queue) = entry.queue
            && let Some(ends) = self.ends.get_mut(usize::from(queue))
        {
            ends.pages = ends.pages - u64::from(entry.pages) + u64::from(pages);
            entry.pages = pages;
        }
    }

    /// Puts a place at the young end of a queue, whichever it was in.
    pub(super) fn renew(&mut self, queue: Queue, place: u32) {
        if let Some(pages) = self.take(place) {
            self.push(queue, place, pages);
        }
    }

    /// The place that has been in a queue for longest.
    pub(super) fn oldest(&self, queue: Queue) -> Option<u32> {
        let ends = self.ends.get(usize::from(queue))?;
        (ends.oldest != NONE).then_some(ends.oldest)
    }

    /// The place that came into its queue next after this one.
    #[cfg(feature = "testing")]
    pub(super) fn younger(&self, place: u32) -> Option<u32> {
        let younger = self.entries.get(place as usize)?.younger;
        (younger != NONE).then_some(younger)
    }

    /// The queue that a place is in.
    pub(super) fn queue_of(&self, place: u32) -> Option<Queue> {
        self.entries.get(place as usize)?.queue
    }

    /// How many places are in a queue.
    pub(super) fn len(&self, queue: Queue) -> u32 {
        self.ends.get(usize::from(queue)).map_or(0, |ends| ends.len)
    }

    /// What the places in a queue weigh together, in pages.
    pub(super) fn pages(&self, queue: Queue) -> u64 {
        self.ends
            .get(usize::from(queue))
            .map_or(0, |ends| ends.pages)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::format::slot_hash;
    use crate::units::Tag;

    const PLACES: u32 = 7;
    const QUEUES: u8 = 3;

    /// What the lists are to do, done in the plainest way: each queue is its places with their weights, the oldest
    /// first.
    #[derive(Clone, Default)]
    struct Plain([VecDeque<(u32, u32)>; QUEUES as usize]);

    impl Plain {
        fn queue_of(&self, place: u32) -> Option<u8> {
            let holds = |queue: &VecDeque<(u32, u32)>| queue.iter().any(|(p, _)| *p == place);
            (0..QUEUES).find(|q| holds(&self.0[usize::from(*q)]))
        }

        fn take(&mut self, place: u32) -> Option<u32> {
            let queue = &mut self.0[usize::from(self.queue_of(place)?)];
            let at = queue.iter().position(|(p, _)| *p == place)?;
            queue.remove(at).map(|(_, pages)| pages)
        }
    }

    fn same(lists: &Lists<{ QUEUES as usize }>, plain: &Plain) {
        for (queue, want) in (0..QUEUES).zip(&plain.0) {
            assert_eq!(lists.oldest(queue), want.front().map(|(p, _)| *p));
            assert_eq!(lists.len(queue) as usize, want.len());
            assert_eq!(
                lists.pages(queue),
                want.iter().map(|(_, n)| u64::from(*n)).sum::<u64>()
            );
            // Both ways through the links.
            let (mut at, mut older) = (lists.ends[usize::from(queue)].oldest, NONE);
            for (place, pages) in want {
                let entry = lists.entries[at as usize];
                assert_eq!(
                    (at, entry.pages, entry.queue),
                    (*place, *pages, Some(queue))
                );
                assert_eq!(entry.older, older);
                (older, at) = (at, entry.younger);
            }
            assert_eq!((at, lists.ends[usize::from(queue)].youngest), (NONE, older));
        }
        for place in 0..PLACES {
            assert_eq!(lists.queue_of(place), plain.queue_of(place));
        }
    }

    /// Does one thing to both, chosen by a number.
    fn step(lists: &mut Lists<{ QUEUES as usize }>, plain: &mut Plain, choice: u64) {
        let part =
            |shift: u32, below: u32| u32::try_from(choice >> shift & 0xFFFF).unwrap() % below;
        let (place, pages) = (part(0, PLACES), part(32, 1000));
        let queue = u8::try_from(part(16, u32::from(QUEUES))).unwrap();
        match (part(48, 4), plain.queue_of(place)) {
            (0 | 1, None) => {
                lists.push(queue, place, pages);
                plain.0[usize::from(queue)].push_back((place, pages));
            }
            (0, Some(_)) => {
                lists.renew(queue, place);
                let pages = plain.take(place).unwrap();
                plain.0[usize::from(queue)].push_back((place, pages));
            }
            (1 | 2, at) => {
                lists.weigh(place, pages);
                let held = at.map(|q| plain.0[usize::from(q)].iter_mut());
                held.into_iter()
                    .flatten()
                    .filter(|(p, _)| *p == place)
                    .for_each(|e| e.1 = pages);
            }
            _ => assert_eq!(lists.take(place), plain.take(place)),
        }
    }

    #[test]
    fn the_lists_do_what_plain_queues_do() {
        let mut lists = Lists::new(PLACES);
        let mut plain = Plain::default();
        for n in 0..20_000 {
            step(&mut lists, &mut plain, slot_hash(Tag([7; 16]), n));
            same(&lists, &plain);
        }
        assert_eq!(lists.take(PLACES), None, "no such place");
        assert_eq!(lists.queue_of(u32::MAX), None);
    }

    #[test]
    fn a_place_takes_sixteen_bytes() {
        assert_eq!(BYTES_PER_PLACE, 16);
    }
}
