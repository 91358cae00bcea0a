//! The inode table: which number serves which version, and what is known of each name.
//!
//! Pure: no I/O, no clock, no engine. Times are the monotonic clock's; a piece of evidence carries the moment when it
//! was *asked for*, so that an answer that was overtaken by a younger one changes nothing. Invariants:
//!
//! * An inode serves one version for life. What contradicts it makes it superseded for ever; the new version gets
//!   another number under the same name. Directories have no version and stay.
//! * `current` names at most one inode per name, and never a superseded one.
//! * An inode lives as long as the kernel counts lookups on it. The root lives for ever.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::inode::{Inode, Lookup, Outcome, Served};
use super::listing::Listing;
use super::name::{KernelName, last_of};
use super::number::{ROOT, number};
use crate::remote::Listed;
use crate::units::{Facts, FileKind, ObjectName, Timestamp};

/// The most entries of listings that are kept over all directories, whatever the memory: some 200 bytes each. One listing
/// alone may have more.
const LISTED_MAX: usize = 1 << 20;

/// The inode table.
pub(in crate::vfs) struct Inodes<S> {
    inodes: HashMap<u64, Inode<S>>,
    current: HashMap<ObjectName, u64>,
    ttl: Duration,
    /// Evidence that was asked for until then counts no more.
    expired: Option<Duration>,
    /// A name that a listing lacks does not exist.
    lists_all: bool,
    next_serial: u64,
    /// The directories with a listing, oldest first, with the listing's time and length.
    listed: VecDeque<(u64, Duration, usize)>,
    listed_entries: usize,
    /// The most entries that memory allows.
    listed_max: usize,
}

impl<S: Served> Inodes<S> {
    /// A table with a root of these facts, asked for at `at`; evidence counts for `ttl`.
    pub(in crate::vfs) fn new(
        root: Facts,
        (at, ttl): (Duration, Duration),
        lists_all: bool,
        listed_max: usize,
    ) -> Self {
        let mut inodes = Self {
            inodes: HashMap::new(),
            current: HashMap::new(),
            ttl,
            expired: None,
            lists_all,
            next_serial: 0,
            listed: VecDeque::new(),
            listed_entries: 0,
            listed_max,
        };
        inodes.insert(ROOT, ROOT, ObjectName::root(), root, at);
        inodes
    }

    fn insert(&mut self, ino: u64, parent: u64, name: ObjectName, facts: Facts, at: Duration) {
        self.current.insert(name.clone(), ino);
        self.next_serial += 1;
        let inode = Inode {
            serial: self.next_serial,
            parent,
            name,
            state: Arc::new(S::new(&facts)),
            facts,
            checked: at,
            superseded: false,
            lookups: 0,
            opens: 0,
            link: None,
            listing: None,
            coming: Weak::new(),
            kernel_has: None,
        };
        self.inodes.insert(ino, inode);
    }

    pub(in crate::vfs) fn get(&self, ino: u64) -> Option<&Inode<S>> {
        self.inodes.get(&ino)
    }

    pub(in crate::vfs) fn get_mut(&mut self, ino: u64) -> Option<&mut Inode<S>> {
        self.inodes.get_mut(&ino)
    }

    /// Whether `ino` still is the inode that had this serial number.
    pub(in crate::vfs) fn is(&self, ino: u64, serial: u64) -> bool {
        self.inodes.get(&ino).is_some_and(|i| i.serial == serial)
    }

    /// How many inodes there are.
    pub(in crate::vfs) fn len(&self) -> usize {
        self.inodes.len()
    }

    fn is_fresh(&self, at: Duration, now: Duration) -> bool {
        now.saturating_sub(at) < self.ttl && !self.is_expired(at)
    }

    fn is_expired(&self, at: Duration) -> bool {
        self.expired.is_some_and(|until| at <= until)
    }

    /// From `now` on nothing that is known counts as evidence: it serves only where the remote cannot be asked.
    pub(in crate::vfs) fn expire_all(&mut self, now: Duration) {
        self.expired = Some(now);
    }

    /// Every name that leads to an inode of the kernel's; an empty one for the root.
    pub(in crate::vfs) fn names(&self) -> impl Iterator<Item = KernelName> {
        self.inodes.iter().map(|(ino, inode)| KernelName {
            parent: inode.parent,
            last: last_of(&inode.name).into(),
            inode: Some((*ino, inode.facts.kind)),
        })
    }

    /// The files whose version is the current one of their name. What others are read from, the remote has no more.
    pub(in crate::vfs) fn current_files(&self) -> impl Iterator<Item = u64> {
        let is_one = |inode: &Inode<S>| inode.facts.kind == FileKind::File && !inode.superseded;
        let files = self.inodes.iter().filter(move |(_, inode)| is_one(inode));
        files.map(|(ino, _)| *ino)
    }

    /// For how long evidence of `at` still counts.
    pub(in crate::vfs) fn remaining(&self, at: Duration, now: Duration) -> Duration {
        if self.is_expired(at) {
            Duration::ZERO
        } else {
            self.ttl.saturating_sub(now.saturating_sub(at))
        }
    }

    /// The listing of a directory, while it counts: one that is complete, or else one whose pages still come.
    pub(in crate::vfs) fn fresh_listing(&self, dir: u64, now: Duration) -> Option<Arc<Listing>> {
        let inode = self.inodes.get(&dir)?;
        let counts = |listing: &Arc<Listing>| self.is_fresh(listing.at, now);
        let complete = inode.listing.clone().filter(counts);
        complete.or_else(|| inode.coming.upgrade().filter(counts))
    }

    /// Whether nothing was found against this listing since it was asked for, and no younger one has come.
    pub(in crate::vfs) fn is_listing_of(&self, dir: u64, listing: &Arc<Listing>) -> bool {
        self.inodes.get(&dir).is_some_and(|inode| {
            let complete = inode.listing.as_ref();
            complete.is_some_and(|kept| Arc::ptr_eq(kept, listing))
                || inode.coming.ptr_eq(&Arc::downgrade(listing))
        })
    }

    /// What is known now of `name`, whose last component is `last`, in the directory `parent`: the youngest evidence
    /// counts.
    pub(in crate::vfs) fn find(
        &self,
        parent: u64,
        name: &ObjectName,
        last: &[u8],
        now: Duration,
    ) -> Lookup {
        let own = self.current.get(name).and_then(|&ino| {
            let checked = self.inodes.get(&ino)?.checked;
            self.is_fresh(checked, now).then_some((ino, checked))
        });
        match (own, self.fresh_listing(parent, now)) {
            (Some((ino, checked)), Some(listing)) if listing.at <= checked => Lookup::Inode(ino),
            (_, Some(listing)) => {
                let contents = listing.contents();
                match contents.find(last) {
                    Some(Listed::Facts(facts)) => Lookup::Listed(facts.clone(), listing.at),
                    None if self.lists_all && contents.is_complete => Lookup::Absent(listing.at),
                    // The name is there, and only the remote can tell what stat(2) shows of it; or it may be there.
                    Some(Listed::Kind(_)) | None => {
                        own.map_or(Lookup::Unknown, |(ino, _)| Lookup::Inode(ino))
                    }
                }
            }
            (Some((ino, _)), None) => Lookup::Inode(ino),
            (None, None) => Lookup::Unknown,
        }
    }

    /// As [`Inodes::find`], for an inode that the kernel knows.
    pub(in crate::vfs) fn find_inode(&self, ino: u64, now: Duration) -> Option<Lookup> {
        let inode = self.inodes.get(&ino)?;
        if ino == ROOT {
            let fresh = self.is_fresh(inode.checked, now);
            return Some(if fresh {
                Lookup::Inode(ino)
            } else {
                Lookup::Unknown
            });
        }
        Some(self.find(inode.parent, &inode.name, last_of(&inode.name), now))
    }

    /// The inode that serves a name, however old what is known of it.
    pub(in crate::vfs) fn serving(&self, name: &ObjectName) -> Option<u64> {
        self.current.get(name).copied()
    }

    /// Counts one lookup of the kernel's.
    pub(in crate::vfs) fn count(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.lookups += 1;
        }
    }

    /// Takes back `count` lookups of the kernel's. What no longer lives is returned, to be dropped under no lock.
    pub(in crate::vfs) fn forget(&mut self, ino: u64, count: u64) -> Option<Inode<S>> {
        let inode = self.inodes.get_mut(&ino)?;
        inode.lookups = inode.lookups.saturating_sub(count);
        if inode.lookups > 0 || ino == ROOT {
            return None;
        }
        self.drop_listing(ino);
        let inode = self.inodes.remove(&ino)?;
        if self.current.get(&inode.name) == Some(&ino) {
            self.current.remove(&inode.name);
        }
        Some(inode)
    }

    /// Holds the facts that were asked for at `at` against an inode.
    pub(in crate::vfs) fn confirm(&mut self, ino: u64, facts: &Facts, at: Duration) -> Outcome<S> {
        let Some(inode) = self.inodes.get_mut(&ino) else {
            return Outcome::Old;
        };
        if inode.superseded {
            return Outcome::Old;
        }
        if at < inode.checked {
            return Outcome::Current;
        }
        if inode.facts.validator.is_none() && facts.validator.is_some() {
            // A listing told size and time; the first fetch has learned more since.
            inode.facts.validator = inode.state.validator();
        }
        let is_dir = facts.kind == FileKind::Dir;
        let same = if is_dir || ino == ROOT {
            inode.facts.kind == facts.kind
        } else {
            !inode.facts.contradicted_by(facts)
        };
        if !same {
            return self.supersede(ino, at);
        }
        inode.checked = at;
        let changed = (inode.facts.mtime, inode.facts.ctime) != (facts.mtime, facts.ctime)
            && facts.mtime != Timestamp::UNKNOWN;
        let validator = inode.facts.validator.take();
        inode.facts.clone_from(facts);
        inode.facts.validator = validator.or_else(|| facts.validator.clone());
        if is_dir && changed {
            self.refute_listings(ino, |listing| listing.at <= at);
        }
        Outcome::Current
    }

    /// The inode of a name with the facts that were asked for at `at`: the one that serves it, or a new one where they
    /// contradict it. Counts one lookup. Also what to tell to the one that was superseded.
    pub(in crate::vfs) fn admit(
        &mut self,
        parent: u64,
        name: &ObjectName,
        facts: &Facts,
        at: Duration,
    ) -> (u64, Outcome<S>) {
        let mut outcome = Outcome::Current;
        if let Some(&ino) = self.current.get(name) {
            outcome = self.confirm(ino, facts, at);
            if matches!(outcome, Outcome::Current) {
                self.count(ino);
                return (ino, outcome);
            }
        }
        let ino = self.free_number(name, facts);
        match self.inodes.get_mut(&ino) {
            // A directory that was gone and has come back.
            Some(inode) => {
                inode.superseded = false;
                inode.checked = at;
                inode.facts.clone_from(facts);
                self.current.insert(name.clone(), ino);
            }
            None => self.insert(ino, parent, name.clone(), facts.clone(), at),
        }
        self.count(ino);
        (ino, outcome)
    }

    /// The first number of this version that serves no other one.
    fn free_number(&self, name: &ObjectName, facts: &Facts) -> u64 {
        let usable = |ino: &u64| match self.inodes.get(ino) {
            None => true,
            Some(inode) => {
                facts.kind == FileKind::Dir
                    && inode.facts.kind == FileKind::Dir
                    && inode.name == *name
            }
        };
        (0..=u32::MAX)
            .map(|n| number(name, facts, n))
            .find(usable)
            .unwrap_or(u64::MAX)
    }

    /// The number that a listing shows for an entry: that of the inode that serves it, or the one that it would get.
    /// An entry of which the kind alone is known gets its number with its facts; until then it shows one of its own.
    pub(in crate::vfs) fn shown_number(&self, name: &ObjectName, listed: &Listed) -> u64 {
        let unseen = || match listed {
            Listed::Facts(facts) => self.free_number(name, facts),
            Listed::Kind(kind) => number(name, &Facts::unknown(*kind), 0),
        };
        self.serving(name).unwrap_or_else(unseen)
    }

    /// An inode's version is no longer the current one, as was found at `at`. Older evidence of its name goes with it.
    pub(in crate::vfs) fn supersede(&mut self, ino: u64, at: Duration) -> Outcome<S> {
        let Some(inode) = self.inodes.get_mut(&ino) else {
            return Outcome::Old;
        };
        if inode.superseded || ino == ROOT {
            return Outcome::Old;
        }
        inode.superseded = true;
        inode.checked = at;
        let (parent, state) = (inode.parent, Arc::clone(&inode.state));
        if self.current.get(&inode.name) == Some(&ino) {
            self.current.remove(&inode.name);
        }
        self.refute_listings(parent, |listing| listing.at < at);
        Outcome::Superseded(state)
    }

    /// A name was found to be no more at `at`.
    pub(in crate::vfs) fn vanish(&mut self, name: &ObjectName, at: Duration) -> Outcome<S> {
        match self.current.get(name) {
            Some(&ino) if self.inodes.get(&ino).is_some_and(|i| i.checked <= at) => {
                self.supersede(ino, at)
            }
            _ => Outcome::Old,
        }
    }

    /// The first fetch of an inode found another version than the facts said, of which stat(2) shows the same, before
    /// anything was served from it.
    pub(in crate::vfs) fn rebind(&mut self, ino: u64, facts: &Facts, at: Duration) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.facts.validator.clone_from(&facts.validator);
            inode.checked = inode.checked.max(at);
        }
    }

    /// Makes a listing known whose first page has come, and not its last.
    pub(in crate::vfs) fn expect_listing(&mut self, dir: u64, listing: &Arc<Listing>) {
        if let Some(inode) = self.inodes.get_mut(&dir) {
            inode.coming = Arc::downgrade(listing);
        }
    }

    /// As [`Inodes::keep_listing`], for one that was expected, unless it was refuted while its pages came.
    pub(in crate::vfs) fn keep_expected(
        &mut self,
        dir: u64,
        listing: &Arc<Listing>,
        now: Duration,
    ) {
        if self.is_listing_of(dir, listing) {
            self.keep_listing(dir, Arc::clone(listing), now);
        }
    }

    /// A listing that was expected will not be complete.
    pub(in crate::vfs) fn give_up_listing(&mut self, dir: u64, listing: &Arc<Listing>) {
        let Some(inode) = self.inodes.get_mut(&dir) else {
            return;
        };
        if inode.coming.ptr_eq(&Arc::downgrade(listing)) {
            inode.coming = Weak::new();
        }
    }

    /// What was found of a directory contradicts those of its listings that are older than the evidence.
    fn refute_listings(&mut self, dir: u64, is_older: impl Fn(&Listing) -> bool) {
        let Some(inode) = self.inodes.get_mut(&dir) else {
            return;
        };
        if inode
            .coming
            .upgrade()
            .is_some_and(|coming| is_older(&coming))
        {
            inode.coming = Weak::new();
        }
        if inode.listing.as_ref().is_some_and(|kept| is_older(kept)) {
            self.drop_listing(dir);
        }
    }

    /// Keeps a listing that is complete, unless it alone is too much; older ones make room.
    pub(in crate::vfs) fn keep_listing(&mut self, dir: u64, listing: Arc<Listing>, now: Duration) {
        self.drop_listing(dir);
        let len = listing.contents().len();
        if len > self.listed_max {
            return;
        }
        let Some(inode) = self.inodes.get_mut(&dir) else {
            return;
        };
        self.listed_entries += len;
        self.listed.push_back((dir, listing.at, len));
        inode.coming = Weak::new();
        inode.listing = Some(listing);
        while let Some(&(oldest, at, _)) = self.listed.front() {
            let crowded = self.listed_entries > self.listed_max.min(LISTED_MAX) && oldest != dir;
            if !crowded && self.is_fresh(at, now) {
                break;
            }
            self.listed
                .pop_front()
                .inspect(|&(_, _, len)| self.listed_entries -= len);
            if let Some(inode) = self.inodes.get_mut(&oldest) {
                inode.listing = None;
            }
        }
    }

    fn drop_listing(&mut self, dir: u64) {
        let listing = self.inodes.get_mut(&dir).and_then(|i| i.listing.take());
        if listing.is_none() {
            return;
        }
        if let Some(place) = self.listed.iter().position(|&(ino, _, _)| ino == dir)
            && let Some((_, _, len)) = self.listed.remove(place)
        {
            self.listed_entries -= len;
        }
    }
}

#[cfg(test)]
pub(in crate::vfs) mod tests;
