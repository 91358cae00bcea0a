//! Asking again: pauses, a deadline without progress, and the peace that a server asked for.
//!
//! Invariants: no request is sent while the server asked for peace; one request's trouble, or another server's, holds up
//! no other request; nobody waits for what cannot come before his deadline.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use tokio::time::Instant;

use super::client::{Connections, Failure, Question, Reply, drain};
use super::retry;
use crate::remote::{RemoteError, Room};

/// The last try before a deadline is given at least this long.
const SHORTEST_TRY: Duration = Duration::from_millis(100);

/// The peace that the server asked for with 429, shared by all who ask it.
#[derive(Default)]
pub(super) struct Peace(Mutex<Option<(Instant, StatusCode)>>);

impl Peace {
    fn keep(&self, until: Instant, status: StatusCode) {
        let mut kept = self.0.lock();
        if kept.is_none_or(|(before, _)| before < until) {
            *kept = Some((until, status));
        }
    }

    /// How long it still lasts.
    fn rest(&self, now: Instant) -> Option<(Duration, StatusCode)> {
        let mut kept = self.0.lock();
        let (until, status) = (*kept)?;
        if until <= now {
            *kept = None;
            return None;
        }
        Some((until - now, status))
    }
}

/// The pause that an answer asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wait {
    lasts: Duration,
    status: StatusCode,
    /// It is meant for all requests, and not for this one alone.
    is_for_all: bool,
}

impl Wait {
    /// Only 429 speaks of whoever asks; 503 may be the trouble of one object. A server that a redirect led to speaks for
    /// itself and not for the one that is mounted (`is_own`).
    fn of(status: StatusCode, is_own: bool, headers: &HeaderMap) -> Option<Self> {
        Some(Self {
            lasts: asked_wait(headers)?,
            status,
            is_for_all: is_own && status == StatusCode::TOO_MANY_REQUESTS,
        })
    }
}

/// What went wrong, and the pause that was asked for after it.
struct Setback {
    why: String,
    wait: Option<Wait>,
}

/// The patience of one fetch, one question, one listing.
pub(super) struct Patience<'a> {
    connections: &'a Connections,
    peace: &'a Peace,
    timeout: Duration,
    deadline: Instant,
    failures: u32,
}

impl<'a> Patience<'a> {
    pub(super) fn new(connections: &'a Connections, peace: &'a Peace, timeout: Duration) -> Self {
        Self {
            connections,
            peace,
            timeout,
            deadline: Instant::now() + timeout,
            failures: 0,
        }
    }

    /// The room that listings share.
    pub(super) fn listings(&self) -> &Arc<Room> {
        self.connections.listings()
    }

    /// Something new came: the deadline begins again.
    pub(super) fn progress(&mut self) {
        self.deadline = Instant::now() + self.timeout;
        self.failures = 0;
    }

    /// How long one answer, or one piece of it, is waited for: a connection that went dead unheard must leave time for
    /// another one, and a server that is slow with everything is given more the second time.
    pub(super) fn limit(&self) -> Duration {
        match self.failures {
            0 => self.timeout / 4,
            _ => self.timeout / 2,
        }
    }

    /// Asks until an answer comes that another request would not better.
    pub(super) async fn ask(&mut self, question: &Question<'_>) -> Result<Reply, RemoteError> {
        loop {
            self.wait_for_peace().await?;
            let left = self.deadline.saturating_duration_since(Instant::now());
            let limit = self.limit().min(left).max(SHORTEST_TRY);
            match self.connections.ask(question, limit).await {
                Ok(Reply::Answer(at, response)) if retry::is_transient(response.status()) => {
                    let status = response.status();
                    let is_own = self.connections.is_own(&at);
                    let wait = Wait::of(status, is_own, response.headers());
                    drain(*response).await;
                    let why = format!("it answers {status}");
                    self.pause_for(Setback { why, wait }).await?;
                }
                Ok(reply) => return Ok(reply),
                Err(Failure::Passing(why)) => self.pause(why).await?,
                Err(Failure::Lasting(error)) => return Err(error),
            }
        }
    }

    /// Waits before the next try, or says that it was the last.
    pub(super) async fn pause(&mut self, why: String) -> Result<(), RemoteError> {
        self.pause_for(Setback { why, wait: None }).await
    }

    async fn pause_for(&mut self, setback: Setback) -> Result<(), RemoteError> {
        self.failures = self.failures.saturating_add(1);
        tracing::debug!(
            "try {} at the remote failed: {}",
            self.failures,
            setback.why
        );
        match setback.wait {
            Some(wait) if wait.is_for_all => {
                self.peace.keep(Instant::now() + wait.lasts, wait.status);
            }
            Some(wait) => self.rest(wait.lasts, wait.status).await?,
            None => {}
        }
        self.wait_for_peace().await?;
        let pause = retry::pause(self.failures, fastrand::f64());
        if Instant::now() + pause >= self.deadline {
            return Err(RemoteError::Unreachable(setback.why));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn wait_for_peace(&self) -> Result<(), RemoteError> {
        while let Some((rest, status)) = self.peace.rest(Instant::now()) {
            self.rest(rest, status).await?;
        }
        Ok(())
    }

    /// Waits as long as it was asked to, or says at once that the deadline comes first.
    async fn rest(&self, rest: Duration, status: StatusCode) -> Result<(), RemoteError> {
        if Instant::now() + rest >= self.deadline {
            let seconds = rest.as_secs_f64().ceil();
            return Err(RemoteError::Unreachable(format!(
                "it answers {status} and asks for no requests for {seconds} s"
            )));
        }
        tokio::time::sleep(rest).await;
        Ok(())
    }
}

fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    retry::retry_after(text(RETRY_AFTER)?, text(DATE))
}
