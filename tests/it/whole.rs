//! Objects that a remote has only as a whole: one answer fills the cache, whoever asked for whichever part of it.

use std::sync::Arc;

use larder::remote::Sink;
use larder::testing::Rng;
use larder::units::{ByteRange, Facts, Timestamp, Validator};
use parking_lot::Mutex;

use crate::world::{Setup, World};

/// A world with one object of 150,000 bytes in it that cannot be had in parts (see `Origin::new`).
fn world(seed: u64) -> (World, usize) {
    let mut rng = Rng::new(seed);
    // There is room for it.
    let setup = Setup {
        room: 6,
        ..Setup::draw(&mut rng)
    };
    let mut world = World::with(rng, setup);
    let object = 2;
    assert!(world.origin.objects[object].indivisible);
    world
        .origin
        .replace_with_len(object, 150_000, &mut Rng::new(seed));
    (world, object)
}

/// Readers all over the object are served by the first fetch; the others hand it what they waited for.
#[test]
fn many_readers_cost_one_answer() {
    for seed in 0..20 {
        let (mut world, object) = world(seed);
        let handle = world.open(object);
        for n in 0..15 {
            world.read(handle, ByteRange::at(n * 10_000, 7_000));
        }
        world.drain();
        let stats = world.daemon().cache.stats();
        assert_eq!(stats.remote_bytes, 150_000, "seed {seed}: {stats:?}");
        let again = world.open(object);
        world.read(again, ByteRange::new(0, 150_000));
        world.drain();
        let stats = world.daemon().cache.stats();
        assert_eq!(stats.remote_bytes, 150_000, "seed {seed}: {stats:?}");
    }
}

/// A blob that was bound anew between the answer's version and its first byte takes nothing of it.
#[test]
fn an_answer_of_a_version_given_up_is_nobodys() {
    let (mut world, object) = world(5);
    let handle = world.open(object);
    world.read(handle, ByteRange::new(0, 1000));
    let mut rng = larder::testing::Rng::new(1);
    while world.daemon().executor.step(&mut rng) {}
    let mut first = world.daemon().fetcher.take(&mut rng).unwrap();
    let old = Arc::clone(world.origin.objects[object].now());
    first.version(&old.facts, true).unwrap();
    // Another fetch of the same blob hears of a new version, of which stat(2) shows the same.
    let facts = Facts {
        validator: Some(Validator::Strong(b"another".as_slice().into())),
        ..world.origin.objects[object].now().facts.clone()
    };
    world.read(handle, ByteRange::new(100_000, 101_000));
    let second = world.daemon().fetcher.take(&mut rng).unwrap();
    second.finish(Err(larder::remote::RemoteError::Changed(Box::new(facts))));
    assert!(!first.whole(), "an outdated answer is refused");
    first.finish(Ok(()));
    world.drain();
}

/// A version without a validator is believed for an hour, and not longer; what it has cached is then asked for again.
#[test]
fn a_version_that_cannot_be_confirmed_expires() {
    let (world, object) = world(9);
    let name = world.origin.objects[object].name.clone();
    let data = world.origin.objects[object].now().data.clone();
    let daemon = world.daemon();
    let mut rng = larder::testing::Rng::new(1);
    let listed = Facts {
        validator: None,
        mtime: Timestamp::UNKNOWN,
        ..Facts::file(data.len() as u64, Validator::Stamp(0))
    };
    let mut read = |stamp: u64| {
        let blob = daemon.source.blob(&name, &listed);
        let answer = Arc::new(Mutex::new(None));
        let place = Arc::clone(&answer);
        blob.reader().read(
            ByteRange::new(0, 1000),
            Box::new(move |result| *place.lock() = Some(result)),
        );
        let mut fetched = false;
        loop {
            if daemon.executor.step(&mut rng) {
                continue;
            }
            let Some(mut job) = daemon.fetcher.take(&mut rng) else {
                break;
            };
            assert_eq!(
                job.bound(),
                None,
                "nothing is bound to a stamp that is over"
            );
            let facts = Facts {
                validator: Some(Validator::Stamp(stamp)),
                ..listed.clone()
            };
            job.version(&facts, true).unwrap();
            assert!(job.whole());
            job.data(data.clone());
            job.finish(Ok(()));
            fetched = true;
        }
        let bytes = answer.lock().take().unwrap().unwrap();
        assert_eq!(bytes, data.slice(..1000));
        (fetched, blob)
    };
    let (fetched, blob) = read(1);
    assert!(fetched && !blob.has_expired());
    daemon.clock.advance(std::time::Duration::from_secs(3500));
    assert!(!read(2).0, "within the hour it is served from the cache");
    assert!(!blob.has_expired());
    daemon.clock.advance(std::time::Duration::from_secs(101));
    assert!(blob.has_expired(), "an open now gets another version");
    assert!(read(3).0, "after the hour it is fetched again");
}
