//! The scrub, one behaviour at a time; the model and the crash rig run it among everything else.

use std::time::Duration;

use larder::engine::{LastShutdown, ScrubEnd, ScrubKind, ScrubState, ScrubStats};
use larder::testing::Rng;
use larder::units::{ByteRange, ChunkSize};

use crate::model::tick;
use crate::world::{Setup, World};

/// A world whose objects are all cached and on disk.
fn filled(setup: Setup) -> World {
    let mut world = World::with(Rng::new(11), setup);
    for object in 0..world.origin.objects.len() {
        world
            .origin
            .replace_with_len(object, 50_000, &mut world.rng);
    }
    world.read_all();
    tick(&mut world, Duration::from_millis(100));
    world.calm();
    world
}

fn setup(scrub_rate: Option<u64>) -> Setup {
    Setup {
        scrub_rate,
        ..Setup::PLAIN
    }
}

fn stats(world: &World) -> ScrubStats {
    world.daemon().cache.stats().scrub
}

/// What a cut damages is found by the scrub, before anybody asks for it; and it is over when it has seen everything.
#[test]
fn a_cut_is_scrubbed_and_healed() {
    let mut world = filled(setup(Some(0)));
    world.daemon().cache.close().unwrap();
    world.kill();
    assert_eq!(
        stats(&world).kind,
        None,
        "a clean stop is scrubbed by nobody"
    );
    world.origin.replace_with_len(0, 60_000, &mut world.rng);
    let handle = world.open(0);
    world.read(handle, ByteRange::at(0, 60_000));
    world.drain();
    tick(&mut world, Duration::from_millis(100));
    world.drain();
    world.kill();
    assert_eq!(world.daemon().cache.last_stop(), LastShutdown::Killed);
    assert_eq!(stats(&world).kind, None, "a kill damages nothing");
    world.boot_from(world.store.crash_without_data());
    assert_eq!(world.daemon().cache.last_stop(), LastShutdown::PowerCut);
    let begun = stats(&world);
    assert_eq!(
        (begun.state, begun.kind),
        (ScrubState::Running, Some(ScrubKind::Suspect))
    );
    tick(&mut world, Duration::from_millis(50));
    world.drain();
    let done = stats(&world);
    assert_eq!(
        (done.state, done.ended),
        (ScrubState::Idle, Some(ScrubEnd::Finished))
    );
    assert!(done.last_finish_timestamp_seconds.is_some() && done.done_bytes == done.total_bytes);
    assert!(done.dropped_slots > 0 && done.bad_blocks > 0, "{done:?}");
    assert!(done.checked_blocks > 0, "{done:?}");
    // What held is trusted now: the next daemon of this boot has nothing to suspect, and readers find all of it.
    tick(&mut world, Duration::from_millis(50));
    world.drain();
    let bad = world.daemon().cache.stats().blocks_bad;
    world.read_all();
    assert_eq!(world.daemon().cache.stats().blocks_bad, bad);
    assert!(world.daemon().cache.stats().hit_bytes > 100_000);
}

/// A pass over everything reads the disk, not what is in memory: it finds what no reader could.
#[test]
fn what_only_memory_holds_is_found() {
    let mut world = filled(setup(None));
    for object in 0..world.origin.objects.len() {
        world
            .origin
            .replace_with_len(object, 50_000, &mut world.rng);
    }
    world.store.faults(|faults| faults.failing_writeback = 0..8);
    world.read_all();
    world.daemon().cache.scrub(0);
    world.drain();
    let done = stats(&world);
    assert_eq!(done.ended, Some(ScrubEnd::Finished));
    assert!(done.bad_blocks > 0 && done.dropped_slots == 0, "{done:?}");
    world
        .store
        .faults(|faults| *faults = larder::testing::Faults::default());
    world.read_all();
    tick(&mut world, Duration::from_millis(50));
    world.drain();
    world.daemon().cache.scrub(0);
    world.drain();
    assert_eq!(stats(&world).bad_blocks, 0, "it was healed by forgetting");
}

/// A rate holds, a pass can be stopped, and a new one takes the place of the one before.
#[test]
fn a_rate_holds_and_a_pass_can_be_stopped() {
    let mut world = filled(setup(None));
    // A chunk file of 48 KiB a tick and a half, once the index was read.
    world.daemon().cache.scrub(100_000);
    let mut seen = Vec::new();
    for _ in 0..100 {
        tick(&mut world, Duration::from_millis(100));
        world.drain();
        seen.push(stats(&world).done_bytes);
    }
    seen.dedup();
    assert!(seen.len() > 3, "one piece at a time: {seen:?}");
    assert_eq!(stats(&world).ended, Some(ScrubEnd::Finished));
    world.daemon().cache.scrub(1);
    tick(&mut world, Duration::from_millis(50));
    world.drain();
    assert_eq!(stats(&world).state, ScrubState::Running);
    world.daemon().cache.stop_scrub();
    assert_eq!(stats(&world).ended, Some(ScrubEnd::Stopped));
    tick(&mut world, Duration::from_secs(1000));
    world.drain();
    assert_eq!(stats(&world).state, ScrubState::Idle);
    world.daemon().cache.scrub(0);
    world.drain();
    let done = stats(&world);
    assert_eq!((done.passes, done.ended), (3, Some(ScrubEnd::Finished)));
}

/// A large chunk is gone through in pieces, and its readers go first: whoever touches it checks it, and the scrub is
/// spared the rest.
#[test]
fn a_reader_in_the_midst_of_a_large_suspect_chunk() {
    let large = Setup {
        chunk: ChunkSize::DEFAULT,
        scrub_rate: Some(1 << 20),
        ..Setup::PLAIN
    };
    let store = larder::testing::CrashStore::format(crate::world::tiny_geometry(), 1 << 30, 5);
    let mut rng = Rng::new(6);
    let mut origin = crate::origin::Origin::new(&mut rng, 1);
    origin.replace_with_len(0, 4 << 20, &mut rng);
    let mut world = World::over(std::sync::Arc::new(store), origin, rng, large, 1);
    world.read_all();
    tick(&mut world, Duration::from_millis(100));
    world.calm();
    // Everything is on disk, and the machine went down all the same.
    let disk = world.store.crash_with(|_| larder::testing::Fate::Keep);
    world.boot_from(disk);
    for _ in 0..3 {
        tick(&mut world, Duration::from_millis(100));
        world.drain();
    }
    let midst = stats(&world);
    assert!(
        midst.state == ScrubState::Running && midst.checked_blocks > 0,
        "{midst:?}"
    );
    let handle = world.open(0);
    world.read(handle, ByteRange::at(3 << 20, 1000));
    world.drain();
    for _ in 0..3 {
        tick(&mut world, Duration::from_secs(2));
        world.drain();
    }
    let done = stats(&world);
    assert_eq!(done.ended, Some(ScrubEnd::Finished));
    assert!(done.checked_blocks < 64, "{done:?}");
    assert_eq!(world.daemon().cache.stats().slots_dropped, 0);
    assert_eq!(world.daemon().cache.stats().remote_bytes, 0);
}

/// A disk that gives nothing any more ends the pass.
#[test]
fn a_disk_that_fails_ends_the_pass() {
    let geometry = larder::format::Geometry::new(64, 64, 8, 0).unwrap();
    let store = larder::testing::CrashStore::format(geometry, 64 << 20, 5);
    let mut rng = Rng::new(6);
    let mut origin = crate::origin::Origin::new(&mut rng, 40);
    for object in 0..40 {
        origin.replace_with_len(object, 10_000, &mut rng);
    }
    let store = std::sync::Arc::new(store);
    let mut world = World::over(store, origin, rng, Setup::PLAIN, 1);
    world.read_all();
    tick(&mut world, Duration::from_millis(100));
    world.drain();
    world.store.faults(|faults| faults.read_errors = 256);
    world.daemon().cache.scrub(0);
    world.drain();
    assert_eq!(stats(&world).ended, Some(ScrubEnd::DiskFailed));
    assert!(
        world.daemon().cache.stats().slots_used >= 20,
        "nothing is dropped for it"
    );
}
