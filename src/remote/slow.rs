//! Another remote, made slow: a simulated slow disk or a far server, for the demo and the tests.
//!
//! Every question costs a round trip, and all data goes through one pipe of a given width. Nothing here holds a thread
//! while it waits, and delivery stays a stream: readers get the front of a range before its end was paid for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::api::{BoxFuture, Capacity, Pages, Remote, RemoteError, Sink};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

/// How slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SlowSettings {
    /// What every question waits before it is asked.
    pub round_trip: Duration,
    /// The width of the pipe; unlimited where `None`. Zero counts as one.
    pub bytes_per_second: Option<u64>,
}

/// A remote behind a delay and a narrow pipe, with counters.
pub struct SlowRemote {
    inner: Arc<dyn Remote>,
    settings: SlowSettings,
    /// When the pipe is free again.
    free_at: Mutex<Option<Instant>>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl SlowRemote {
    /// Puts `inner` behind a delay and a pipe.
    pub fn new(inner: Arc<dyn Remote>, settings: SlowSettings) -> Self {
        Self {
            inner,
            settings,
            free_at: Mutex::new(None),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// How many questions were asked: stats, listings, links and fetches.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many data bytes were delivered.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    async fn round_trip(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !self.settings.round_trip.is_zero() {
            tokio::time::sleep(self.settings.round_trip).await;
        }
    }

    /// Waits until `bytes` have gone through the pipe.
    async fn transfer(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let Some(rate) = self.settings.bytes_per_second else {
            return;
        };
        let duration = Duration::from_nanos(transfer_nanos(bytes, rate));
        let arrives = {
            let mut free_at = self.free_at.lock();
            let now = Instant::now();
            let start = free_at.map_or(now, |free| free.max(now));
            *free_at.insert(start + duration)
        };
        tokio::time::sleep_until(arrives).await;
    }

    /// How much is asked of the inner remote at once: some milliseconds' worth.
    fn piece(&self) -> u64 {
        match self.settings.bytes_per_second {
            Some(rate) => (rate / 50).clamp(64 << 10, 1 << 20),
            None => 1 << 20,
        }
    }
}

fn transfer_nanos(bytes: u64, rate: u64) -> u64 {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// Holds the data of one piece until it has gone through the pipe; passes the version on once.
struct Piece<'a> {
    sink: &'a mut dyn Sink,
    version: Option<Validator>,
    announced: bool,
    /// Where the object ends, once that is known.
    size: u64,
    data: Vec<Bytes>,
}

impl Sink for Piece<'_> {
    fn version(&mut self, facts: &Facts, settled: bool) -> Result<(), RemoteError> {
        if self.announced {
            return Ok(());
        }
        self.announced = true;
        self.version.clone_from(&facts.validator);
        self.size = facts.size;
        self.sink.version(facts, settled)
    }

    fn data(&mut self, bytes: Bytes) {
        self.data.push(bytes);
    }

    fn whole(&mut self) -> bool {
        self.sink.whole()
    }

    fn has_room(&self) -> bool {
        self.sink.has_room()
    }

    fn is_enough(&self) -> bool {
        self.sink.is_enough()
    }
}

impl Remote for SlowRemote {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    fn look(&self) -> BoxFuture<'_, Result<Vec<String>, RemoteError>> {
        self.inner.look()
    }

    fn principal(&self) -> String {
        self.inner.principal()
    }

    fn hide(&self, dirs: &[PathBuf]) {
        self.inner.hide(dirs);
    }

    fn lists_facts(&self) -> bool {
        self.inner.lists_facts()
    }

    fn lists_all(&self) -> bool {
        self.inner.lists_all()
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        Box::pin(async move {
            self.round_trip().await;
            self.inner.stat(name).await
        })
    }

    /// A listing costs one round trip, however many pages it has.
    fn list<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Box<dyn Pages>, RemoteError>> {
        Box::pin(async move {
            self.round_trip().await;
            self.inner.list(name).await
        })
    }

    fn read_link<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Vec<u8>, RemoteError>> {
        Box::pin(async move {
            self.round_trip().await;
            self.inner.read_link(name).await
        })
    }

    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async move {
            self.round_trip().await;
            let mut piece = Piece {
                sink,
                version: bound.cloned(),
                announced: false,
                size: u64::MAX,
                data: Vec::new(),
            };
            let mut at = range.start;
            loop {
                let part = ByteRange::at(at, self.piece()).clip(range);
                let bound = piece.version.clone();
                let result = self
                    .inner
                    .fetch(name, part, bound.as_ref(), &mut piece)
                    .await;
                // What came before an error is of the version announced: it is delivered all the same.
                for bytes in std::mem::take(&mut piece.data) {
                    self.transfer(bytes.len() as u64).await;
                    piece.sink.data(bytes);
                }
                result?;
                at = part.end;
                if at >= range.end.min(piece.size) {
                    return Ok(());
                }
            }
        })
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Option<Capacity>, RemoteError>> {
        self.inner.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_has_a_width() {
        assert_eq!(transfer_nanos(1 << 20, 1 << 20), 1_000_000_000);
        assert_eq!(transfer_nanos(1, 0), 1_000_000_000);
        assert_eq!(transfer_nanos(u64::MAX, 1), u64::MAX);
    }
}
