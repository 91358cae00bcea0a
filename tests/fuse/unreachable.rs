//! A remote that cannot be asked, refuses, or has no such thing: three different answers.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::remote::{BoxFuture, Pages, Remote, RemoteError, Sink};
use larder::units::{ByteRange, Facts, ObjectName, Validator};
use larder::vfs::MetadataTtl;
use parking_lot::Mutex;

use super::cli::rig::{PATIENCE, wait_until};
use super::mounted::{Stage, Wish, content};

/// A remote that fails as it is told.
pub(crate) struct Failing {
    pub(crate) inner: Arc<dyn Remote>,
    pub(crate) with: Arc<Mutex<Option<RemoteError>>>,
    pub(crate) questions: Arc<AtomicU64>,
}

impl Failing {
    fn now(&self) -> Result<(), RemoteError> {
        self.with.lock().clone().map_or(Ok(()), Err)
    }

    /// Counts a question. Where the remote gives no answer, the first one that is counted waits for a while, and any other
    /// one until it answers again: so the count tells who asked, and not how slow the machine is.
    async fn asked(&self) -> Result<(), RemoteError> {
        let before = self.questions.fetch_add(1, Ordering::Relaxed);
        let is_silent = || matches!(self.now(), Err(RemoteError::TimedOut));
        if before == 0 && is_silent() {
            tokio::time::sleep(Duration::from_millis(700)).await;
            return Err(RemoteError::TimedOut);
        }
        while is_silent() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.now()
    }
}

impl Remote for Failing {
    fn identity(&self) -> &str {
        self.inner.identity()
    }
    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        Box::pin(async move {
            self.asked().await?;
            self.inner.stat(name).await
        })
    }
    fn list<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Box<dyn Pages>, RemoteError>> {
        Box::pin(async move {
            self.asked().await?;
            self.inner.list(name).await
        })
    }
    fn read_link<'a>(
        &'a self,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<Vec<u8>, RemoteError>> {
        Box::pin(async move {
            self.now()?;
            self.inner.read_link(name).await
        })
    }
    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async move {
            self.now()?;
            self.inner.fetch(name, range, bound, sink).await
        })
    }
}

#[test]
fn what_is_cached_stays_and_the_rest_is_an_error_of_its_own() {
    let stage = Stage::new();
    let bytes = content(1, 200_000);
    for name in ["cached", "other"] {
        fs::write(stage.origin(name), &bytes).unwrap();
    }
    std::os::unix::fs::symlink("cached", stage.origin("link")).unwrap();
    let with = Arc::new(Mutex::new(None));
    let told = Arc::clone(&with);
    let mounted = stage.mount(Wish {
        ttl: MetadataTtl::Minimal,
        wrap: Box::new(move |inner| {
            Arc::new(Failing {
                inner,
                with: told,
                questions: Arc::default(),
            })
        }),
        ..Wish::default()
    });
    let held = fs::File::open(mounted.path("other")).unwrap();
    assert!(fs::read(mounted.path("cached")).unwrap() == bytes);
    assert!(fs::read(mounted.path("link")).unwrap() == bytes);
    let code = |result: io::Result<Vec<u8>>| result.unwrap_err().raw_os_error();

    *with.lock() = Some(RemoteError::Unreachable("a cable was pulled".into()));
    for _ in 0..2 {
        assert!(fs::read(mounted.path("cached")).unwrap() == bytes);
        assert!(fs::read(mounted.path("link")).unwrap() == bytes);
        assert_eq!(fs::metadata(mounted.path("other")).unwrap().len(), 200_000);
        assert_eq!(code(fs::read(mounted.path("other"))), Some(libc::EIO));
        assert_eq!(code(fs::read(mounted.path("unseen"))), Some(libc::EIO));
    }
    *with.lock() = Some(RemoteError::Forbidden);
    assert_eq!(code(fs::read(mounted.path("cached"))), Some(libc::EACCES));
    assert_eq!(code(fs::read(mounted.path("unseen"))), Some(libc::EACCES));
    *with.lock() = Some(RemoteError::NotFound);
    assert_eq!(code(fs::read(mounted.path("cached"))), Some(libc::ENOENT));
    *with.lock() = None;
    assert!(fs::read(mounted.path("cached")).unwrap() == bytes);
    assert!(fs::read(mounted.path("other")).unwrap() == bytes);
    drop(held);
}

/// Who can be served from what is known waits once for a remote that gives no answer, and not again and again.
#[test]
fn a_silent_remote_is_waited_for_once() {
    let stage = Stage::new();
    let bytes = content(2, 100_000);
    let names: Vec<String> = (0..20).map(|n| format!("file-{n}")).collect();
    for name in &names {
        fs::write(stage.origin(name), &bytes).unwrap();
    }
    let (with, questions) = (Arc::new(Mutex::new(None)), Arc::new(AtomicU64::new(0)));
    let (told, counted) = (Arc::clone(&with), Arc::clone(&questions));
    let mounted = stage.mount(Wish {
        ttl: MetadataTtl::Minimal,
        timeout: PATIENCE,
        wrap: Box::new(move |inner| {
            Arc::new(Failing {
                inner,
                with: told,
                questions: counted,
            })
        }),
        ..Wish::default()
    });
    let all_right = || {
        names
            .iter()
            .all(|name| fs::read(mounted.path(name)).unwrap() == bytes)
    };
    assert!(all_right());
    let asked_well = questions.swap(0, Ordering::Relaxed);
    assert!(asked_well >= 20, "every open asks: {asked_well}");
    *with.lock() = Some(RemoteError::TimedOut);
    assert!(all_right(), "what is cached stays readable");
    let asked = questions.swap(0, Ordering::Relaxed);
    // One that was waited for, and one in the background, to hear when the remote is back.
    assert!((1..=2).contains(&asked), "{asked} questions into silence");
    *with.lock() = None;
    fs::write(stage.origin("new"), &bytes).unwrap();
    wait_until("the remote is asked again", || {
        all_right() && questions.swap(0, Ordering::Relaxed) >= 20
    });
    assert!(fs::read(mounted.path("new")).unwrap() == bytes);
}
