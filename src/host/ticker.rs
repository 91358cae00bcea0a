//! What tells the engine that time passes.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::engine::Cache;

/// How often the engine is told that time passes; it asks for 100 ms at most.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// Tells the engine that time passes, until dropped.
pub(super) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Begins at once, on a thread of its own.
    pub(super) fn start(cache: Arc<Cache>) -> std::io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let run = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                cache.tick();
            }
        };
        let thread = Builder::new().name("larder-tick".into()).spawn(run)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
