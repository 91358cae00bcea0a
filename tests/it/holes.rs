//! The holes that checksums close (invariant 4 of ARCHITECTURE.md), one by one. Each test is run a second time with
//! every checksum trusted, and must then see wrong bytes: so the hole is really there.

use std::time::Duration;

use larder::engine::Verify;
use larder::testing::{Rng, trust_every_checksum};
use larder::units::ByteRange;

use crate::model::tick;
use crate::world::{Setup, World};

const WHOLE: ByteRange = ByteRange {
    start: 0,
    end: 1 << 20,
};

/// Runs the scenario with checksums, which must judge every byte right, and without, which must see a wrong one.
fn closes_a_hole(scenario: impl Fn() + std::panic::UnwindSafe + std::panic::RefUnwindSafe) {
    scenario();
    let _unsafe = trust_every_checksum();
    assert!(
        std::panic::catch_unwind(&scenario).is_err(),
        "the scenario does not reach the hole"
    );
}

/// A world of one-chunk objects whose slots have all had an earlier tenant.
fn reused_world(seed: u64) -> World {
    reused(World::with(Rng::new(seed), Setup::PLAIN))
}

fn reused(mut world: World) -> World {
    for round in 0..3 {
        for object in 0..world.origin.objects.len() {
            let len = 40_000 + 1000 * object + round;
            world.origin.replace_with_len(object, len, &mut world.rng);
        }
        world.read_all();
        tick(&mut world, Duration::from_millis(100));
        world.calm();
        if round < 2 {
            world.daemon().cache.close().unwrap();
            world.kill();
        }
    }
    assert!(world.daemon().cache.stats().blocks_filled > 0);
    world
}

/// Nobody syncs, so nobody hears of a failed writeback: the page is dropped, and the previous tenant's bytes come back.
#[test]
fn a_writeback_that_fails_after_the_fill() {
    closes_a_hole(|| {
        let mut world = reused_world(1);
        let handle = world.open(0);
        world.read(handle, WHOLE);
        world.drain();
        // From here on nothing that was filled in this mount reaches the disk.
        for object in 0..world.origin.objects.len() {
            world
                .origin
                .replace_with_len(object, 40_000, &mut world.rng);
        }
        world.store.faults(|faults| faults.failing_writeback = 0..8);
        world.read_all();
        world.store.evict_all();
        world.read_all();
        assert!(
            world.daemon().cache.stats().blocks_bad > 0,
            "the previous tenant never came back"
        );
    });
}

/// The disk says one thing when a block is checked and another when it is read again: the reader gets what was checked.
#[test]
fn a_disk_that_answers_differently_at_the_second_read() {
    closes_a_hole(|| {
        let mut world = reused_world(2);
        world.store.faults(|faults| faults.lies = 128);
        for _ in 0..4 {
            world.store.evict_all();
            world.read_all();
        }
        assert!(
            world.daemon().cache.stats().blocks_bad > 0,
            "the disk never lied"
        );
    });
}

/// After a cut a slot has a damaged block that nobody has touched; other blocks are filled into it, and it is stamped
/// in the new boot. The damaged block must not pass for one of that boot.
#[test]
fn a_slot_filled_further_after_a_cut() {
    closes_a_hole(|| {
        let mut world = reused_world(3);
        world.daemon().cache.close().unwrap();
        world.kill();
        world.origin.replace_with_len(0, 60_000, &mut world.rng);
        let handle = world.open(0);
        world.read(handle, ByteRange::at(0, 8192));
        world.drain();
        tick(&mut world, Duration::from_millis(100));
        world.drain();
        // Every sector survives the cut, no data does: the file holds the previous tenant's bytes.
        world.boot_from(world.store.crash_without_data());
        let handle = world.open(0);
        world.read(handle, ByteRange::at(40_960, 4096));
        world.drain();
        tick(&mut world, Duration::from_millis(100));
        world.drain();
        assert!(
            world.daemon().cache.stats().slots_dropped > 0,
            "the slot was filled unchecked"
        );
        world.kill();
        world.read_all();
    });
}

/// The kernel reads around what it is asked for, whatever it was advised (seen on ext4 and XFS with large readahead, when
/// memory was dropped while the file had dirty pages): blocks that were checked, and evicted, come back unchecked.
#[test]
fn pages_that_the_kernel_reads_around() {
    closes_a_hole(|| {
        let mut world = reused_world(6);
        for object in 0..world.origin.objects.len() {
            world
                .origin
                .replace_with_len(object, 60_000, &mut world.rng);
        }
        world.store.faults(|faults| {
            faults.failing_writeback = 0..8;
            faults.reads_around = 128;
        });
        world.read_all();
        for seed in 0..60 {
            world.store.evict(seed);
            let handle = world.open(1);
            for at in (0..60_000).step_by(12_288) {
                world.read(handle, ByteRange::at(at, 4096));
                if seed % 2 == 0 {
                    world.drain();
                }
            }
            for at in (0..60_000).step_by(4096) {
                world.read(handle, ByteRange::at(at, 4096));
            }
            world.drain();
        }
    });
}

/// A refused read that must not wait has started to bring pages in: what it brings is not taken for checked.
#[test]
fn pages_that_a_refused_read_brings_in() {
    closes_a_hole(|| {
        let mut world = reused_world(4);
        for object in 0..world.origin.objects.len() {
            world
                .origin
                .replace_with_len(object, 40_000, &mut world.rng);
        }
        world.store.faults(|faults| faults.failing_writeback = 0..8);
        world.read_all();
        for seed in 0..20 {
            world.store.evict(seed);
            let handle = world.open(1);
            for at in (0..40_000).step_by(4096) {
                world.read(handle, ByteRange::at(at, 4096));
                world.read(handle, ByteRange::at(at, 8192));
            }
            world.drain();
        }
    });
}

/// The one hole that `first` leaves open: on a kernel that does not account, a read that must not wait can bring an
/// evicted page in and pass it off as one that was in memory all along. `always` does not care where a page was.
#[test]
fn a_page_that_was_brought_in_unheard() {
    let scenario = |verify| {
        let setup = Setup {
            verify,
            ..Setup::PLAIN
        };
        let mut world = reused(World::with(Rng::new(5), setup));
        for object in 0..world.origin.objects.len() {
            world
                .origin
                .replace_with_len(object, 40_000, &mut world.rng);
        }
        world.store.faults(|faults| {
            faults.failing_writeback = 0..8;
            faults.unaccounted = true;
        });
        let handle = world.open(1);
        for seed in 0..40 {
            // What was read from disk is verified when it is read again from memory.
            for _ in 0..3 {
                for at in (0..40_000).step_by(4096) {
                    world.read(handle, ByteRange::at(at, 4096));
                }
                world.drain();
            }
            world.store.evict(seed);
        }
        world.daemon().cache.stats()
    };
    let stats = scenario(Verify::Always);
    assert!(
        stats.blocks_bad > 0 && stats.reads_inline > 0,
        "nothing was lost: {stats:?}"
    );
    let first = std::panic::catch_unwind(|| scenario(Verify::First));
    assert!(first.is_err(), "the scenario does not reach the hole");
}
