//! A cache over fault origins: what is opened, read and judged in `faults`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use larder::engine::{Blob, BlobInfo, Config, Opening, ReadError, Source, SourceSettings};
use larder::host::OpenedCache;
use larder::remote::{
    Credentials, HttpMemory, HttpRemote, HttpSettings, Remote, RemoteError, list_whole,
};
use larder::testing::origin::{Judge, Method, Origin};
use larder::units::{ByteRange, Facts, FileKind, ObjectName};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long after its deadline a read that has no answer yet is taken for one that never gets any. It is no measure of what
/// is quick enough: a machine may have much else to do.
pub(crate) const SLACK: Duration = Duration::from_secs(120);
/// What one read asks for at most.
const PIECE: u64 = 1 << 20;

/// The runtime that origins and readers share.
pub(crate) fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// A cache directory at work.
pub(crate) struct Rig {
    pub(crate) opened: OpenedCache,
    timeout: Duration,
    mounts: AtomicU64,
    _dir: tempfile::TempDir,
}

impl Rig {
    /// A cache whose mounts wait so long for their origins.
    pub(crate) fn new(config: Config, timeout: Duration) -> Self {
        Self::with_capacity(config, timeout, 512 << 20)
    }

    pub(crate) fn with_capacity(config: Config, timeout: Duration, capacity: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            opened: OpenedCache::open(dir.path(), capacity, config).unwrap(),
            timeout,
            mounts: AtomicU64::new(0),
            _dir: dir,
        }
    }

    /// Attaches the origin; `wrap` may put something between.
    pub(crate) fn mount(
        self: &Arc<Self>,
        origin: Origin,
        wrap: impl FnOnce(Arc<dyn Remote>) -> Arc<dyn Remote>,
    ) -> Arc<Mount> {
        self.mount_as(origin, None, wrap)
    }

    /// The same for somebody.
    pub(crate) fn mount_as(
        self: &Arc<Self>,
        origin: Origin,
        credentials: Option<Credentials>,
        wrap: impl FnOnce(Arc<dyn Remote>) -> Arc<dyn Remote>,
    ) -> Arc<Mount> {
        let settings = HttpSettings {
            headers: Vec::new(),
            credentials,
            ca_file: None,
            timeout: self.timeout,
            uid: 0,
            gid: 0,
            memory: HttpMemory::default(),
        };
        let url = reqwest::Url::parse(&origin.url()).unwrap();
        let remote = wrap(Arc::new(HttpRemote::new(&url, settings).unwrap()));
        // Ports come again; what one origin held is not another's.
        let salt = self.mounts.fetch_add(1, Ordering::Relaxed).to_string();
        let settings = SourceSettings {
            timeout: self.timeout,
            ..SourceSettings::default()
        };
        let source = self.opened.attach(Arc::clone(&remote), &salt, settings);
        Arc::new(Mount {
            rig: Arc::clone(self),
            origin,
            remote,
            source,
        })
    }
}

/// One origin, attached.
pub(crate) struct Mount {
    rig: Arc<Rig>,
    pub(crate) origin: Origin,
    remote: Arc<dyn Remote>,
    source: Arc<Source>,
}

/// One blob and its judge.
#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) name: String,
    pub(crate) blob: Arc<Blob>,
    judge: Arc<Mutex<Judge>>,
    limit: Duration,
}

impl Mount {
    /// What the remote says of an object, with the deadline that the daemon sets.
    pub(crate) async fn facts(&self, name: &str) -> Result<Facts, RemoteError> {
        let name = ObjectName::new(name.as_bytes());
        let asked = tokio::time::timeout(self.rig.timeout, self.remote.stat(&name)).await;
        asked.unwrap_or(Err(RemoteError::TimedOut))
    }

    /// What the listing of the root says of an object.
    pub(crate) async fn listed(&self, name: &str) -> Result<Facts, RemoteError> {
        let root = ObjectName::root();
        let asked = tokio::time::timeout(self.rig.timeout, list_whole(&*self.remote, &root)).await;
        let rows = asked.unwrap_or(Err(RemoteError::TimedOut))?;
        let row = rows.iter().find(|row| &*row.name == name.as_bytes());
        let facts = row.and_then(|row| row.listed.facts()).cloned();
        facts.ok_or(RemoteError::NotFound)
    }

    /// A fresh blob of these facts; `strict` where the client can know where the object ends.
    pub(crate) fn open(&self, name: &str, facts: &Facts, strict: bool) -> Option<Open> {
        if facts.kind != FileKind::File {
            return None;
        }
        let judge = self.origin.judge(name);
        Some(Open {
            name: name.to_owned(),
            blob: self.source.blob(&ObjectName::new(name.as_bytes()), facts),
            judge: Arc::new(Mutex::new(if strict {
                judge
            } else {
                judge.believing_sizes()
            })),
            limit: self.rig.timeout + SLACK,
        })
    }

    /// Opens an object that was shown with these facts, as the file system does: where its first fetch finds another
    /// version, that one is opened.
    pub(crate) async fn open_shown(&self, name: &str, facts: &Facts) -> Result<Open, String> {
        let mut open = self.open(name, facts, true).ok_or("it is no file")?;
        loop {
            let (answer, answered) = oneshot::channel();
            open.blob.open(move |came| drop(answer.send(came)));
            let came = tokio::time::timeout(open.limit, answered).await;
            let came = came.map_err(|_| format!("an open of {name} got no answer"))?;
            let next = match came.map_err(|_| format!("an open of {name} was forgotten"))? {
                Opening::Unasked | Opening::Fetched(_) => return Ok(open),
                Opening::Changed(Some(head)) => {
                    let blob = self
                        .source
                        .blob_from(&ObjectName::new(name.as_bytes()), head);
                    Open { blob, ..open }
                }
                Opening::Changed(None) => {
                    let facts = self.facts(name).await.map_err(|e| e.to_string())?;
                    self.open(name, &facts, true).ok_or("it is no file")?
                }
                Opening::Failed(error) => return Err(error.to_string()),
            };
            open = next;
        }
    }

    /// Reads all of an object, as soon as the calm origin lets it be read, through `open` as long as that may serve.
    /// `may_reopen` says whether the blob may be lost for what it went through. Errors with a sentence.
    pub(crate) async fn recovers(
        &self,
        open: Option<Open>,
        name: &str,
        may_reopen: bool,
    ) -> Result<(), String> {
        let began = Instant::now();
        let mut open = open;
        let mut fresh = false;
        let mut failures = Vec::new();
        while began.elapsed() < self.rig.timeout * 3 + 4 * SLACK {
            let now = match open.take() {
                Some(open) => open,
                None => match self.facts(name).await {
                    Ok(facts) => {
                        fresh = true;
                        let open = self.open(name, &facts, true);
                        open.ok_or_else(|| format!("{name} is no file any more: {facts:?}"))?
                    }
                    Err(error) => {
                        failures.push(format!("stat: {error}"));
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                },
            };
            match now.read_all().await? {
                Ok(()) if fresh => return self.is_current(&now),
                Ok(()) => return Ok(()),
                Err(error) => failures.push(error.to_string()),
            }
            let lost = now.blob.is_superseded();
            if lost && !fresh && !may_reopen {
                return Err(format!("the blob of {name} was given up: {failures:?}"));
            }
            open = (!lost).then_some(now);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = began.elapsed();
        Err(format!(
            "{name} is not readable {took:?} after all faults ended: {failures:?}"
        ))
    }

    /// Whether what a fresh blob read is what the origin holds now, as far as anybody can tell.
    fn is_current(&self, open: &Open) -> Result<(), String> {
        let versions = self.origin.versions(&open.name);
        let object = &versions[versions.len() - 1].object;
        let told = object.tells_modified || versions[0].etag().is_some();
        match open.judge.lock().candidates() {
            Some(found) if told && !found.contains(&(versions.len() - 1)) => Err(format!(
                "a fresh open of {} brought versions {found:?}, and the origin holds number {}",
                open.name,
                versions.len() - 1
            )),
            _ => Ok(()),
        }
    }

    /// How many requests met a fault, by the fault's name.
    pub(crate) fn met(&self) -> Vec<String> {
        let log = self.origin.log();
        let met = log.iter().filter_map(|logged| logged.fault.as_ref());
        met.map(kind).collect()
    }

    /// The end of the log, for whoever looks for the reason of a failure.
    pub(crate) fn last_requests(&self, name: &str) -> String {
        let log = self.origin.log();
        let of_name = log.iter().filter(|l| l.name == name || l.name.is_empty());
        let last: Vec<_> = of_name.rev().take(25).collect();
        let line = |l: &&larder::testing::origin::Logged| {
            let method = if l.method == Method::Get {
                "GET"
            } else {
                "HEAD"
            };
            let range = l.range.as_deref().unwrap_or("-");
            let (status, bytes) = (l.status, l.body_bytes);
            format!(
                "\n  {method} {range}: {status}, {bytes} bytes, fault {:?}",
                l.fault
            )
        };
        last.iter().rev().map(line).collect()
    }
}

/// The name of a fault without its numbers.
pub(crate) fn kind(fault: &larder::testing::origin::Fault) -> String {
    let text = format!("{fault:?}");
    let end = text.find([' ', '{']).unwrap_or(text.len());
    text[..end].to_owned()
}

impl Open {
    /// Reads a range and has the answer judged. The outer error is a broken promise, the inner one an honest error.
    pub(crate) async fn read(&self, range: ByteRange) -> Result<Result<Bytes, ReadError>, String> {
        let (answer, answered) = oneshot::channel();
        let began = Instant::now();
        let done = move |result| {
            // Whoever asked may have given up.
            let _ = answer.send(result);
        };
        self.blob.reader().read(range, Box::new(done));
        let result = match tokio::time::timeout(self.limit, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => return Err(format!("a read of {range} of {} was forgotten", self.name)),
            Err(_) => {
                let waited = began.elapsed();
                return Err(format!(
                    "a read of {range} of {} got no answer in {waited:?}",
                    self.name
                ));
            }
        };
        if let Ok(bytes) = &result {
            self.judge.lock().accept(range, bytes)?;
        }
        Ok(result)
    }

    /// What the cache holds of the version that is served.
    pub(crate) async fn cached_bytes(&self) -> u64 {
        let (answer, answered) = oneshot::channel();
        let done = move |info: BlobInfo| {
            // Whoever asked waits for the answer below.
            let _ = answer.send(info.cached_bytes);
        };
        self.blob.describe(Box::new(done));
        answered.await.unwrap()
    }

    /// Reads everything, up to what is the end for this blob.
    pub(crate) async fn read_all(&self) -> Result<Result<(), ReadError>, String> {
        let mut at = 0;
        loop {
            let bytes = match self.read(ByteRange::at(at, PIECE)).await? {
                Ok(bytes) => bytes,
                Err(error) => return Ok(Err(error)),
            };
            at += bytes.len() as u64;
            if (bytes.len() as u64) < PIECE {
                return Ok(Ok(()));
            }
        }
    }
}
