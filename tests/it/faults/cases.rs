//! Single cases: what one lie, one stall, one redirect does, and that a careless client is caught.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder::engine::ReadError;
use larder::remote::{BoxFuture, Credentials, Remote, RemoteError, Sink};
use larder::testing::origin::{Fault, LengthLie, Method, Object, Origin, Settings, When};
use larder::units::{ByteRange, Facts, ObjectName, Validator};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::rig::{Rig, runtime};
use super::{SIZES, config};

/// Nothing here has to wait for a deadline, and a busy machine must not meet one.
const PATIENT: Duration = Duration::from_secs(300);

/// A remote that looks at no version: whatever it is given it calls the first one that it saw.
struct Careless {
    inner: Arc<dyn Remote>,
    first: Mutex<HashMap<ObjectName, Facts>>,
}

/// Passes the bytes on under another version's name.
struct Relabelled<'a>(&'a mut dyn Sink, Facts);

impl Sink for Relabelled<'_> {
    fn version(&mut self, _: &Facts, settled: bool) -> Result<(), RemoteError> {
        self.0.version(&self.1, settled)
    }

    fn data(&mut self, bytes: Bytes) {
        self.0.data(bytes);
    }

    fn whole(&mut self) -> bool {
        self.0.whole()
    }
}

impl Remote for Careless {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<Facts, RemoteError>> {
        Box::pin(async {
            let facts = self.inner.stat(name).await?;
            Ok(self
                .first
                .lock()
                .entry(name.clone())
                .or_insert(facts)
                .clone())
        })
    }

    fn fetch<'a>(
        &'a self,
        name: &'a ObjectName,
        range: ByteRange,
        _bound: Option<&'a Validator>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async move {
            let facts = self.stat(name).await?;
            let mut sink = Relabelled(sink, facts);
            self.inner.fetch(name, range, None, &mut sink).await
        })
    }
}

#[test]
fn a_client_that_looks_at_no_version_is_caught() {
    let runtime = runtime();
    let rig = Arc::new(Rig::new(config(), PATIENT));
    let origin = Origin::start_on(runtime.handle(), 1).unwrap();
    origin.put("a", Object::seeded(1, 1 << 20));
    let mount = rig.mount(origin, |inner| {
        let first = Mutex::default();
        Arc::new(Careless { inner, first })
    });
    let read = async {
        let facts = mount.facts("a").await.unwrap();
        let open = mount.open("a", &facts, true).unwrap();
        open.read(ByteRange::new(0, 1000)).await.unwrap().unwrap();
        mount.origin.replace("a", 1 << 20);
        open.read(ByteRange::new(800_000, 801_000)).await
    };
    let caught = runtime.block_on(read).unwrap_err();
    assert!(caught.contains("not of one version"), "{caught}");
}

#[test]
fn a_listing_that_lies_misleads_nobody_for_long() {
    let runtime = runtime();
    let rig = Arc::new(Rig::new(config(), PATIENT));
    let origin = Origin::start_on(runtime.handle(), 1).unwrap();
    for (number, size) in SIZES.into_iter().enumerate() {
        origin.put(
            &format!("size-{number}"),
            Object::seeded(number as u64, size),
        );
    }
    origin.fault(Fault::WrongListing, When::always());
    let mount = rig.mount(origin, |remote| remote);
    runtime.block_on(async {
        for (number, size) in SIZES.into_iter().enumerate() {
            let name = format!("size-{number}");
            let facts = mount.listed(&name).await.unwrap();
            assert_eq!(facts.size, size + 5);
            // A size was shown: nothing else is read through it.
            let shown = mount.open(&name, &facts, true).unwrap();
            let result = shown.read_all().await.unwrap();
            assert!(
                matches!(result, Err(ReadError::Stale)),
                "{name}: {result:?}"
            );
            // Whoever opens it finds the true version.
            let open = mount.open_shown(&name, &facts).await.unwrap();
            assert_eq!(open.blob.facts().size, size, "{name}");
            open.read_all().await.unwrap().unwrap();
        }
    });
}

#[test]
fn two_sizes_under_one_etag_are_no_version_of_the_same_bytes() {
    let runtime = runtime();
    let rig = Arc::new(Rig::new(config(), PATIENT));
    let origin = Origin::start_on(runtime.handle(), 1).unwrap();
    origin.put("a", Object::seeded(1, 100_000));
    let mount = rig.mount(origin, |remote| remote);
    runtime.block_on(async {
        let true_facts = mount.facts("a").await.unwrap();
        let open = mount.open("a", &true_facts, true).unwrap();
        open.read_all().await.unwrap().unwrap();
        // The last block is cached now, and checked for its true length.
        let head = When::always().method(Method::Head);
        mount
            .origin
            .fault(Fault::Length(LengthLie::Larger(1)), head);
        let lied = mount.facts("a").await.unwrap();
        assert_eq!(
            (lied.size, &lied.validator),
            (100_001, &true_facts.validator)
        );
        let longer = mount.open("a", &lied, true).unwrap();
        let result = longer.read_all().await.unwrap();
        assert!(matches!(result, Err(ReadError::Stale)), "{result:?}");
        assert!(
            longer.blob.is_superseded(),
            "whoever opens the name has to ask again"
        );
        open.read_all().await.unwrap().unwrap();
    });
}

#[test]
fn a_version_that_the_remote_refuted_is_not_believed_again_from_a_listing() {
    let runtime = runtime();
    let rig = Arc::new(Rig::new(config(), PATIENT));
    let origin = Origin::start_on(runtime.handle(), 1).unwrap();
    let size = 1 << 20;
    origin.put("a", Object::seeded(1, size).modified_at(1_000_000_000));
    let mount = rig.mount(origin, |remote| remote);
    let beginning = ByteRange::new(0, 1000);
    runtime.block_on(async {
        let facts = mount.listed("a").await.unwrap();
        let open = mount.open("a", &facts, true).unwrap();
        open.read(beginning).await.unwrap().unwrap();
        // The answer came from the network; the cache has it a moment later.
        while open.cached_bytes().await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(open);
        // The same size and the same time: a listing cannot tell it from the one before.
        mount
            .origin
            .put("a", Object::seeded(2, size).modified_at(1_000_000_000));
        assert_eq!(mount.listed("a").await.unwrap(), facts);
        let open = mount.open("a", &facts, true).unwrap();
        open.read(beginning).await.unwrap().unwrap();
        let rest = open.read(ByteRange::new(900_000, 900_100)).await.unwrap();
        assert!(matches!(rest, Err(ReadError::Stale)), "{rest:?}");
        assert!(open.blob.is_superseded());
        let open = mount.open("a", &facts, true).unwrap();
        open.read_all().await.unwrap().unwrap();
    });
}

#[test]
fn one_stall_is_asked_again_while_its_reader_still_waits() {
    let runtime = runtime();
    let faults = [
        Fault::Silence,
        Fault::Stall { at: 0 },
        Fault::Stall { at: 200 },
    ];
    // A stall is given up after a part of this; what is left of it has to do for a busy machine.
    let rig = Arc::new(Rig::new(config(), Duration::from_secs(40)));
    let mut reads = JoinSet::new();
    for fault in faults {
        let origin = Origin::start_on(runtime.handle(), 1).unwrap();
        origin.put("a", Object::seeded(1, 100_000));
        origin.fault(fault.clone(), When::first(1).method(Method::Get));
        let mount = rig.mount(origin, |remote| remote);
        reads.spawn_on(
            async move {
                let facts = mount.facts("a").await.unwrap();
                let result = mount.open("a", &facts, true).unwrap().read_all().await;
                result
                    .unwrap()
                    .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            },
            runtime.handle(),
        );
    }
    runtime.block_on(reads.join_all());
}

#[test]
fn a_redirect_to_another_server_takes_no_secret_along() {
    let runtime = runtime();
    let rig = Arc::new(Rig::new(config(), PATIENT));
    let origin = Origin::start_on(runtime.handle(), 1).unwrap();
    origin.put("a", Object::seeded(1, 100_000));
    origin.set(Settings {
        // "user:secret" in Base64.
        required: Some(("authorization".into(), "Basic dXNlcjpzZWNyZXQ=".into())),
        ..Settings::default()
    });
    origin.fault(Fault::RedirectElsewhere, When::always().method(Method::Get));
    let secret = Credentials {
        user: "user".into(),
        password: "secret".into(),
    };
    let mount = rig.mount_as(origin, Some(secret), |remote| remote);
    runtime.block_on(async {
        let facts = mount.facts("a").await.unwrap();
        let open = mount.open("a", &facts, true).unwrap();
        open.read_all().await.unwrap().unwrap();
    });
    let log = mount.origin.log();
    assert!(
        log.iter().any(|l| l.elsewhere && l.status == 206),
        "{log:?}"
    );
    assert!(log.iter().all(|l| l.authorized != l.elsewhere), "{log:?}");
}
