//! Asking again: pauses, a deadline without progress, and what the server asks for.
//!
//! Invariants: no object is asked for before the time that the server named for it; one request's trouble, or another
//! server's, holds up no other request; a request does not wait for what cannot come before its deadline.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use tokio::time::Instant;

use super::client::{Connections, Failure, Question, Reply, drain};
use super::pacer::{self, Pacer};
use super::retry;
use crate::remote::api::{RemoteError, Room};

/// The last try before a deadline is given at least this long.
const SHORTEST_TRY: Duration = Duration::from_millis(100);

/// The pause that an answer asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wait {
    lasts: Duration,
    status: StatusCode,
}

impl Wait {
    fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let lasts = retry::retry_after(text(RETRY_AFTER)?, text(DATE))?;
        Some(Self { lasts, status })
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
    pacer: &'a Pacer,
    timeout: Duration,
    deadline: Instant,
    failures: u32,
}

impl<'a> Patience<'a> {
    pub(super) fn new(connections: &'a Connections, pacer: &'a Pacer, timeout: Duration) -> Self {
        Self {
            connections,
            pacer,
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
            let asked = self.pacer.turn(question.url, self.deadline).await?;
            let left = self.deadline.saturating_duration_since(Instant::now());
            let limit = self.limit().min(left).max(SHORTEST_TRY);
            match self.connections.ask(question, limit).await {
                Ok(Reply::Answer(at, response)) if retry::is_transient(response.status()) => {
                    let status = response.status();
                    let wait = Wait::of(status, response.headers());
                    self.note(question, &at, (asked, status), wait);
                    drain(*response).await;
                    let why = format!("the server answered {status}");
                    self.pause_for(Setback { why, wait }).await?;
                }
                Ok(reply) => {
                    self.pacer.answered(asked);
                    return Ok(reply);
                }
                Err(Failure::Passing(why)) => self.pause(why).await?,
                Err(Failure::Lasting(error)) => return Err(error),
            }
        }
    }

    /// What an answer 429 from `at` means for others than this request. 503 means none: it may be the trouble of one object,
    /// and one that passes any moment. A server that a redirect led to does not speak for the one that is mounted.
    fn note(
        &self,
        question: &Question<'_>,
        at: &Url,
        (asked, status): (Instant, StatusCode),
        wait: Option<Wait>,
    ) {
        if status != StatusCode::TOO_MANY_REQUESTS {
            return;
        }
        if self.connections.is_own(at) {
            self.pacer.refused(asked);
        }
        if let Some(wait) = wait {
            self.pacer.told(question.url, wait.lasts, status);
        }
    }

    /// Waits before the next try, or says that it was the last.
    pub(super) async fn pause(&mut self, why: String) -> Result<(), RemoteError> {
        self.pause_for(Setback { why, wait: None }).await
    }

    async fn pause_for(&mut self, setback: Setback) -> Result<(), RemoteError> {
        self.failures = self.failures.saturating_add(1);
        tracing::debug!(
            "attempt {} to reach the remote failed: {}",
            self.failures,
            setback.why
        );
        if let Some(wait) = setback.wait {
            pacer::wait(wait.lasts, wait.status, self.deadline).await?;
        }
        let pause = retry::pause(self.failures, fastrand::f64());
        if Instant::now() + pause >= self.deadline {
            return Err(RemoteError::Unreachable(setback.why));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
