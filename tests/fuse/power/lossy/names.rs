//! The names of the lossy disk: what programs see, what is durable, and the changes in between. Each change persists by
//! itself: a create can be lost, a removed name can come back; a rename is one change.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use larder::testing::Rng;

/// The number of the root directory.
pub(super) const ROOT: u64 = 1;

/// A place for a name: its directory and itself.
pub(super) type Place = (u64, OsString);

type Map = BTreeMap<Place, u64>;

#[derive(Clone)]
enum Change {
    Link { at: Place, node: u64 },
    Unlink { at: Place, node: u64 },
    Rename { from: Place, to: Place, node: u64 },
}

impl Change {
    fn node(&self) -> u64 {
        match self {
            Self::Link { node, .. } | Self::Unlink { node, .. } | Self::Rename { node, .. } => {
                *node
            }
        }
    }

    fn touches(&self, dir: u64) -> bool {
        match self {
            Self::Link { at, .. } | Self::Unlink { at, .. } => at.0 == dir,
            Self::Rename { from, to, .. } => from.0 == dir || to.0 == dir,
        }
    }

    fn apply(&self, names: &mut Map) {
        let mut remove = |at: &Place, node: u64| {
            if names.get(at) == Some(&node) {
                names.remove(at);
            }
        };
        match self {
            Self::Link { .. } => {}
            Self::Unlink { at, node } => remove(at, *node),
            Self::Rename { from, node, .. } => remove(from, *node),
        }
        if let Self::Link { at, node } | Self::Rename { to: at, node, .. } = self {
            names.insert(at.clone(), *node);
        }
    }
}

/// All names.
#[derive(Clone, Default)]
pub(super) struct Names {
    live: Map,
    durable: Map,
    log: Vec<Change>,
}

impl Names {
    pub(super) fn get(&self, dir: u64, name: &OsStr) -> Option<u64> {
        self.live.get(&(dir, name.to_owned())).copied()
    }

    /// The names in a directory with their nodes.
    pub(super) fn list(&self, dir: u64) -> impl Iterator<Item = (&OsStr, u64)> {
        let range = (dir, OsString::new())..(dir + 1, OsString::new());
        let range = self.live.range(range);
        range.map(|((_, name), node)| (name.as_os_str(), *node))
    }

    pub(super) fn link(&mut self, at: Place, node: u64) {
        self.do_it(Change::Link { at, node });
    }

    pub(super) fn unlink(&mut self, at: Place, node: u64) {
        self.do_it(Change::Unlink { at, node });
    }

    pub(super) fn rename(&mut self, from: Place, to: Place, node: u64) {
        self.do_it(Change::Rename { from, to, node });
    }

    fn do_it(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.log.push(change);
    }

    /// Makes the changes in a directory durable, as fsync(2) of it does.
    pub(super) fn sync_dir(&mut self, dir: u64) {
        self.settle(|change| change.touches(dir));
    }

    /// Makes the names of a node durable, and those of the directories above it: what fsync(2) of a new file does on
    /// ext4, XFS and btrfs.
    pub(super) fn sync_node(&mut self, node: u64) {
        let mut above = BTreeSet::from([node]);
        let mut next = Some(node);
        while let Some(node) = next {
            let at = self.live.iter().find(|(_, named)| **named == node);
            next = at
                .map(|((dir, _), _)| *dir)
                .filter(|dir| above.insert(*dir));
        }
        self.settle(|change| above.contains(&change.node()));
    }

    pub(super) fn sync_all(&mut self) {
        self.settle(|_| true);
    }

    fn settle(&mut self, mut is_synced: impl FnMut(&Change) -> bool) {
        let (synced, left) = std::mem::take(&mut self.log)
            .into_iter()
            .partition(|change| is_synced(change));
        self.log = left;
        for change in &synced {
            let synced: &Change = change;
            synced.apply(&mut self.durable);
        }
    }

    /// The names that a power cut leaves, each unsynced change kept in so many of 256 cases, in their order or in any.
    pub(super) fn after_cut(&self, keep: u16, rng: &mut Rng) -> Self {
        let mut names = self.durable.clone();
        let mut log: Vec<&Change> = self.log.iter().filter(|_| rng.chance(keep)).collect();
        if rng.chance(128) {
            rng.shuffle(&mut log);
        }
        for change in log {
            change.apply(&mut names);
        }
        let mut reached = BTreeSet::from([ROOT]);
        loop {
            let more: Vec<u64> = names
                .iter()
                .filter(|((dir, _), node)| reached.contains(dir) && !reached.contains(node))
                .map(|(_, node)| *node)
                .collect();
            if more.is_empty() {
                break;
            }
            reached.extend(more);
        }
        names.retain(|(dir, _), _| reached.contains(dir));
        Self {
            live: names.clone(),
            durable: names,
            log: Vec::new(),
        }
    }

    /// Every node that has a name.
    pub(super) fn named(&self) -> BTreeSet<u64> {
        self.live.values().copied().collect()
    }

    pub(super) fn pending(&self) -> usize {
        self.log.len()
    }
}
