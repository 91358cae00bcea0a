//! S3-FIFO (Yang and others, SOSP 2023), weighed by what the files take on disk: new chunks wait in a small queue, and only
//! what is read there again comes into the main one. What a scan brings in leaves by the small queue.
//!
//! One bit of use instead of the paper's two: each hit is a bit that the reader sets without any order. A chunk that comes
//! back soon after its eviction (its fingerprint is among the ghosts) goes to the main queue at once.

use std::collections::VecDeque;

use hashbrown::HashSet;

use super::lists::{Lists, Queue};
use super::{PROBES_MAX, Policy};

const SMALL: Queue = 0;
const MAIN: Queue = 1;
/// The small queue is shortened first while it holds more than one part in this many of all bytes.
const SMALL_SHARE: u64 = 10;

/// The policy over the places of one segment.
pub(in crate::engine) struct S3Fifo {
    lists: Lists<2>,
    ghosts: Ghosts,
}

impl S3Fifo {
    /// An empty policy over `places` places.
    pub(in crate::engine) fn new(places: u32) -> Self {
        Self {
            lists: Lists::new(places),
            ghosts: Ghosts::default(),
        }
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
    fn insert(&mut self, place: u32, pages: u32, print: u32) {
        let known = self.ghosts.take(print);
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

    fn evicted(&mut self, place: u32, print: u32) {
        let small = self.lists.queue_of(place) == Some(SMALL);
        self.lists.take(place);
        if small {
            let most = self.lists.len(SMALL).max(self.lists.len(MAIN));
            self.ghosts.add(print, most as usize);
        }
    }

    fn removed(&mut self, place: u32) {
        self.lists.take(place);
    }

    fn is_main(&self, place: u32) -> bool {
        self.lists.queue_of(place) == Some(MAIN)
    }
}

/// The fingerprints of what was evicted last. Two chunks with one fingerprint cost a wrong queue, nothing else.
#[derive(Default)]
struct Ghosts {
    order: VecDeque<u32>,
    prints: HashSet<u32>,
}

impl Ghosts {
    fn add(&mut self, print: u32, most: usize) {
        if self.prints.insert(print) {
            self.order.push_back(print);
        }
        while self.order.len() > most.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.prints.remove(&oldest);
            }
        }
    }

    /// Whether it is among them; it is not any more, though its place in the order goes by by itself.
    fn take(&mut self, print: u32) -> bool {
        self.prints.remove(&print)
    }
}
