//! Stamps: what stands for the version of an object of which the server says nothing.
//!
//! Only what one single response delivers is a version. A stamp that was handed out in
//! [`RemoteError::Changed`](crate::remote::api::RemoteError::Changed) is unused until a response is delivered under it;
//! a used one never names another response.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::units::{Facts, ObjectName};

/// As many unused stamps are remembered; an older one that is asked for is answered with a newer one.
const REMEMBERED: usize = 4096;

/// The stamps of one mount.
#[derive(Default)]
pub(in crate::remote) struct Stamps {
    /// Keyed by the operating system's randomness.
    keys: RandomState,
    issued: AtomicU64,
    unused: Mutex<Unused>,
    /// What is being delivered now, by name.
    current: Mutex<HashMap<ObjectName, Facts>>,
}

/// A response without a validator, while it is being delivered.
pub(in crate::remote) struct Delivery<'a> {
    stamps: &'a Stamps,
    name: ObjectName,
    facts: Facts,
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        let mut current = self.stamps.current.lock();
        if current.get(&self.name) == Some(&self.facts) {
            current.remove(&self.name);
        }
    }
}

#[derive(Default)]
struct Unused {
    /// The size that the object had when the stamp was issued.
    sizes: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

impl Stamps {
    /// A stamp that no other response has.
    pub(in crate::remote) fn mint(&self) -> u64 {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        self.keys.hash_one(number)
    }

    /// A stamp for the next response of an object of `size` bytes.
    pub(in crate::remote) fn mint_for_next(&self, size: u64) -> u64 {
        let stamp = self.mint();
        self.give_back(stamp, size);
        stamp
    }

    /// Marks a stamp as unused: nothing was delivered under it.
    pub(in crate::remote) fn give_back(&self, stamp: u64, size: u64) {
        let mut unused = self.unused.lock();
        if unused.sizes.insert(stamp, size).is_none() {
            unused.order.push_back(stamp);
        }
        // A stamp that was used since is still in the order: it is passed over when its turn comes.
        while unused.order.len() > REMEMBERED {
            if let Some(oldest) = unused.order.pop_front() {
                unused.sizes.remove(&oldest);
            }
        }
    }

    /// The size that belongs to an unused stamp.
    pub(in crate::remote) fn size_of(&self, stamp: u64) -> Option<u64> {
        self.unused.lock().sizes.get(&stamp).copied()
    }

    /// The facts of the response that is being delivered for this name. A program that asks for the same object meanwhile is
    /// told of that version; a second response would only be another one.
    pub(in crate::remote) fn current(&self, name: &ObjectName) -> Option<Facts> {
        self.current.lock().get(name).cloned()
    }

    /// Takes note of a response until what is returned is dropped.
    pub(in crate::remote) fn deliver(&self, name: &ObjectName, facts: &Facts) -> Delivery<'_> {
        self.current.lock().insert(name.clone(), facts.clone());
        Delivery {
            stamps: self,
            name: name.clone(),
            facts: facts.clone(),
        }
    }

    /// Uses a stamp. `false` where it was used before or never issued.
    pub(in crate::remote) fn take(&self, stamp: u64) -> bool {
        self.unused.lock().sizes.remove(&stamp).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Validator;

    #[test]
    fn a_stamp_is_used_once() {
        let stamps = Stamps::default();
        let stamp = stamps.mint_for_next(7);
        assert_eq!(stamps.size_of(stamp), Some(7));
        assert!(stamps.take(stamp));
        assert!(!stamps.take(stamp));
        assert_eq!(stamps.size_of(stamp), None);
        let fresh = stamps.mint();
        assert!(!stamps.take(fresh), "it was never unused");
    }

    #[test]
    fn a_response_is_known_while_it_is_delivered() {
        let stamps = Stamps::default();
        let name = ObjectName::new(b"a".as_slice());
        let facts = |stamp| Facts::file(7, Validator::Stamp(stamp));
        let first = stamps.deliver(&name, &facts(1));
        assert_eq!(stamps.current(&name), Some(facts(1)));
        let second = stamps.deliver(&name, &facts(2));
        drop(first);
        assert_eq!(stamps.current(&name), Some(facts(2)));
        drop(second);
        assert_eq!(stamps.current(&name), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let stamps = Stamps::default();
        let all: Vec<u64> = (0..REMEMBERED as u64 + 10)
            .map(|size| stamps.mint_for_next(size))
            .collect();
        assert_eq!(stamps.size_of(all[9]), None);
        assert_eq!(stamps.size_of(all[10]), Some(10));
        assert_eq!(stamps.unused.lock().sizes.len(), REMEMBERED);
    }

    #[test]
    fn two_mounts_issue_different_stamps() {
        let (a, b) = (Stamps::default(), Stamps::default());
        assert_ne!([a.mint(), a.mint()], [b.mint(), b.mint()]);
    }
}
