//! The memory of listings: one room that all listings of a mount share.
//!
//! A listing has no length before it ends, so it takes room as it grows, and its first pages are with a reader while the
//! later ones come: what it has taken it cannot give back. Two listings that are half done must not wait for each other
//! all the same. Invariants:
//!
//! * Listings that are under way hold a quarter of the room at most, all together. One that needs more waits for the
//!   *turn*. The listing that has the turn is counted no more, and it alone waits for room.
//! * One listing gets half of the room at most, and the listings that are kept for later take a quarter at most (the
//!   view's affair). So what the turn waits for are directories that a program has open and that are complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use super::RemoteError;

/// What is counted: this many bytes at a time.
const UNIT: u64 = 4096;

/// The room.
#[derive(Debug)]
pub struct Room {
    units: AtomicU64,
    free: Semaphore,
    /// Units of the listings that are under way, but for those of the one that has the turn.
    under_way: AtomicU64,
    turn: Arc<Mutex<()>>,
}

impl Room {
    /// A room of so many bytes.
    pub fn new(bytes: u64) -> Arc<Self> {
        let most = Semaphore::MAX_PERMITS as u64;
        let units = (bytes / UNIT).min(most).min(u64::from(u32::MAX));
        Arc::new(Self {
            units: AtomicU64::new(units),
            free: Semaphore::new(usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS)),
            under_way: AtomicU64::new(0),
            turn: Arc::default(),
        })
    }

    /// A room that holds whatever a machine can.
    pub fn unlimited() -> Arc<Self> {
        Self::new(u64::MAX)
    }

    /// Gives the room no more than `bytes` from now on. To be called while nothing is held.
    pub fn narrow(&self, bytes: u64) {
        let less = self.total().saturating_sub(bytes / UNIT);
        let less = usize::try_from(less).unwrap_or(usize::MAX);
        let gone = self.free.forget_permits(less) as u64;
        self.units.fetch_sub(gone, Ordering::Relaxed);
    }

    /// Bytes that are taken.
    pub fn used(&self) -> u64 {
        let free = self.free.available_permits() as u64;
        self.total().saturating_sub(free) * UNIT
    }

    /// Units in all.
    fn total(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// Units that one listing may have.
    fn most(&self) -> u64 {
        self.total() / 2
    }

    /// Takes so many units for a listing without the turn, if there are so many.
    fn try_take(&self, units: u32) -> bool {
        let (more, most) = (u64::from(units), self.total() / 4);
        let grown = |under_way: u64| Some(under_way + more).filter(|&sum| sum <= most);
        let counter = &self.under_way;
        if counter
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .is_err()
        {
            return false;
        }
        match self.free.try_acquire_many(units) {
            Ok(taken) => taken.forget(),
            Err(_) => {
                self.under_way.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        }
        true
    }
}

/// What one listing takes of the room, from its beginning to its end.
#[derive(Debug)]
pub(in crate::remote) struct Growth {
    room: Arc<Room>,
    /// Units that were taken in all.
    units: u64,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Growth {
    /// Nothing yet.
    pub(in crate::remote) fn new(room: &Arc<Room>) -> Self {
        Self {
            room: Arc::clone(room),
            units: 0,
            turn: None,
        }
    }

    /// Takes room for the next page: `bytes` (a unit at least), or what is left of what one listing may have. Waits for it
    /// where there is none. Errors with [`RemoteError::NoMemory`] where the listing has all that it may have.
    pub(in crate::remote) async fn take(&mut self, bytes: u64) -> Result<Held, RemoteError> {
        let left = (self.room.most() - self.units.min(self.room.most())) * UNIT;
        let mut held = self.nothing();
        self.grow(&mut held, bytes.clamp(UNIT, left.max(UNIT)))
            .await?;
        Ok(held)
    }

    /// Whether it is the one that may wait for room.
    #[cfg(feature = "http")]
    pub(in crate::remote) fn has_turn(&self) -> bool {
        self.turn.is_some()
    }

    /// No room, to be grown.
    pub(in crate::remote) fn nothing(&self) -> Held {
        Held {
            room: Arc::clone(&self.room),
            units: 0,
        }
    }

    /// Has `held`, which is of this listing, hold `bytes` in all, if it holds less. Waits for them. Errors with
    /// [`RemoteError::NoMemory`] where no listing may have so many.
    pub(in crate::remote) async fn grow(
        &mut self,
        held: &mut Held,
        bytes: u64,
    ) -> Result<(), RemoteError> {
        let wanted = bytes.div_ceil(UNIT).saturating_sub(u64::from(held.units));
        let more = u32::try_from(wanted)
            .ok()
            .filter(|_| self.units + wanted <= self.room.most());
        let more = more.ok_or_else(|| {
            RemoteError::NoMemory(format!(
                "the listing takes more than the {} MiB of memory that one listing may use: give a larger --memory",
                (self.room.most() * UNIT) >> 20
            ))
        })?;
        if self.turn.is_none() && !self.room.try_take(more) {
            self.turn = Some(Arc::clone(&self.room.turn).lock_owned().await);
            self.room.under_way.fetch_sub(self.units, Ordering::Relaxed);
        }
        // The semaphore is never closed.
        if self.turn.is_some()
            && let Ok(taken) = self.room.free.acquire_many(more).await
        {
            taken.forget();
        }
        self.units += wanted;
        held.units += more;
        Ok(())
    }

    /// Has `held`, which is of this listing, hold no more than `bytes`.
    pub(in crate::remote) fn shrink(&mut self, held: &mut Held, bytes: u64) {
        let less = u64::from(held.shrink(bytes));
        self.units -= less;
        if self.turn.is_none() {
            self.room.under_way.fetch_sub(less, Ordering::Relaxed);
        }
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        if self.turn.is_none() {
            self.room.under_way.fetch_sub(self.units, Ordering::Relaxed);
        }
    }
}

/// What a part of a listing holds of the room; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    room: Arc<Room>,
    units: u32,
}

impl Held {
    /// Bytes that it holds.
    pub(in crate::remote) fn bytes(&self) -> u64 {
        u64::from(self.units) * UNIT
    }

    /// Gives back what is more than `bytes`; how many units those were.
    fn shrink(&mut self, bytes: u64) -> u32 {
        let kept = u32::try_from(bytes.div_ceil(UNIT)).map_or(self.units, |n| n.min(self.units));
        let less = std::mem::replace(&mut self.units, kept) - kept;
        self.room.free.add_permits(less as usize);
        less
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Whether the future is ready, asked once.
    fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_is_held_is_counted_and_given_back() {
        let room = Room::new(16 * MIB);
        let mut growth = Growth::new(&room);
        let mut a = growth.take(5 * MIB).await.unwrap();
        growth.grow(&mut a, 4 * MIB).await.unwrap();
        assert_eq!(a.bytes(), 5 * MIB, "it had more");
        let b = growth.take(2 * MIB).await.unwrap();
        assert_eq!(room.used(), 7 * MIB);
        growth.shrink(&mut a, MIB);
        assert_eq!(room.used(), 3 * MIB);
        // One listing gets half: what is left of it, and then an error that says what helps.
        let c = growth.take(20 * MIB).await.unwrap();
        assert_eq!(c.bytes(), 5 * MIB);
        let said = growth.take(1).await.unwrap_err().to_string();
        assert!(
            said.contains("8 MiB") && said.contains("--memory"),
            "{said}"
        );
        drop((a, b));
        assert_eq!(room.used(), 5 * MIB);
        drop((c, growth));
        assert_eq!(room.used(), 0);
    }

    #[tokio::test]
    async fn listings_that_are_half_done_never_wait_for_each_other() {
        let room = Room::new(16 * MIB);
        let mut listings: Vec<Growth> = (0..3).map(|_| Growth::new(&room)).collect();
        let mut held = Vec::new();
        for growth in &mut listings[..2] {
            held.push(growth.take(2 * MIB).await.unwrap());
        }
        assert!(listings[2].turn.is_none());
        // A quarter is taken: the third goes on with the turn, as far as half of the room.
        held.push(listings[2].take(2 * MIB).await.unwrap());
        assert!(listings[2].turn.is_some());
        held.push(listings[2].take(6 * MIB).await.unwrap());
        assert!(
            poll(listings[0].take(MIB)).is_none(),
            "it waits for the turn"
        );
        drop(listings.pop());
        // The room of the one that is done is still taken, and the other listings go on.
        assert_eq!(room.used(), 12 * MIB);
        held.push(listings[0].take(MIB).await.unwrap());
        assert!(listings[0].turn.is_some());
        assert!(
            poll(listings[1].take(MIB)).is_some(),
            "a quarter is free again"
        );
    }

    #[tokio::test]
    async fn the_turn_waits_for_listings_that_are_done() {
        let room = Room::new(8 * MIB);
        let mut done = Vec::new();
        for _ in 0..2 {
            done.push(Growth::new(&room).take(3 * MIB).await.unwrap());
        }
        let mut growth = Growth::new(&room);
        assert!(poll(growth.take(3 * MIB)).is_none());
        assert_eq!(room.used(), 6 * MIB);
        done.pop();
        assert_eq!(growth.take(3 * MIB).await.unwrap().bytes(), 3 * MIB);
        drop((done, growth));
        assert_eq!(room.used(), 0);
        room.narrow(MIB);
        let held = Growth::new(&room).take(MIB).await.unwrap();
        assert_eq!(held.bytes(), MIB / 2);
    }
}
