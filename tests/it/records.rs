//! More files than the index has records for: records are reused, and what is read goes on being cached.

use std::time::Duration;

use larder::check::CheckOptions;
use larder::testing::Rng;

use crate::model::tick;
use crate::origin::Origin;
use crate::world::{Setup, World};

/// The index has records for eight.
const FILES: usize = 40;

fn read(world: &mut World, object: usize) {
    let handle = world.open(object);
    world.read(handle, larder::units::ByteRange::at(0, 1 << 20));
    world.drain();
    tick(world, Duration::from_millis(100));
    world.drain();
    world.handles[handle] = None;
}

#[test]
fn the_last_files_read_are_cached_whatever_the_number_before_them() {
    let mut world = World::with(Rng::new(3), Setup::PLAIN);
    world.origin = Origin::new(&mut Rng::new(4), FILES);
    for object in 0..FILES {
        world.origin.objects[object].indivisible = false;
        world
            .origin
            .replace_with_len(object, 3000 + object, &mut Rng::new(5));
    }
    (0..FILES).for_each(|object| read(&mut world, object));
    let stats = world.daemon().cache.stats();
    assert!(stats.records_freed > 30, "{stats:?}");
    for last in FILES - 4..FILES {
        read(&mut world, last);
    }
    assert_eq!(
        world.daemon().cache.stats().remote_bytes,
        stats.remote_bytes
    );
    world.restart();
    for last in FILES - 4..FILES {
        read(&mut world, last);
    }
    assert_eq!(
        world.daemon().cache.stats().remote_bytes,
        0,
        "they were kept"
    );
    world.check(CheckOptions::DEEP);
}

/// Files that are open keep their records while others can go, and are served when none can.
#[test]
fn more_files_are_open_than_there_are_records() {
    let mut world = World::with(Rng::new(6), Setup::PLAIN);
    world.origin = Origin::new(&mut Rng::new(7), FILES);
    for object in 0..FILES {
        world.origin.objects[object].indivisible = false;
        world
            .origin
            .replace_with_len(object, 3000, &mut Rng::new(8));
    }
    let handles: Vec<usize> = (0..FILES).map(|object| world.open(object)).collect();
    for _ in 0..3 {
        for handle in &handles {
            world.read(*handle, larder::units::ByteRange::at(0, 4000));
            world.drain();
            tick(&mut world, Duration::from_millis(100));
            world.drain();
        }
    }
    assert!(world.daemon().cache.stats().records_freed > 0);
    world.restart();
    world.read_all();
    world.check(CheckOptions::DEEP);
}
