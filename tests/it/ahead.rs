//! Readahead where the index is not in memory yet.

use std::sync::Arc;

use larder::format::Geometry;
use larder::testing::{CrashStore, Rng};
use larder::units::ByteRange;

use crate::origin::Origin;
use crate::world::{Setup, World};

/// A cache of eight segments, which are loaded as they are touched: what is read ahead lies in others than what was read.
#[test]
fn what_lies_in_unloaded_segments_is_read_ahead_too() {
    const OBJECTS: usize = 16;
    for object in 0..OBJECTS {
        let geometry = Geometry::new(512, 64, 64, 3).unwrap();
        let store = Arc::new(CrashStore::format(geometry, 64 << 20, 1));
        let mut rng = Rng::new(2);
        let mut origin = Origin::new(&mut rng, OBJECTS);
        origin.objects[object].indivisible = false;
        origin.replace_with_len(object, 150_000, &mut rng);
        let mut world = World::over(store, origin, rng, Setup::PLAIN, 1);
        let handle = world.open(object);
        world.read(handle, ByteRange::new(0, 4096));
        world.drain();
        // The second read in a row: from here on 64 KiB are read ahead, into the next chunk.
        world.read(handle, ByteRange::new(4096, 8192));
        let mut rng = Rng::new(3);
        while world.daemon().executor.step(&mut rng) {}
        let fetcher = Arc::clone(&world.daemon().fetcher);
        let asked: u64 = std::iter::from_fn(|| fetcher.take(&mut rng))
            .map(|job| job.range().len())
            .sum();
        assert_eq!(asked, (4 << 10) + (64 << 10), "object {object}");
    }
}
