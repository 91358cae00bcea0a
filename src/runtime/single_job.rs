//! A job for the disk pool of which at most one is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::executor::{Executor, Job, Lane};

/// Whether the job is under way.
#[derive(Default)]
pub(crate) struct SingleJob(Arc<AtomicBool>);

/// The job, until it ends, whichever way: done, refused by the pool, or by a panic.
struct UnderWay(Arc<AtomicBool>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl SingleJob {
    /// Hands `work` to the disk pool, unless it is under way already. A pool that takes no more work drops it.
    pub(crate) fn submit(
        &self,
        executor: &dyn Executor,
        lane: Lane,
        work: impl FnOnce() + Send + 'static,
    ) {
        if self.0.swap(true, Ordering::AcqRel) {
            return;
        }
        let under_way = UnderWay(Arc::clone(&self.0));
        let job: Job = Box::new(move || {
            work();
            drop(under_way);
        });
        drop(executor.submit(lane, job));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps jobs until they are asked for.
    #[derive(Default)]
    struct Later(Mutex<Vec<Job>>, AtomicBool);

    impl Executor for Later {
        fn submit(&self, _: Lane, job: Job) -> Result<(), Job> {
            if self.1.load(Ordering::Relaxed) {
                return Err(job);
            }
            self.0.lock().unwrap().push(job);
            Ok(())
        }
    }

    #[test]
    fn one_is_under_way_until_it_ends_or_is_refused() {
        let (pool, single) = (Later::default(), SingleJob::default());
        let waiting = || pool.0.lock().unwrap().len();
        single.submit(&pool, Lane::Write, || {});
        single.submit(&pool, Lane::Write, || {});
        assert_eq!(waiting(), 1);
        let job = pool.0.lock().unwrap().pop().unwrap();
        job();
        pool.1.store(true, Ordering::Relaxed);
        single.submit(&pool, Lane::Write, || {});
        pool.1.store(false, Ordering::Relaxed);
        single.submit(&pool, Lane::Write, || {});
        assert_eq!(waiting(), 1, "a refused job is not under way");
    }
}
