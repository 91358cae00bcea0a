//! The policies that the chosen one was compared with: SIEVE, LRU and FIFO. They are no part of a normal build.

use super::api::{PROBES_MAX, Policy};
use super::lists::{Lists, Queue};

const ALL: Queue = 0;

/// SIEVE (Zhang and others, NSDI 2024): one queue in the order of arrival, and a hand that goes through it from the
/// oldest to the youngest, sparing what was used.
pub(super) struct Sieve {
    lists: Lists<1>,
    hand: Option<u32>,
}

impl Sieve {
    /// An empty policy over `places` places.
    pub(super) fn new(places: u32) -> Self {
        Self {
            lists: Lists::new(places),
            hand: None,
        }
    }
}

impl Policy for Sieve {
    fn insert(&mut self, place: u32, pages: u32, _print: u32) {
        self.lists.push(ALL, place, pages);
    }

    fn restore(&mut self, place: u32, pages: u32, _main: bool) {
        self.lists.push(ALL, place, pages);
    }

    fn resize(&mut self, place: u32, pages: u32) {
        self.lists.weigh(place, pages);
    }

    fn victim(&mut self, used: &mut dyn FnMut(u32) -> bool, probes: &mut u32) -> Option<u32> {
        for looked in 1.. {
            let place = self.hand.or_else(|| self.lists.oldest(ALL))?;
            self.hand = self.lists.younger(place);
            *probes += 1;
            if looked >= PROBES_MAX || !used(place) {
                return Some(place);
            }
        }
        None
    }

    fn evicted(&mut self, place: u32, _print: u32) {
        self.removed(place);
    }

    fn removed(&mut self, place: u32) {
        if self.hand == Some(place) {
            self.hand = self.lists.younger(place);
        }
        self.lists.take(place);
    }

    fn is_main(&self, _place: u32) -> bool {
        false
    }

    fn name(&self) -> &'static str {
        "SIEVE"
    }
}

/// One queue, whose oldest place goes: in the order of arrival (FIFO), or in that of the last use (LRU), which needs a
/// lock at every hit.
pub(super) struct OneQueue {
    lists: Lists<1>,
    by_use: bool,
}

impl OneQueue {
    /// An empty FIFO over `places` places.
    pub(super) fn fifo(places: u32) -> Self {
        Self {
            lists: Lists::new(places),
            by_use: false,
        }
    }

    /// An empty LRU over `places` places.
    pub(super) fn lru(places: u32) -> Self {
        Self {
            lists: Lists::new(places),
            by_use: true,
        }
    }
}

impl Policy for OneQueue {
    fn insert(&mut self, place: u32, pages: u32, _print: u32) {
        self.lists.push(ALL, place, pages);
    }

    fn restore(&mut self, place: u32, pages: u32, _main: bool) {
        self.lists.push(ALL, place, pages);
    }

    fn resize(&mut self, place: u32, pages: u32) {
        self.lists.weigh(place, pages);
    }

    fn victim(&mut self, _used: &mut dyn FnMut(u32) -> bool, probes: &mut u32) -> Option<u32> {
        let place = self.lists.oldest(ALL)?;
        *probes += 1;
        self.lists.renew(ALL, place);
        Some(place)
    }

    fn evicted(&mut self, place: u32, _print: u32) {
        self.lists.take(place);
    }

    fn removed(&mut self, place: u32) {
        self.lists.take(place);
    }

    fn is_main(&self, _place: u32) -> bool {
        false
    }

    fn hit(&mut self, place: u32) {
        if self.by_use {
            self.lists.renew(ALL, place);
        }
    }

    fn name(&self) -> &'static str {
        if self.by_use { "LRU" } else { "FIFO" }
    }
}
