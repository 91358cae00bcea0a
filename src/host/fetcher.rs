//! What carries the engine's fetches out: over a remote, on the threads of the network.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::engine::{FetchJob, Fetcher};
use crate::remote::{Network, Remote, RemoteError};

/// A fetch that delivers less than this many bytes within one deadline holds a place that others need, and is ended.
const TRICKLE: u64 = 16 << 10;

/// Fetches from one remote.
pub struct RemoteFetcher {
    network: Arc<Network>,
    remote: Arc<dyn Remote>,
    permits: Arc<Semaphore>,
}

impl RemoteFetcher {
    /// A fetcher over `remote` with at most `concurrent` requests in flight.
    pub fn new(network: Arc<Network>, remote: Arc<dyn Remote>, concurrent: usize) -> Arc<Self> {
        Arc::new(Self {
            network,
            remote,
            permits: Arc::new(Semaphore::new(concurrent)),
        })
    }
}

impl Fetcher for RemoteFetcher {
    fn start(&self, mut job: FetchJob) {
        let (remote, permits) = (Arc::clone(&self.remote), Arc::clone(&self.permits));
        let timeout = self.network.timeout();
        self.network.spawn(async move {
            let delivered = job.delivered();
            let fetch = async {
                let _permit = permits.acquire().await;
                let (name, range, bound) = (job.name().clone(), job.range(), job.bound());
                remote.fetch(&name, range, bound.as_ref(), &mut job).await
            };
            let result = while_it_moves(timeout, &delivered, fetch).await;
            job.finish(result);
        });
    }
}

/// Runs `fetch` until it ends, or until less than [`TRICKLE`] was delivered within one `timeout`.
async fn while_it_moves(
    timeout: Duration,
    delivered: &AtomicU64,
    fetch: impl Future<Output = Result<(), RemoteError>>,
) -> Result<(), RemoteError> {
    let mut fetch = std::pin::pin!(fetch);
    let mut before = 0;
    loop {
        if let Ok(result) = tokio::time::timeout(timeout, &mut fetch).await {
            return result;
        }
        let now = delivered.load(Ordering::Relaxed);
        if now - before < TRICKLE {
            return Err(RemoteError::TimedOut);
        }
        before = now;
    }
}
