//! The cache of open chunk files.
//!
//! Invariants: an entry serves only the generation that opened it; an insert never replaces a newer generation, so that a
//! late reader of an old tenancy cannot stand in the way of the new one. The number of entries has a bound, which
//! shrinks for good when the process runs out of descriptors.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::storage::api::ChunkFile;
use crate::units::SlotId;

const SHARDS: usize = 16;
/// The most descriptors that are kept, whatever the process may have.
const LIMIT_MAX: usize = 16384;
/// What the daemon has open beside chunk files and the remote's files and sockets.
const OWN: usize = 24;
/// The longest that a thread of the disk pool waits for a descriptor: below what makes a disk seem to hang.
const PATIENCE: Duration = Duration::from_secs(1);

/// Open files by slot.
#[derive(Debug)]
pub(super) struct Descriptors {
    shards: [Mutex<Shard>; SHARDS],
    per_shard: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    open: HashMap<SlotId, Entry>,
    /// The slots of `open` in the order of their insertion, for second-chance eviction; slots that were removed since
    /// may linger in it.
    order: VecDeque<SlotId>,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    file: Arc<File>,
    used: bool,
}

impl Descriptors {
    /// A cache of at most `limit` descriptors, at least one a shard.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            shards: Default::default(),
            per_shard: AtomicUsize::new((limit / SHARDS).max(1)),
        }
    }

    /// The open file of this slot and generation, if there is one.
    pub(super) fn get(&self, file: ChunkFile) -> Option<Arc<File>> {
        let mut shard = self.shard(file.slot).lock();
        let entry = shard
            .open
            .get_mut(&file.slot)
            .filter(|entry| entry.generation == file.generation)?;
        entry.used = true;
        Some(Arc::clone(&entry.file))
    }

    /// Keeps an open file, unless one of a newer generation is there.
    pub(super) fn insert(&self, file: ChunkFile, open: Arc<File>) {
        let limit = self.per_shard.load(Ordering::Relaxed);
        let mut shard = self.shard(file.slot).lock();
        let fresh = Entry {
            generation: file.generation,
            file: open,
            used: false,
        };
        let dropped = match shard.open.get_mut(&file.slot) {
            Some(entry) if is_newer(entry.generation, file.generation) => return,
            Some(entry) => vec![std::mem::replace(entry, fresh)],
            None => {
                let dropped = shard.shrink_to(limit.saturating_sub(1));
                shard.open.insert(file.slot, fresh);
                shard.order.push_back(file.slot);
                dropped
            }
        };
        // Closing a file can take long; no lock is held over it.
        drop(shard);
        drop(dropped);
    }

    /// Drops the descriptor of a slot, of whatever generation.
    pub(super) fn remove(&self, slot: SlotId) {
        let entry = self.shard(slot).lock().open.remove(&slot);
        drop(entry);
    }

    /// Halves the bound for good and drops what is above it.
    pub(super) fn shrink(&self) {
        let limit = (self.per_shard.load(Ordering::Relaxed) / 2).max(1);
        self.per_shard.store(limit, Ordering::Relaxed);
        for shard in &self.shards {
            let dropped = shard.lock().shrink_to(limit);
            drop(dropped);
        }
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().open.len())
            .sum()
    }

    fn shard(&self, slot: SlotId) -> &Mutex<Shard> {
        let [first, ..] = &self.shards;
        self.shards.get(slot.0 as usize % SHARDS).unwrap_or(first)
    }
}

/// Whether generation `a` came after `b`; generations count modulo 2^32.
fn is_newer(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

impl Shard {
    /// Evicts until at most `limit` are open: the oldest that was not used since the hand last passed it.
    fn shrink_to(&mut self, limit: usize) -> Vec<Entry> {
        let mut dropped = Vec::new();
        // Slots that were removed leave their place in the order behind; they must not pile up.
        if self.order.len() > 2 * self.open.len() + SHARDS {
            let mut seen = hashbrown::HashSet::new();
            let open = &self.open;
            self.order
                .retain(|slot| open.contains_key(slot) && seen.insert(*slot));
        }
        while self.open.len() > limit {
            let Some(slot) = self.order.pop_front() else {
                break;
            };
            match self.open.get_mut(&slot) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.order.push_back(slot);
                }
                Some(_) => dropped.extend(self.open.remove(&slot)),
                None => {}
            }
        }
        dropped
    }
}

/// How the descriptors that this process may have are shared out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DescriptorShares {
    /// Chunk files that are kept open.
    pub chunks: usize,
    /// What the remote may hold for fetches at a time, sockets or files.
    pub fetches: usize,
}

impl DescriptorShares {
    /// Of `limit` descriptors some are the daemon's own (the device, the index, the log, the runtime); of the rest chunk
    /// files get a half and fetches a quarter. What is left is for questions and for what is open for a moment.
    fn of(limit: usize) -> Self {
        let rest = limit.saturating_sub(OWN);
        Self {
            chunks: (rest / 2).clamp(SHARDS, LIMIT_MAX),
            fetches: (rest / 4).max(2),
        }
    }
}

/// Runs `open`, and again for a while where no descriptor is left. `make_room` is called once, before the second time.
pub(super) fn patiently<T>(
    make_room: impl FnOnce(),
    open: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut pause = Duration::from_millis(1);
    let (mut make_room, mut waited) = (Some(make_room), Duration::ZERO);
    loop {
        match open() {
            Err(Errno::MFILE | Errno::NFILE) if waited < PATIENCE => {}
            other => return other,
        }
        if let Some(make_room) = make_room.take() {
            make_room();
            continue;
        }
        std::thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Raises this process's limit on open files as far as it may, and shares them out.
pub fn raise_descriptor_limit() -> DescriptorShares {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A refusal leaves the old limit, which is read back below.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    DescriptorShares::of(usize::try_from(current).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(slot: u32, generation: u32) -> ChunkFile {
        ChunkFile {
            slot: SlotId(slot),
            generation,
        }
    }

    fn open() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn descriptors_are_shared_out() {
        let of = |limit| {
            let shares = DescriptorShares::of(limit);
            (shares.chunks, shares.fetches)
        };
        assert_eq!(of(64), (20, 10));
        assert_eq!(of(1024), (500, 250));
        assert_eq!(of(16), (SHARDS, 2));
        assert_eq!(of(usize::MAX).0, LIMIT_MAX);
    }

    #[test]
    fn an_opening_that_finds_no_descriptor_waits_for_one() {
        let (tries, rooms) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let open = || match tries.fetch_add(1, Ordering::Relaxed) {
            0..4 => Err(Errno::MFILE),
            tried => Ok(tried),
        };
        let make_room = || _ = rooms.fetch_add(1, Ordering::Relaxed);
        assert_eq!(patiently(make_room, open), Ok(4));
        assert_eq!(rooms.load(Ordering::Relaxed), 1);
        let refused = || Err::<(), _>(Errno::NOENT);
        assert_eq!(patiently(|| (), refused), Err(Errno::NOENT));
        let never = || Err::<(), _>(Errno::NFILE);
        assert_eq!(patiently(|| (), never), Err(Errno::NFILE));
    }

    #[test]
    fn generations_do_not_meet() {
        let cache = Descriptors::new(64);
        let (old, new) = (open(), open());
        cache.insert(file(1, 5), Arc::clone(&new));
        cache.insert(file(1, 4), old);
        assert!(
            Arc::ptr_eq(&cache.get(file(1, 5)).unwrap(), &new),
            "an older insert replaces nothing"
        );
        assert!(cache.get(file(1, 4)).is_none());
        let newer = open();
        cache.insert(file(1, 6), Arc::clone(&newer));
        assert!(cache.get(file(1, 5)).is_none());
        assert!(Arc::ptr_eq(&cache.get(file(1, 6)).unwrap(), &newer));
        cache.remove(SlotId(1));
        assert!(cache.get(file(1, 6)).is_none());
        assert!(is_newer(0, u32::MAX) && !is_newer(u32::MAX, 0) && !is_newer(3, 3));
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let cache = Descriptors::new(4 * SHARDS);
        let shared = open();
        let slots_of_one_shard = |n: u32| n * 16;
        for n in 0..4 {
            cache.insert(file(slots_of_one_shard(n), 0), Arc::clone(&shared));
        }
        assert!(cache.get(file(0, 0)).is_some());
        cache.insert(file(slots_of_one_shard(4), 0), Arc::clone(&shared));
        assert_eq!(cache.len(), 4);
        assert!(cache.get(file(0, 0)).is_some(), "it was used");
        assert!(
            cache.get(file(slots_of_one_shard(1), 0)).is_none(),
            "the oldest unused one went"
        );
        for n in 0..10_000u32 {
            cache.insert(file(n, 0), Arc::clone(&shared));
            cache.remove(SlotId(n));
        }
        assert!(cache.shards.iter().all(|s| s.lock().order.len() < 100));
        for n in 0..1000 {
            cache.insert(file(n, 0), Arc::clone(&shared));
        }
        assert_eq!(cache.len(), 4 * SHARDS);
        cache.shrink();
        assert_eq!(cache.len(), 2 * SHARDS);
    }
}
