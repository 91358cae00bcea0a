//! Questions to the remote about names: asked, or spared while the remote is silent; failures are logged.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::silence::{Change, Course, Silence};
use crate::engine::{Clock, LogLimiter};
use crate::remote::{Network, Remote, RemoteError};
use crate::units::{Facts, ObjectName};
use crate::vfs::errno;
use crate::vfs::guard::guarded;

/// The remote of one mount, as questions are put to it.
pub(in crate::vfs) struct Questions {
    remote: Arc<dyn Remote>,
    network: Arc<Network>,
    clock: Arc<dyn Clock>,
    silence: Silence,
    trouble: LogLimiter,
}

impl Questions {
    pub(in crate::vfs) fn new(
        remote: Arc<dyn Remote>,
        network: Arc<Network>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            remote,
            network,
            clock,
            silence: Silence::default(),
            trouble: LogLimiter::default(),
        }
    }

    /// The moment, on the monotonic clock.
    pub(in crate::vfs) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Puts a question to the remote whose failure is not logged, and says nothing of whether the remote is silent.
    pub(in crate::vfs) fn ask_quietly<T, F>(
        &self,
        question: impl FnOnce(Arc<dyn Remote>) -> F,
        done: impl FnOnce(Result<T, RemoteError>) + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<T, RemoteError>> + Send + 'static,
    {
        self.network
            .ask(question(Arc::clone(&self.remote)), move |answer| {
                guarded("an answer of the remote", || done(answer));
            });
    }

    /// Asks the remote for an object's facts; the answer comes with the moment when it was asked for. `known`: an old
    /// answer would do, where there is no new one to be had.
    pub(in crate::vfs) fn ask_facts(
        self: &Arc<Self>,
        name: ObjectName,
        known: bool,
        done: impl FnOnce(Result<Facts, RemoteError>, Duration) + Send + 'static,
    ) {
        let about = name.clone();
        let question = |remote: Arc<dyn Remote>| async move { remote.stat(&name).await };
        self.ask(about, known, question, done);
    }

    /// Puts a question to the remote.
    pub(in crate::vfs) fn ask<T, F>(
        self: &Arc<Self>,
        about: ObjectName,
        known: bool,
        question: impl FnOnce(Arc<dyn Remote>) -> F,
        done: impl FnOnce(Result<T, RemoteError>, Duration) + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<T, RemoteError>> + Send + 'static,
    {
        let (questions, asked) = (Arc::clone(self), self.now());
        let course = self.silence.course(known, asked);
        let mut waiting = Some(done);
        if course != Course::Ask
            && let Some(done) = waiting.take()
        {
            let why = "the remote did not answer a moment ago".to_owned();
            done(Err(RemoteError::Unreachable(why)), asked);
        }
        if course == Course::Spare {
            return;
        }
        let question = question(Arc::clone(&self.remote));
        self.network.ask(question, move |answer| {
            guarded("an answer of the remote", || {
                questions.note_answer(&about, answer.as_ref().err(), asked);
                if let Some(done) = waiting {
                    done(answer, asked);
                }
            });
        });
    }

    fn note_answer(&self, about: &ObjectName, error: Option<&RemoteError>, asked: Duration) {
        let lost = matches!(
            error,
            Some(RemoteError::Unreachable(_) | RemoteError::TimedOut)
        );
        match self.silence.note(!lost, asked, self.now()) {
            Change::None => {}
            Change::Silent => tracing::warn!(
                "the remote does not answer: larder answers from what it already knows until the remote is back"
            ),
            Change::Back => tracing::info!("the remote answers again"),
        }
        if let Some(error) = error.filter(|error| errno::says_nothing(error)) {
            self.tell_trouble(&format_args!("cannot get information about {about}"), error);
        }
    }

    /// Puts into the log, once a second at most, why a program is told no more than "Input/output error".
    pub(in crate::vfs) fn tell_trouble(&self, what: &dyn Display, error: &dyn Display) {
        match self.trouble.tell(self.now()) {
            None => {}
            Some(0) => tracing::warn!("{what}: {error}"),
            Some(untold) => {
                tracing::warn!("{what}: {error} ({untold} failures before it were not logged)");
            }
        }
    }
}
