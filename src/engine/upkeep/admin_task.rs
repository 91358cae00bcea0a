//! Work that a user has asked for and waits for: it runs in the disk pool, and the user gets an answer in time whatever
//! becomes of it. What was begun goes on after the answer.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::services::Services;
use crate::runtime::executor::{Job, Lane};

/// How long a user waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Called with what came of an admin task, or with `None` where that takes too long.
type Done<T> = Box<dyn FnOnce(Option<T>) + Send>;

/// A user who waits, until the answer is given.
struct Waiting<T>(Mutex<Option<Done<T>>>);

/// A caller that can be told that it takes too long.
trait Impatient: Send + Sync {
    fn give_up(&self);
}

impl<T: Send> Impatient for Waiting<T> {
    fn give_up(&self) {
        let done = self.0.lock().take();
        if let Some(done) = done {
            done(None);
        }
    }
}

/// The users who wait, and since when.
pub(crate) struct AdminTasks {
    services: Arc<Services>,
    waiting: Mutex<Vec<(Duration, Weak<dyn Impatient>)>>,
}

impl AdminTasks {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        Self {
            services,
            waiting: Mutex::default(),
        }
    }

    /// Runs `work` in the disk pool, behind the writes that wait there, and hands what comes of it to `done`; `None`
    /// where that takes too long. Where the pool takes no more work, `done` is dropped.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Option<T>) + Send + 'static,
    ) {
        let tell = self.in_time(done);
        let job: Job = Box::new(move || tell(work()));
        drop(self.services.submit(Lane::Write, job));
    }

    /// What hands a value to `done`, which gets `None` where that has not happened in time.
    pub(crate) fn in_time<T: Send + 'static>(
        &self,
        done: impl FnOnce(Option<T>) + Send + 'static,
    ) -> impl FnOnce(T) + Send + 'static {
        let waiting = Arc::new(Waiting::<T>(Mutex::new(Some(Box::new(done)))));
        let now = self.services.now();
        let weak: Weak<Waiting<T>> = Arc::downgrade(&waiting);
        self.waiting.lock().push((now, weak));
        move |value| {
            let done = waiting.0.lock().take();
            if let Some(done) = done {
                done(Some(value));
            }
        }
    }

    /// Answers those who have waited too long.
    pub(crate) fn look(&self, now: Duration) {
        let mut late = Vec::new();
        self.waiting
            .lock()
            .retain(|(since, waiting)| match waiting.upgrade() {
                Some(waiting) if now.saturating_sub(*since) >= PATIENCE => {
                    late.push(waiting);
                    false
                }
                waiting => waiting.is_some(),
            });
        late.iter().for_each(|waiting| waiting.give_up());
    }
}
