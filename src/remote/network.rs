//! The threads that ask remotes: a tokio runtime behind a synchronous caller, with a deadline on every question.

use std::future::Future;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::RemoteError;

/// The threads, with a deadline on everything that they are asked. A clone has the same threads.
#[derive(Clone)]
pub struct Network {
    threads: Arc<Threads>,
    timeout: Duration,
}

/// A runtime that ends with the last who can ask it.
struct Threads(Option<Runtime>);

impl Network {
    /// A runtime whose every question ends within `timeout`; `blocking` threads at most serve remotes that block.
    pub fn new(timeout: Duration, blocking: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(blocking)
            .thread_name("larder-net")
            .enable_all()
            .build()?;
        Ok(Self {
            threads: Arc::new(Threads(Some(runtime))),
            timeout,
        })
    }

    /// The same threads with another deadline: each mount has its own.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            threads: Arc::clone(&self.threads),
            timeout,
        }
    }

    /// The deadline.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Runs `work` to its end, without a deadline.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.threads.0 {
            runtime.spawn(work);
        }
    }

    /// Runs `question` with the deadline and hands its answer to `done`.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, RemoteError>> + Send + 'static,
        done: impl FnOnce(Result<T, RemoteError>) + Send + 'static,
    ) {
        let timeout = self.timeout;
        self.spawn(async move {
            let answer = tokio::time::timeout(timeout, question).await;
            done(answer.unwrap_or(Err(RemoteError::TimedOut)));
        });
    }

    /// Asks as [`Network::ask`] does and waits for the answer. Not to be called on a thread of an asynchronous runtime.
    pub fn ask_and_wait<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, RemoteError>> + Send + 'static,
    ) -> Result<T, RemoteError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.ask(question, move |result| {
            // The caller waits for the answer below.
            let _ = answer.send(result);
        });
        answered
            .recv()
            .unwrap_or_else(|_| Err(RemoteError::Unreachable("the network was shut down".into())))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A remote that hangs in a system call must not hold up an unmount.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
