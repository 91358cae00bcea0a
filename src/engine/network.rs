//! The network side: a tokio runtime behind the synchronous core.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::{FetchJob, Fetcher};
use crate::remote::{Remote, RemoteError};

/// A fetch that delivers less than this within one deadline holds a place that others need, and is ended.
const TRICKLE: u64 = 16 << 10;

/// The runtime, with a deadline on everything that it is asked.
pub struct Network {
    runtime: Option<Runtime>,
    timeout: Duration,
}

impl Network {
    /// A runtime whose every task ends within `timeout`; `blocking` threads at most serve remotes that block.
    pub fn new(timeout: Duration, blocking: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(blocking)
            .thread_name("larder-net")
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            timeout,
        })
    }

    /// Runs `question` with the deadline and hands its answer to `done`.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, RemoteError>> + Send + 'static,
        done: impl FnOnce(Result<T, RemoteError>) + Send + 'static,
    ) {
        let timeout = self.timeout;
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                let answer = tokio::time::timeout(timeout, question).await;
                done(answer.unwrap_or(Err(RemoteError::TimedOut)));
            });
        }
    }

    /// Asks as [`Network::ask`] does and waits for the answer. Not to be called on a thread of an asynchronous runtime.
    pub fn ask_and_wait<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, RemoteError>> + Send + 'static,
    ) -> Result<T, RemoteError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.ask(question, move |result| {
            // Whoever asked waits for the answer below.
            let _ = answer.send(result);
        });
        answered
            .recv()
            .unwrap_or_else(|_| Err(RemoteError::Unreachable("the network was shut down".into())))
    }

    /// A fetcher over `remote` with at most `concurrent` requests in flight.
    pub fn fetcher(
        self: &Arc<Self>,
        remote: Arc<dyn Remote>,
        concurrent: usize,
    ) -> Arc<dyn Fetcher> {
        let permits = Arc::new(Semaphore::new(concurrent));
        Arc::new(RemoteFetcher {
            network: Arc::clone(self),
            remote,
            permits,
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A remote that hangs in a system call must not hold up an unmount.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
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

struct RemoteFetcher {
    network: Arc<Network>,
    remote: Arc<dyn Remote>,
    permits: Arc<Semaphore>,
}

impl Fetcher for RemoteFetcher {
    fn start(&self, mut job: FetchJob) {
        let (remote, permits) = (Arc::clone(&self.remote), Arc::clone(&self.permits));
        let timeout = self.network.timeout;
        let Some(runtime) = &self.network.runtime else {
            return;
        };
        runtime.spawn(async move {
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
