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
