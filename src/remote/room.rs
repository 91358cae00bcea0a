//! The memory of listings: one room that all listings of a mount share.
//!
//! A listing has no length before it ends, so it takes room as it grows. Invariants:
//!
//! * Nobody waits for room while he holds some, but the one who has the *turn*: whoever finds no room gives back what he
//!   has, waits for the turn, and begins again. So two listings that are both half done never wait for each other.
//! * One listing gets half of the room at most: what those take that are kept never keeps it waiting.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard, Semaphore};

use super::{Entry, RemoteError};

/// What is counted: this many bytes at a time.
const UNIT: u64 = 4096;

/// The room.
#[derive(Debug)]
pub struct Room {
    units: AtomicU64,
    free: Semaphore,
    turn: Mutex<()>,
}

impl Room {
    /// A room of so many bytes.
    pub fn new(bytes: u64) -> Arc<Self> {
        let most = Semaphore::MAX_PERMITS as u64;
        let units = (bytes / UNIT).min(most).min(u64::from(u32::MAX));
        Arc::new(Self {
            units: AtomicU64::new(units),
            free: Semaphore::new(usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS)),
            turn: Mutex::new(()),
        })
    }

    /// A room that holds whatever a machine can.
    pub fn unlimited() -> Arc<Self> {
        Self::new(u64::MAX)
    }

    /// Gives the room no more than `bytes` from now on. To be called while nothing is held.
    pub fn narrow(&self, bytes: u64) {
        let less = self.total().saturating_sub(bytes) / UNIT;
        let less = usize::try_from(less).unwrap_or(usize::MAX);
        let gone = self.free.forget_permits(less) as u64;
        self.units.fetch_sub(gone, Ordering::Relaxed);
    }

    /// Bytes that are taken.
    pub fn used(&self) -> u64 {
        let free = self.free.available_permits() as u64 * UNIT;
        self.total().saturating_sub(free)
    }

    fn total(&self) -> u64 {
        self.units.load(Ordering::Relaxed) * UNIT
    }

    fn most(&self) -> u64 {
        self.total() / 2
    }

    /// `bytes`, or the most that one listing may have.
    pub(super) fn at_most(&self, bytes: u64) -> u64 {
        bytes.min(self.most())
    }

    /// Waits for the turn to wait for room.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Waits until so many bytes could be taken. Only for whoever has the turn and holds nothing.
    pub(super) async fn wait_for(&self, bytes: u64) -> Result<(), RemoteError> {
        let units = self.units(bytes)?;
        drop(self.free.acquire_many(units).await);
        Ok(())
    }

    /// The units of so many bytes, where one listing may have them.
    fn units(&self, bytes: u64) -> Result<u32, RemoteError> {
        let most = self.most();
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok();
        units.filter(|_| bytes <= most).ok_or_else(|| {
            RemoteError::NoMemory(format!(
                "the listing takes more than the {} MiB of memory that one listing may use: give a larger --memory",
                most >> 20
            ))
        })
    }
}

/// What one listing holds of the room; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    room: Arc<Room>,
    units: u32,
}

impl Held {
    /// Nothing yet.
    pub(super) fn nothing(room: &Arc<Room>) -> Self {
        Self {
            room: Arc::clone(room),
            units: 0,
        }
    }

    /// Holds `bytes` in all from now on, if there is room for them now. Errors where no listing may have so many.
    pub(super) fn try_grow(&mut self, bytes: u64) -> Result<bool, RemoteError> {
        let more = self.room.units(bytes)?.saturating_sub(self.units);
        let Ok(taken) = self.room.free.try_acquire_many(more) else {
            return Ok(false);
        };
        taken.forget();
        self.units += more;
        Ok(true)
    }

    /// As [`Held::try_grow`], and waits for the room. Only for whoever has the turn.
    pub(super) async fn grow(&mut self, bytes: u64) -> Result<(), RemoteError> {
        let more = self.room.units(bytes)?.saturating_sub(self.units);
        if let Ok(taken) = self.room.free.acquire_many(more).await {
            taken.forget();
            self.units += more;
        }
        Ok(())
    }

    /// Gives back what is more than `bytes`.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let kept = u32::try_from(bytes.div_ceil(UNIT)).map_or(self.units, |n| n.min(self.units));
        let less = std::mem::replace(&mut self.units, kept) - kept;
        self.room.free.add_permits(less as usize);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// The entries of a directory, with the room that they take.
#[derive(Debug, Default)]
pub struct Entries {
    entries: Vec<Entry>,
    held: Option<Held>,
}

impl Entries {
    /// Entries that hold room; what they do not need of it is given back.
    pub(super) fn new(entries: Vec<Entry>, mut held: Held) -> Self {
        held.shrink(entries.iter().map(cost).sum());
        Self {
            entries,
            held: Some(held),
        }
    }

    /// The entries, and what is to be kept as long as they are.
    pub fn into_parts(self) -> (Vec<Entry>, Option<Held>) {
        (self.entries, self.held)
    }
}

/// What an entry takes, with its place in an index of names.
pub(super) fn cost(entry: &Entry) -> u64 {
    (size_of::<Entry>() + size_of::<u32>() + entry.name.len().next_multiple_of(16) + 16) as u64
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Self {
        Self {
            entries,
            held: None,
        }
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}

impl IntoIterator for Entries {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[tokio::test]
    async fn what_is_held_is_counted_and_given_back() {
        let room = Room::new(10 * MIB);
        let (mut a, mut b) = (Held::nothing(&room), Held::nothing(&room));
        assert!(a.try_grow(5 * MIB).unwrap());
        assert!(a.try_grow(4 * MIB).unwrap(), "less than it has");
        assert!(b.try_grow(4 * MIB).unwrap());
        let mut c = Held::nothing(&room);
        assert!(!c.try_grow(2 * MIB).unwrap());
        assert_eq!(room.used(), 9 * MIB);
        a.shrink(MIB);
        assert_eq!(room.used(), 5 * MIB);
        assert!(c.try_grow(2 * MIB).unwrap());
        drop(c);
        drop((a, b));
        assert_eq!(room.used(), 0);
        let error = Held::nothing(&room).try_grow(6 * MIB).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("5 MiB") && said.contains("--memory"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn whoever_has_the_turn_waits_until_others_are_done() {
        let room = Room::new(8 * MIB);
        let (mut first, mut other) = (Held::nothing(&room), Held::nothing(&room));
        assert!(first.try_grow(4 * MIB).unwrap() && other.try_grow(MIB).unwrap());
        let (waiting, done) = (
            Arc::clone(&room),
            Arc::new(std::sync::atomic::AtomicBool::new(false)),
        );
        let flag = Arc::clone(&done);
        let second = tokio::spawn(async move {
            let _turn = waiting.turn().await;
            let mut held = Held::nothing(&waiting);
            held.grow(4 * MIB).await.unwrap();
            flag.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        tokio::task::yield_now().await;
        assert!(!done.load(std::sync::atomic::Ordering::Relaxed));
        drop(first);
        second.await.unwrap();
        drop(other);
        assert_eq!(room.used(), 0);
    }
}
