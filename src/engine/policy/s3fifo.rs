//! S3-FIFO (Yang and others, SOSP 2023), weighed by what the files take on disk: new chunks wait in a small queue, and
//! only what is read there again comes into the main one. What a scan brings in leaves by the small queue.
//!
//! One bit of use instead of the paper's two: each hit is a bit that the reader sets without any order. A chunk that
//! comes back soon after its eviction (its fingerprint is among the ghosts) goes to the main queue at once.
//!
//! Invariants: places only ever go from the small queue to the main one; a place whose bit was set is not proposed
//! before it has been renewed, unless [`PROBES_MAX`] others were looked at for the same victim.

use super::api::{PROBES_MAX, Policy};
use super::ghosts::Ghosts;
use super::lists::{Lists, Queue};

const SMALL: Queue = 0;
const MAIN: Queue = 1;
/// The small queue is shortened first while it holds more than one part in this many of all bytes.
const SMALL_SHARE: u64 = 10;

/// The policy over the places of one segment.
pub(super) struct S3Fifo {
    lists: Lists<2>,
    ghosts: Ghosts,
}

impl S3Fifo {
    /// An empty policy over `places` places.
    pub(super) fn new(places: u32) -> Self {
        Self {
            lists: Lists::new(places),
            ghosts: Ghosts::new(places),
        }
    }

    /// How many tenants there are: ghosts are remembered for as many evictions.
    fn len(&self) -> u32 {
        (self.lists.len(SMALL) + self.lists.len(MAIN)).max(1)
    }

    /// The queue that has to give.
    fn giving(&self) -> Option<Queue> {
        let (small, main) = (self.lists.pages(SMALL), self.lists.pages(MAIN));
        match (self.lists.len(SMALL), self.lists.len(MAIN)) {
            (0, 0) => None,
            (0, _) => Some(MAIN),
            (_, 0) => Some(SMALL),
            _ if small * SMALL_SHARE > small + main => Some(SMALL),
            _ => Some(MAIN),
        }
    }
}

impl Policy for S3Fifo {
    fn insert(&mut self, place: u32, pages: u32, fingerprint: u32) {
        let known = self.ghosts.take(fingerprint, self.len());
        self.lists
            .push(if known { MAIN } else { SMALL }, place, pages);
    }

    fn restore(&mut self, place: u32, pages: u32, main: bool) {
        self.lists
            .push(if main { MAIN } else { SMALL }, place, pages);
    }

    fn resize(&mut self, place: u32, pages: u32) {
        self.lists.weigh(place, pages);
    }

    fn victim(&mut self, used: &mut dyn FnMut(u32) -> bool, probes: &mut u32) -> Option<u32> {
        for looked in 1.. {
            let queue = self.giving()?;
            let place = self.lists.oldest(queue)?;
            *probes += 1;
            if looked < PROBES_MAX && used(place) {
                self.lists.renew(MAIN, place);
                continue;
            }
            self.lists.renew(queue, place);
            return Some(place);
        }
        None
    }

    fn evicted(&mut self, place: u32, fingerprint: u32) {
        let small = self.lists.queue_of(place) == Some(SMALL);
        self.lists.take(place);
        if small {
            self.ghosts.add(fingerprint);
        }
    }

    fn removed(&mut self, place: u32) {
        self.lists.take(place);
    }

    fn is_main(&self, place: u32) -> bool {
        self.lists.queue_of(place) == Some(MAIN)
    }

    #[cfg(feature = "testing")]
    fn name(&self) -> &'static str {
        "S3-FIFO"
    }
}
