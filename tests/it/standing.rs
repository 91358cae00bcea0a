//! What the choice of victims has learned, over a restart.

use std::sync::Arc;
use std::time::Duration;

use larder::format::Geometry;
use larder::testing::{CrashStore, Rng};
use larder::units::ByteRange;

use crate::origin::Origin;
use crate::world::{Setup, World};

const CHUNK: usize = 65536;
/// Objects that are read again and again, and others that are read once.
const HOT: usize = 20;
const SCANNED: usize = 200;
const OBJECTS: usize = HOT + 2 * SCANNED;
/// Chunks that the cache has room for.
const ROOM: u64 = 50;

/// How a run of the daemon ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Close,
    Kill,
    Reboot,
}

fn world() -> World {
    let geometry = Geometry::new(256, 512, 64, 0).unwrap();
    let capacity = geometry.index_len() + ROOM * CHUNK as u64;
    let store = CrashStore::format(geometry, capacity, 1);
    let mut rng = Rng::new(2);
    let mut origin = Origin::new(&mut rng, OBJECTS);
    for object in 0..OBJECTS {
        origin.objects[object].indivisible = false;
        origin.replace_with_len(object, CHUNK, &mut rng);
    }
    World::over(Arc::new(store), origin, rng, Setup::PLAIN, 1)
}

/// Reads objects from end to end, and has their sectors written.
fn read(world: &mut World, objects: std::ops::Range<usize>) {
    for object in objects {
        let handle = world.open(object);
        world.read(handle, ByteRange::new(0, CHUNK as u64));
        world.drain();
        world.handles[handle] = None;
        tick(world, 1);
    }
}

fn tick(world: &mut World, times: u32) {
    for _ in 0..times {
        world.daemon().clock.advance(Duration::from_millis(50));
        world.daemon().cache.tick();
        world.drain();
    }
}

/// How many of the hot objects are asked of the origin when they are read.
fn missed(world: &mut World) -> u64 {
    let requests = |world: &World| world.daemon().cache.stats().remote_requests;
    let before = requests(world);
    read(world, 0..HOT);
    requests(world) - before
}

fn end(world: &mut World, end: End) {
    match end {
        End::Close => world.restart(),
        End::Kill => world.kill(),
        End::Reboot => world.reboot(),
    }
}

/// The hot objects are read again after their sectors were written; with `promoted` a scan follows, which brings them
/// into the main queue. After the restart a scan of four caches goes through.
#[test]
fn what_was_hot_before_a_restart_outlives_a_scan_after_it() {
    for how in [End::Close, End::Kill, End::Reboot] {
        for promoted in [false, true] {
            let mut world = world();
            read(&mut world, 0..HOT);
            read(&mut world, 0..HOT);
            if promoted {
                read(&mut world, HOT + SCANNED..OBJECTS);
                assert_eq!(missed(&mut world), 0, "they are in the main queue");
            }
            // What is to be kept over a kill has a second for it.
            if how != End::Close {
                tick(&mut world, 20);
                let written = world.daemon().cache.stats().rank_writes;
                assert_eq!(written, HOT as u64, "{how:?}");
            }
            end(&mut world, how);
            read(&mut world, HOT..HOT + SCANNED);
            assert_eq!(missed(&mut world), 0, "{how:?}, promoted: {promoted}");
            // Nothing has changed for their sectors, however often they are read.
            read(&mut world, 0..HOT);
            tick(&mut world, 20);
            assert_eq!(world.daemon().cache.stats().rank_writes, 0);
        }
    }
}

/// What was read once is no better after a restart than before it.
#[test]
fn what_was_read_once_goes_first_after_a_restart() {
    let mut world = world();
    read(&mut world, 0..HOT);
    tick(&mut world, 20);
    assert_eq!(world.daemon().cache.stats().rank_writes, 0);
    end(&mut world, End::Close);
    read(&mut world, HOT..HOT + SCANNED);
    assert_eq!(missed(&mut world), HOT as u64);
}

/// Reads objects without a tick.
fn read_at_once(world: &mut World, objects: std::ops::Range<usize>) {
    for object in objects {
        let handle = world.open(object);
        world.read(handle, ByteRange::new(0, CHUNK as u64));
        world.drain();
        world.handles[handle] = None;
    }
}

/// It is the sectors by which it is known: a kill before they are written loses it, and nothing else.
#[test]
fn what_a_kill_leaves_unwritten_is_forgotten() {
    let mut world = world();
    read(&mut world, 0..HOT);
    read_at_once(&mut world, 0..HOT);
    assert_eq!(world.daemon().cache.stats().rank_writes, 0);
    end(&mut world, End::Kill);
    read(&mut world, HOT..HOT + SCANNED);
    assert_eq!(missed(&mut world), HOT as u64);
}

/// Sectors are written at their rate, and a sector that has its bits already is not.
#[test]
fn few_sectors_are_written_for_it() {
    let mut world = world();
    read(&mut world, 0..HOT);
    read_at_once(&mut world, 0..HOT);
    let mut written = Vec::new();
    for _ in 0..20 {
        tick(&mut world, 1);
        written.push(world.daemon().cache.stats().rank_writes);
    }
    assert_eq!(written.last(), Some(&(HOT as u64)));
    assert!(written[0] <= 8, "{written:?}");
    let steps = written.windows(2).map(|two| two[1] - two[0]);
    assert!(steps.clone().all(|step| step <= 4), "{written:?}");
}
