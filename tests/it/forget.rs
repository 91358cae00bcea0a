//! What a user has dropped: everything but what is pinned, in use or irreplaceable; and what is read after it.

use std::time::Duration;

use larder::check::CheckOptions;
use larder::engine::Evicted;
use larder::format::{SECTOR_LEN, SlotFlags, SlotKind, SlotRecord};
use larder::storage::Storage;
use larder::testing::Rng;
use larder::units::{ByteRange, SlotId};

use crate::model::tick;
use crate::world::{Setup, World, check_twice, tiny_geometry};

/// A world whose objects are all cached and on disk.
fn filled() -> World {
    let mut world = World::with(Rng::new(21), Setup::PLAIN);
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

fn evict_all(world: &World) -> Evicted {
    world.daemon().cache.evict_all(0)
}

/// Sets the flag of pinning on the first slot in use; no command does so yet.
fn pin_one(world: &World) -> SlotId {
    let (uuid, geometry) = (world.daemon().cache.uuid(), tiny_geometry());
    for id in (0..geometry.n_slots()).map(SlotId) {
        let offset = geometry.slot_offset(id);
        let mut sector = [0; SECTOR_LEN];
        world.store.read_index(offset, &mut sector).unwrap();
        let Ok(mut record) = SlotRecord::decode(&sector, uuid, offset) else {
            continue;
        };
        if record.kind == SlotKind::Data && !record.present.is_empty() {
            record.flags.0 |= SlotFlags::PINNED;
            let sector = record.encode(uuid, offset);
            world.store.write_index(offset, &sector).unwrap();
            return id;
        }
    }
    panic!("nothing is cached");
}

#[test]
fn all_is_dropped_the_disk_gets_it_back_and_readers_go_on() {
    let mut world = filled();
    let before = world.daemon().cache.stats();
    assert!(before.slots_used >= 4, "{before:?}");
    let told = evict_all(&world);
    assert_eq!(
        (told.busy, told.kept, told.failed, told.next),
        (0, 0, 0, None)
    );
    assert_eq!(told.chunks, before.slots_used);
    let after = world.daemon().cache.stats();
    assert_eq!((after.slots_used, after.used_bytes), (0, after.index_bytes));
    assert_eq!(told.bytes, before.used_bytes - after.used_bytes);
    // The handles that are open are judged byte by byte by the world.
    world.read_all();
    tick(&mut world, Duration::from_millis(100));
    world.calm();
    let again = world.daemon().cache.stats();
    assert_eq!(again.slots_used, before.slots_used);
    assert_eq!((again.blocks_bad, again.disk_errors), (0, 0));
    world.daemon().cache.close().unwrap();
    let deep = CheckOptions {
        deep: true,
        ..CheckOptions::PLAIN
    };
    check_twice(&world.store, deep);
}

#[test]
fn a_pinned_chunk_stays() {
    let mut world = filled();
    world.daemon().cache.close().unwrap();
    let pinned = pin_one(&world);
    world.kill();
    let told = evict_all(&world);
    assert_eq!((told.kept, told.busy), (1, 0), "{told:?}");
    assert!(told.chunks >= 3, "{told:?}");
    assert_eq!(world.daemon().cache.stats().slots_used, 1);
    let mut sector = [0; SECTOR_LEN];
    let offset = tiny_geometry().slot_offset(pinned);
    world.store.read_index(offset, &mut sector).unwrap();
    let record = SlotRecord::decode(&sector, world.daemon().cache.uuid(), offset).unwrap();
    assert!(record.kind == SlotKind::Data && record.flags.has(SlotFlags::PINNED));
    world.read_all();
    assert_eq!(world.daemon().cache.stats().blocks_bad, 0);
}

/// A reader of a version that the remote has no more could get it nowhere else.
#[test]
fn a_superseded_version_that_somebody_reads_stays() {
    let mut world = filled();
    let handle = world.open(0);
    world.read(handle, ByteRange::at(0, 50_000));
    world.drain();
    let blob = world.handles[handle].as_ref().unwrap().blob.clone();
    blob.supersede();
    let told = evict_all(&world);
    assert!(told.kept > 0 && told.chunks > 0, "{told:?}");
    world.read(handle, ByteRange::at(0, 50_000));
    world.drain();
}

/// A disk that fails is told, and nothing is lost but what was to be dropped.
#[test]
fn a_failing_disk_is_told() {
    let mut world = filled();
    world.daemon().cache.close().unwrap();
    world.kill();
    world.store.faults(|faults| faults.read_errors = 256);
    let told = evict_all(&world);
    assert!(told.failed > 0 && told.chunks == 0, "{told:?}");
}
