//! The disk pool: whatever may wait for the cache disk runs here.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::sync::Mutex;

/// One piece of disk work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Reads do not queue behind writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// A reader waits for it.
    Read,
    /// Nobody waits for it: it may be refused when there is too much of it.
    Write,
}

/// Where disk work runs.
pub trait Executor: Send + Sync + 'static {
    /// Runs the job soon. Gives it back where the lane is full.
    fn submit(&self, lane: Lane, job: Job) -> Result<(), Job>;

    /// Whether jobs of [`Lane::Read`] wait for a thread: then work that nobody waits for is to wait as well.
    fn has_waiting_reads(&self) -> bool {
        false
    }
}

/// Threads for disk work.
pub struct DiskPool {
    lanes: Mutex<Option<(Sender<Job>, Sender<Job>)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

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
        let mut threads = Vec::new();
        for (count, queue, name) in [
            (readers, read_rx, "larder-read"),
            (writers, write_rx, "larder-write"),
        ] {
            for _ in 0..count {
                let queue: Receiver<Job> = queue.clone();
                let run = move || queue.iter().for_each(run_one);
                threads.push(std::thread::Builder::new().name(name.into()).spawn(run)?);
            }
        }
        Ok(Self {
            lanes: Mutex::new(Some((read_tx, write_tx))),
            threads: Mutex::new(threads),
        })
    }

    /// Lets the queued jobs finish and ends the threads.
    pub fn shut_down(&self) {
        self.lanes.lock().take();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }
}

/// A job that panics must not take its thread with it: its readers are answered by the job's own drop guards.
fn run_one(job: Job) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
        tracing::error!("a disk job panicked: this is a bug in larder");
    }
}

impl Executor for DiskPool {
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
