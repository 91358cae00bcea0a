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

use super::forget::{Name, last_of};
use super::listing::Listing;
use super::number::{ROOT, number};
use crate::remote::Listed;
use crate::units::{Facts, FileKind, ObjectName, Timestamp, Validator};

/// The most entries of listings that are kept over all directories, whatever the memory: some 200 bytes each. One listing
/// alone may have more.
const LISTED_MAX: usize = 1 << 20;

/// One inode; `C` is what its owner keeps with it (the blob).
pub(super) struct Inode<C> {
    /// Never given twice in a mount, as the number may be: what comes late asks whether it still is the same inode.
    pub(super) serial: u64,
    pub(super) parent: u64,
    pub(super) name: ObjectName,
    pub(super) facts: Facts,
    /// When the youngest evidence for the facts was asked for.
    pub(super) checked: Duration,
    pub(super) superseded: bool,
    pub(super) lookups: u64,
    /// Open files.
    pub(super) opens: u32,
    pub(super) link: Option<Arc<[u8]>>,
    /// The youngest listing that is complete.
    pub(super) listing: Option<Arc<Listing>>,
    /// A younger one whose pages still come, while a reader wants them.
    coming: Weak<Listing>,
    /// The listing that the entries in the kernel's cache come from.
    pub(super) kernel_has: Option<Weak<Listing>>,
    pub(super) cell: Arc<C>,
}

/// What the table can say of a name.
#[derive(PartialEq, Debug)]
pub(super) enum Found {
    /// This inode serves it.
    Inode(u64),
    /// A listing has it, with these facts, asked for then.
    Listed(Facts, Duration),
    /// A complete listing, asked for then, has no such name.
    Absent(Duration),
    /// Only the remote can tell.
    Unknown,
}

/// What evidence made of an inode.
#[derive(Debug)]
pub(super) enum Verdict<C> {
    /// It still serves the current version.
    Current,
    /// It does not, and did not before.
    Old,
    /// It no longer does: its blob is to be told.
    Superseded(Arc<C>),
}

/// The table.
pub(super) struct Table<C> {
    inodes: HashMap<u64, Inode<C>>,
    current: HashMap<ObjectName, u64>,
    ttl: Duration,
    /// Evidence that was asked for until then counts no more.
    forgotten: Option<Duration>,
    /// A name that a listing lacks does not exist.
    lists_all: bool,
    next_serial: u64,
    /// The directories with a listing, oldest first, with the listing's time and length.
    listed: VecDeque<(u64, Duration, usize)>,
    listed_entries: usize,
    /// The most entries that memory allows.
    listed_max: usize,
}

/// What an owner keeps with an inode.
pub(super) trait Kept: Default {
    /// The version that is served, where the owner has learned more of it than the facts say.
    fn validator(&self) -> Option<Validator>;
}

impl<C: Kept> Table<C> {
    /// A table with a root of these facts, asked for at `at`; evidence counts for `ttl`.
    pub(super) fn new(
        root: Facts,
        (at, ttl): (Duration, Duration),
        lists_all: bool,
        listed_max: usize,
    ) -> Self {
        let mut table = Self {
            inodes: HashMap::new(),
            current: HashMap::new(),
            ttl,
            forgotten: None,
            lists_all,
            next_serial: 0,
            listed: VecDeque::new(),
            listed_entries: 0,
            listed_max,
        };
        table.insert(ROOT, ROOT, ObjectName::root(), root, at);
        table
    }

    fn insert(&mut self, ino: u64, parent: u64, name: ObjectName, facts: Facts, at: Duration) {
        self.current.insert(name.clone(), ino);
        self.next_serial += 1;
        let inode = Inode {
            serial: self.next_serial,
            parent,
            name,
            facts,
            checked: at,
            superseded: false,
            lookups: 0,
            opens: 0,
            link: None,
            listing: None,
            coming: Weak::new(),
            kernel_has: None,
            cell: Arc::default(),
        };
        self.inodes.insert(ino, inode);
    }

    pub(super) fn get(&self, ino: u64) -> Option<&Inode<C>> {
        self.inodes.get(&ino)
    }

    pub(super) fn get_mut(&mut self, ino: u64) -> Option<&mut Inode<C>> {
        self.inodes.get_mut(&ino)
    }

    /// Whether `ino` still is the inode that had this serial number.
    pub(super) fn is(&self, ino: u64, serial: u64) -> bool {
        self.inodes.get(&ino).is_some_and(|i| i.serial == serial)
    }

    /// How many inodes there are.
    pub(super) fn len(&self) -> usize {
        self.inodes.len()
    }

    fn is_fresh(&self, at: Duration, now: Duration) -> bool {
        now.saturating_sub(at) < self.ttl && !self.is_forgotten(at)
    }

    fn is_forgotten(&self, at: Duration) -> bool {
        self.forgotten.is_some_and(|until| at <= until)
    }

    /// From `now` on nothing that is known counts as evidence: it serves only where the remote cannot be asked.
    pub(super) fn forget_all(&mut self, now: Duration) {
        self.forgotten = Some(now);
    }

    /// Every name that leads to an inode of the kernel's; an empty one for the root.
    pub(super) fn names(&self) -> impl Iterator<Item = Name> {
        self.inodes.iter().map(|(ino, inode)| Name {
            parent: inode.parent,
            last: last_of(&inode.name).into(),
            inode: Some((*ino, inode.facts.kind)),
        })
    }

    /// The files whose version is the current one of their name. What others are read from, the remote has no more.
    pub(super) fn current_files(&self) -> impl Iterator<Item = u64> {
        let is_one = |inode: &Inode<C>| inode.facts.kind == FileKind::File && !inode.superseded;
        let files = self.inodes.iter().filter(move |(_, inode)| is_one(inode));
        files.map(|(ino, _)| *ino)
    }

    /// For how long evidence of `at` still counts.
    pub(super) fn remaining(&self, at: Duration, now: Duration) -> Duration {
        match self.is_forgotten(at) {
            true => Duration::ZERO,
            false => self.ttl.saturating_sub(now.saturating_sub(at)),
        }
    }

    /// The listing of a directory, while it counts: one that is complete, or else one whose pages still come.
    pub(super) fn fresh_listing(&self, dir: u64, now: Duration) -> Option<Arc<Listing>> {
        let inode = self.inodes.get(&dir)?;
        let counts = |listing: &Arc<Listing>| self.is_fresh(listing.at, now);
        let complete = inode.listing.clone().filter(counts);
        complete.or_else(|| inode.coming.upgrade().filter(counts))
    }

    /// Whether nothing was found against this listing since it was asked for, and no younger one has come.
    pub(super) fn is_listing_of(&self, dir: u64, listing: &Arc<Listing>) -> bool {
        self.inodes.get(&dir).is_some_and(|inode| {
            let complete = inode.listing.as_ref();
            complete.is_some_and(|kept| Arc::ptr_eq(kept, listing))
                || inode.coming.ptr_eq(&Arc::downgrade(listing))
        })
    }

    /// What is known now of `name`, whose last component is `last`, in the directory `parent`: the youngest evidence
    /// counts.
    pub(super) fn find(&self, parent: u64, name: &ObjectName, last: &[u8], now: Duration) -> Found {
        let own = self.current.get(name).and_then(|&ino| {
            let checked = self.inodes.get(&ino)?.checked;
            self.is_fresh(checked, now).then_some((ino, checked))
        });
        match (own, self.fresh_listing(parent, now)) {
            (Some((ino, checked)), Some(listing)) if listing.at <= checked => Found::Inode(ino),
            (_, Some(listing)) => {
                let contents = listing.contents();
                match contents.find(last) {
                    Some(Listed::Facts(facts)) => Found::Listed(facts.clone(), listing.at),
                    None if self.lists_all && contents.is_complete => Found::Absent(listing.at),
                    // The name is there, and only the remote can tell what stat(2) shows of it; or it may be there.
                    Some(Listed::Kind(_)) | None => {
                        own.map_or(Found::Unknown, |(ino, _)| Found::Inode(ino))
                    }
                }
            }
            (Some((ino, _)), None) => Found::Inode(ino),
            (None, None) => Found::Unknown,
        }
    }

    /// As [`Table::find`], for an inode that the kernel knows.
    pub(super) fn find_inode(&self, ino: u64, now: Duration) -> Option<Found> {
        let inode = self.inodes.get(&ino)?;
        if ino == ROOT {
            let fresh = self.is_fresh(inode.checked, now);
            return Some(if fresh {
                Found::Inode(ino)
            } else {
                Found::Unknown
            });
        }
        Some(self.find(inode.parent, &inode.name, last_of(&inode.name), now))
    }

    /// The inode that serves a name, however old what is known of it.
    pub(super) fn serving(&self, name: &ObjectName) -> Option<u64> {
        self.current.get(name).copied()
    }

    /// Counts one lookup of the kernel's.
    pub(super) fn count(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.lookups += 1;
        }
    }

    /// Takes back `count` lookups. What no longer lives is returned, to be dropped under no lock.
    pub(super) fn forget(&mut self, ino: u64, count: u64) -> Option<Inode<C>> {
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
    pub(super) fn confirm(&mut self, ino: u64, facts: &Facts, at: Duration) -> Verdict<C> {
        let Some(inode) = self.inodes.get_mut(&ino) else {
            return Verdict::Old;
        };
        if inode.superseded {
            return Verdict::Old;
        }
        if at < inode.checked {
            return Verdict::Current;
        }
        if inode.facts.validator.is_none() && facts.validator.is_some() {
            // A listing told size and time; the first fetch has learned more since.
            inode.facts.validator = inode.cell.validator();
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
        Verdict::Current
    }

    /// The inode of a name with the facts that were asked for at `at`: the one that serves it, or a new one where they
    /// contradict it. Counts one lookup. Also what to tell to the one that was superseded.
    pub(super) fn admit(
        &mut self,
        parent: u64,
        name: &ObjectName,
        facts: &Facts,
        at: Duration,
    ) -> (u64, Verdict<C>) {
        let mut verdict = Verdict::Current;
        if let Some(&ino) = self.current.get(name) {
            verdict = self.confirm(ino, facts, at);
            if matches!(verdict, Verdict::Current) {
                self.count(ino);
                return (ino, verdict);
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
        (ino, verdict)
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
    pub(super) fn shown_number(&self, name: &ObjectName, listed: &Listed) -> u64 {
        let unseen = || match listed {
            Listed::Facts(facts) => self.free_number(name, facts),
            Listed::Kind(kind) => number(name, &Facts::unknown(*kind), 0),
        };
        self.serving(name).unwrap_or_else(unseen)
    }

    /// An inode's version is no longer the current one, as was found at `at`. Older evidence of its name goes with it.
    pub(super) fn supersede(&mut self, ino: u64, at: Duration) -> Verdict<C> {
        let Some(inode) = self.inodes.get_mut(&ino) else {
            return Verdict::Old;
        };
        if inode.superseded || ino == ROOT {
            return Verdict::Old;
        }
        inode.superseded = true;
        inode.checked = at;
        let (parent, cell) = (inode.parent, Arc::clone(&inode.cell));
        if self.current.get(&inode.name) == Some(&ino) {
            self.current.remove(&inode.name);
        }
        self.refute_listings(parent, |listing| listing.at < at);
        Verdict::Superseded(cell)
    }

    /// A name was found to be no more at `at`.
    pub(super) fn vanish(&mut self, name: &ObjectName, at: Duration) -> Verdict<C> {
        match self.current.get(name) {
            Some(&ino) if self.inodes.get(&ino).is_some_and(|i| i.checked <= at) => {
                self.supersede(ino, at)
            }
            _ => Verdict::Old,
        }
    }

    /// The first fetch of an inode found another version than the facts said, of which stat(2) shows the same, before
    /// anything was served from it.
    pub(super) fn rebind(&mut self, ino: u64, facts: &Facts, at: Duration) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.facts.validator.clone_from(&facts.validator);
            inode.checked = inode.checked.max(at);
        }
    }

    /// Makes a listing known whose first page has come, and not its last.
    pub(super) fn expect_listing(&mut self, dir: u64, listing: &Arc<Listing>) {
        if let Some(inode) = self.inodes.get_mut(&dir) {
            inode.coming = Arc::downgrade(listing);
        }
    }

    /// As [`Table::keep_listing`], for one that was expected, unless it was refuted while its pages came.
    pub(super) fn keep_expected(&mut self, dir: u64, listing: &Arc<Listing>, now: Duration) {
        if self.is_listing_of(dir, listing) {
            self.keep_listing(dir, Arc::clone(listing), now);
        }
    }

    /// A listing that was expected will not be complete.
    pub(super) fn give_up_listing(&mut self, dir: u64, listing: &Arc<Listing>) {
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
    pub(super) fn keep_listing(&mut self, dir: u64, listing: Arc<Listing>, now: Duration) {
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
pub(super) mod tests;
