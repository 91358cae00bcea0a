//! Waiting costs no thread: a thousand reads wait for a slow remote, or for one that never answers, on the real disk
//! pool and the real network.

#![expect(clippy::cast_possible_truncation, reason = "small numbers of reads")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use larder::engine::{
    ChunkPolicy, Clock, Config, ReadError, Reader, Source, SourceSettings, SystemClock,
};
use larder::host::{OpenedCache, RemoteFetcher};
use larder::remote::{BoxFuture, Network, Remote, RemoteError, Sink, SlowRemote, SlowSettings};
use larder::units::{ByteRange, ChunkSize, Facts, FileKind, ObjectName, Timestamp, Validator};

const READS: u64 = 1000;
/// A few threads may come and go meanwhile, those of other tests in this process among them.
const THREADS_MORE: usize = 64;
const BLOB_SIZE: u64 = 1 << 30;
const LEN: u64 = 4096;
/// Of the remote that never answers, and how many of its fetches have room at a time.
const DEADLINE: Duration = Duration::from_millis(500);
const BUDGET: u64 = 20;
/// When a test gives up.
const PATIENCE: Duration = Duration::from_secs(300);

/// A remote whose blobs have numbers for names; it can be told to answer nothing.
struct Numbers {
    silent: AtomicBool,
}

fn facts() -> Facts {
    let time = Timestamp::default();
    Facts {
        kind: FileKind::File,
        size: BLOB_SIZE,
        mtime: time,
        ctime: time,
        perm: 0o644,
        uid: 0,
        gid: 0,
        rdev: 0,
        validator: Some(Validator::Strong(b"1".as_slice().into())),
    }
}

fn content(name: &ObjectName, range: ByteRange) -> Bytes {
    let seed = name
        .as_bytes()
        .iter()
        .fold(7u64, |n, b| n * 31 + u64::from(*b));
    let word = |at: u64| {
        (seed ^ at)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .to_le_bytes()
    };
    (range.start..range.end)
        .map(|at| word(at / 8)[(at % 8) as usize])
        .collect()
}

impl Remote for Numbers {
    fn identity(&self) -> &str {
        "numbers:"
    }

    fn stat<'a>(&'a self, _name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        Box::pin(async { Ok(facts()) })
    }

    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        _bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async move {
            if self.silent.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            sink.version(&facts(), true)?;
            sink.data(content(name, range));
            Ok(())
        })
    }
}

fn threads() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"));
    line.unwrap().trim().parse().unwrap()
}

/// A cache over `remote` with a fetcher that lets every request out at once.
struct World {
    opened: OpenedCache,
    readers: Vec<Reader>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(remote: Arc<dyn Remote>, config: Config, timeout: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let network = Arc::new(Network::new(timeout, 4).unwrap());
        let opened = OpenedCache::open(dir.path(), 256 << 20, config).unwrap();
        let settings = SourceSettings {
            chunks: ChunkPolicy::Fixed(ChunkSize::MIN),
            timeout,
            ..SourceSettings::default()
        };
        let fetcher = RemoteFetcher::new(network, remote, READS as usize);
        let source = Source::new(opened.cache(), "numbers:", "", fetcher, settings);
        let blob = |n: u64| source.blob(&name(n), &facts()).reader();
        Self {
            readers: (0..READS).map(blob).collect(),
            opened,
            _dir: dir,
        }
    }

    /// Starts the reads of these numbers, and returns where the answers come.
    fn read(&self, numbers: &[u64]) -> mpsc::Receiver<(u64, Result<Bytes, ReadError>)> {
        let (answers, answered) = mpsc::channel();
        for &n in numbers {
            let answers = answers.clone();
            let done = move |result| answers.send((n, result)).unwrap();
            self.readers[n as usize].read(range(n), Box::new(done));
        }
        answered
    }

    fn read_all(&self) -> mpsc::Receiver<(u64, Result<Bytes, ReadError>)> {
        self.read(&(0..READS).collect::<Vec<_>>())
    }
}

fn name(n: u64) -> ObjectName {
    ObjectName::new(n.to_string().into_bytes())
}

fn range(n: u64) -> ByteRange {
    ByteRange::at(n * LEN * 17, LEN)
}

fn config() -> Config {
    Config {
        readahead_max: 0,
        ..Config::default()
    }
}

#[test]
fn a_thousand_missing_reads_wait_without_a_thousand_threads() {
    let remote = Arc::new(Numbers {
        silent: AtomicBool::new(false),
    });
    let settings = SlowSettings {
        round_trip: Duration::from_millis(300),
        bytes_per_second: None,
    };
    let slow = Arc::new(SlowRemote::new(remote, settings));
    let world = World::new(
        Arc::clone(&slow) as _,
        config(),
        SourceSettings::default().timeout,
    );
    let before = threads();
    let answers = world.read_all();
    let mut most = threads();
    let mut left = READS;
    while left > 0 {
        match answers.recv_timeout(Duration::from_millis(20)) {
            Ok((n, result)) => {
                assert!(result.unwrap() == content(&name(n), range(n)), "read {n}");
                left -= 1;
            }
            Err(_) => most = most.max(threads()),
        }
        if left.is_multiple_of(100) {
            most = most.max(threads());
        }
    }
    assert_eq!(
        slow.requests(),
        READS,
        "each read was a miss, and one request"
    );
    assert!(
        most <= before + THREADS_MORE,
        "{before} threads became {most}"
    );
}

#[test]
fn a_remote_that_never_answers_costs_the_deadline_and_nothing_afterwards() {
    let remote = Arc::new(Numbers {
        silent: AtomicBool::new(true),
    });
    let config = Config {
        // Most of the fetches wait for room, and never get it.
        fetch_budget: BUDGET * LEN,
        ..config()
    };
    let world = World::new(Arc::clone(&remote) as _, config, DEADLINE);
    let clock = SystemClock::default();
    let before = threads();
    let answers = world.read_all();
    let mut most = 0;
    for _ in 0..READS {
        let (n, result) = answers.recv_timeout(PATIENCE).unwrap();
        assert!(
            matches!(result, Err(ReadError::TimedOut)),
            "read {n}: {result:?}"
        );
        most = most.max(threads());
    }
    let waited = clock.monotonic();
    // Every read was ended by the deadline, its own or the network's; how late that was looked at is the machine's affair.
    assert!(
        waited >= Duration::from_millis(400),
        "{waited:?}: nobody waited"
    );
    assert!(world.opened.cache().stats().reads_timed_out > 0);
    assert!(
        most <= before + THREADS_MORE,
        "{before} threads became {most}"
    );
    assert_eq!(world.opened.cache().stats().remote_bytes, 0);

    // Fetches that were let out late, while their readers still waited, have a deadline of their own.
    std::thread::sleep(2 * DEADLINE);
    remote.silent.store(false, Ordering::Relaxed);
    // Had any fetch kept its share of the budget, a batch of this size would wait for it until its deadline: never is all
    // of one read. On a busy machine the deadline may be over before that: then what is left is read once more.
    let numbers: Vec<u64> = (0..READS).collect();
    for batch in numbers.chunks(BUDGET as usize) {
        let mut left = batch.to_vec();
        for _ in 0..100 {
            let answers = world.read(&left);
            let mut late = Vec::new();
            for _ in &left {
                match answers.recv_timeout(PATIENCE).unwrap() {
                    (n, Ok(bytes)) => assert!(bytes == content(&name(n), range(n)), "read {n}"),
                    (n, Err(ReadError::TimedOut)) => late.push(n),
                    (n, Err(error)) => panic!("read {n}: {error}"),
                }
            }
            left = late;
            if left.is_empty() {
                break;
            }
        }
        assert!(left.is_empty(), "never read: {left:?}");
    }
}
