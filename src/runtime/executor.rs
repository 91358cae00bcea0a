//! The disk pool: whatever may wait for the cache disk runs here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::runtime::locks::Mutex;

use crate::runtime::pending_ops::PendingOps;

/// One piece of disk work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Reads do not queue behind writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// A reader waits for it.
    Read,
    /// No reader waits for it: it may be refused when there is too much of it.
    Write,
}

/// Where disk work runs.
pub trait Executor: Send + Sync + 'static {
    /// Runs the job soon. Gives it back where the lane is full.
    fn submit(&self, lane: Lane, job: Job) -> Result<(), Job>;

    /// Whether jobs of [`Lane::Read`] wait for a thread: then work that no reader waits for is to wait as well.
    fn has_waiting_reads(&self) -> bool {
        false
    }

    /// Takes jobs that have been running for `patience` to hang, and sees to it that others run meanwhile. To be called
    /// now and then.
    fn relieve(&self, now: Duration, patience: Duration) {
        let _ = (now, patience);
    }
}

/// Threads for disk work. Where some of them hang, others take their place for as long as that lasts.
pub struct DiskPool {
    lanes: Mutex<Option<(Sender<Job>, Sender<Job>)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    crews: [Arc<Crew>; 2],
}

/// The threads of one lane.
struct Crew {
    name: &'static str,
    queue: Receiver<Job>,
    /// How many are to work.
    wanted: usize,
    /// How many there are, those that hang included.
    threads: AtomicUsize,
    /// How many hang.
    hung: AtomicUsize,
    jobs: PendingOps,
}

/// At most so many threads of one lane for each that is wanted: a disk that lets go only now and then must not eat up
/// the machine.
const RELIEF_MAX: usize = 4;

/// Threads that read from the cache disk, and that write to it.
const READERS: usize = 4;
const WRITERS: usize = 2;
/// Writes that may wait. What bounds them first is the memory of the fetches that they come from.
const QUEUED_WRITES: usize = 65_536;

impl DiskPool {
    /// A pool of the size that suits one cache disk.
    pub fn for_one_disk() -> std::io::Result<Self> {
        Self::new(READERS, WRITERS, QUEUED_WRITES)
    }

    /// A pool of this many threads for each lane; at most `queued_writes` jobs wait in the lane for writes.
    pub fn new(readers: usize, writers: usize, queued_writes: usize) -> std::io::Result<Self> {
        let (read_tx, read_rx) = unbounded();
        let (write_tx, write_rx) = bounded(queued_writes);
        let pool = Self {
            lanes: Mutex::new(Some((read_tx, write_tx))),
            threads: Mutex::default(),
            crews: [
                Crew::new("larder-read", read_rx, readers),
                Crew::new("larder-write", write_rx, writers),
            ],
        };
        for crew in &pool.crews {
            for _ in 0..crew.wanted {
                pool.hire(crew)?;
            }
        }
        Ok(pool)
    }

    fn hire(&self, crew: &Arc<Crew>) -> std::io::Result<()> {
        let worker = Arc::clone(crew);
        let run = move || worker.work();
        let thread = std::thread::Builder::new().name(crew.name.into());
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread.spawn(run)?);
        crew.threads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Lets the queued jobs finish and ends the threads.
    pub fn shut_down(&self) {
        self.lanes.lock().take();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Crew {
    fn new(name: &'static str, queue: Receiver<Job>, wanted: usize) -> Arc<Self> {
        Arc::new(Self {
            name,
            queue,
            wanted,
            threads: AtomicUsize::new(0),
            hung: AtomicUsize::new(0),
            jobs: PendingOps::default(),
        })
    }

    /// Runs jobs until the pool is shut down, or there are threads enough without this one.
    fn work(&self) {
        for job in &self.queue {
            let under_way = self.jobs.begin();
            run_one(job);
            drop(under_way);
            if self.is_too_many() {
                return;
            }
        }
    }

    /// Whether one thread more works than is wanted; it is not counted any more then.
    fn is_too_many(&self) -> bool {
        let hung = self.hung.load(Ordering::Relaxed);
        let most = self.wanted + hung;
        let one_less = |n: usize| (n > most).then(|| n - 1);
        let count = &self.threads;
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }

    /// How many threads are to be hired, so that as many work as are wanted.
    fn missing(&self, now: Duration, patience: Duration) -> usize {
        let look = self.jobs.look(now, patience);
        let (stuck, back) = [look.stuck, look.back]
            .map(|n| usize::try_from(n).unwrap_or_default())
            .into();
        let hung = (self.hung.load(Ordering::Relaxed) + stuck).saturating_sub(back);
        self.hung.store(hung, Ordering::Relaxed);
        let threads = self.threads.load(Ordering::Relaxed);
        let most = (self.wanted + hung).min(self.wanted * RELIEF_MAX);
        most.saturating_sub(threads)
    }
}

/// A job that panics must not take its thread with it: its readers are answered by the job's own drop guards.
fn run_one(job: Job) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
        tracing::error!("a disk job panicked: this is a bug in larder");
    }
}

impl Executor for DiskPool {
    fn relieve(&self, now: Duration, patience: Duration) {
        for crew in &self.crews {
            for _ in 0..crew.missing(now, patience) {
                if self.lanes.lock().is_none() {
                    return;
                }
                if let Err(error) = self.hire(crew) {
                    tracing::debug!("cannot start a thread to replace one that hangs: {error}");
                    return;
                }
            }
        }
    }

    fn has_waiting_reads(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.as_ref().is_some_and(|(read, _)| !read.is_empty())
    }

    fn submit(&self, lane: Lane, job: Job) -> Result<(), Job> {
        let lanes = self.lanes.lock();
        match (&*lanes, lane) {
            (None, _) => Err(job),
            (Some((read, _)), Lane::Read) => read.try_send(job).map_err(|e| e.into_inner()),
            (Some((_, write)), Lane::Write) => write.try_send(job).map_err(|e| e.into_inner()),
        }
    }
}
