//! The reference model: seeded operations on the engine in a simulated world, judged byte by byte.
//!
//! `LARDER_MODEL_SEED=n` replays one run; `LARDER_MODEL_RUNS=n` asks for more of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::check::CheckOptions;
use larder::testing::Rng;
use larder::units::ByteRange;

use crate::world::{Handle, Turnover, World};

const RUNS: u64 = 1_500;
const OPERATIONS: u32 = 60;

/// The value of an environment variable that holds a number.
pub(crate) fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

/// Runs `body` for each seed and names the seed that fails.
pub(crate) fn for_each_seed(runs: u64, body: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let seeds = match number_from_env("LARDER_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from_env("LARDER_MODEL_RUNS").unwrap_or(runs),
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| body(seed)) {
            eprintln!("replay with LARDER_MODEL_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// One operation, chosen by the seed.
pub(crate) fn operate(world: &mut World) {
    let objects = world.origin.objects.len();
    match world.rng.below(112) {
        0..12 => {
            let object = world.rng.index(objects);
            world.open(object);
        }
        12..45 => {
            let handles = world.handles.len();
            if handles > 0 {
                let handle = world.rng.index(handles);
                let range = some_range(&mut world.rng);
                world.read(handle, range);
            }
        }
        45..70 => {
            for _ in 0..world.rng.below(12) {
                world.step(true);
            }
        }
        70..74 => {
            let object = world.rng.index(objects);
            world.origin.replace(object, &mut world.rng);
            if world.rng.chance(128) {
                let of_it = |handle: &mut Handle| handle.object == object;
                let handles = world.handles.iter_mut();
                handles.for_each(|handle| drop(handle.take_if(of_it)));
            }
        }
        74..76 => {
            let object = world.rng.index(objects);
            world.toggle_writer(object);
        }
        76..84 => {
            let ms = world.rng.below(150);
            tick(world, Duration::from_millis(ms));
        }
        84..87 => world.store.evict(world.rng.next_u64()),
        87..90 => faults(world),
        90..92 => {
            let handles = world.handles.len();
            if handles > 0 {
                let handle = world.rng.index(handles);
                world.handles[handle] = None;
            }
        }
        92..94 => world.kill(),
        94..95 => world.restart(),
        95..97 => world.power_cut(),
        97..98 => tick(world, Duration::from_secs(3)),
        98..99 => tick(world, Duration::from_secs(31)),
        99..103 => {
            let rate = [0, 0, 1 << 20][world.rng.index(3)];
            world.daemon().cache.scrub(rate);
        }
        103..104 => world.daemon().cache.stop_scrub(),
        104..106 => world.reboot(),
        106..109 => {
            let plan = some_plan(&mut world.rng);
            world.check(plan);
        }
        _ => world.calm(),
    }
}

/// A check of records and files, or of the blocks as well.
pub(crate) fn some_plan(rng: &mut Rng) -> CheckOptions {
    match rng.chance(128) {
        true => CheckOptions::DEEP,
        false => CheckOptions::PLAIN,
    }
}

fn some_range(rng: &mut Rng) -> ByteRange {
    let start = rng.below(160_000);
    match rng.below(4) {
        0 => ByteRange::at(start, 1),
        1 => ByteRange::at(start & !4095, 4096),
        2 => ByteRange::at(start, 1 + rng.below(10_000)),
        _ => ByteRange::at(start & !131_071, 131_072),
    }
}

pub(crate) fn tick(world: &mut World, by: Duration) {
    world.daemon().clock.advance(by);
    let cache = std::sync::Arc::clone(&world.daemon().cache);
    cache.tick();
    world.collect();
}

/// Turns faults of the cache disk on, or all of them off.
fn faults(world: &mut World) {
    let (pick, at) = (
        world.rng.below(9),
        u32::try_from(world.rng.below(8)).unwrap(),
    );
    world.lose_account();
    world.store.faults(|faults| match pick {
        0 => faults.failing_writeback = at..at + 3,
        1 => faults.lies = 20,
        2 => faults.read_errors = 30,
        3 => faults.write_errors = 30,
        4 => faults.refuse_now = 100,
        5 => faults.full = true,
        6 => faults.reads_around = 100,
        _ => *faults = larder::testing::Faults::default(),
    });
    let most = [None, Some(0), Some(2)][world.rng.index(3)];
    world.daemon().executor.limit_writes(most);
}

/// All reads of all runs bring the right bytes or an error that the world explains, with every fault of the cache disk
/// and the origin, kills, restarts and power cuts in between; and afterwards everything can be read.
#[test]
fn the_engine_agrees_with_the_model() {
    let (turnover, worlds) = (Mutex::new(Turnover::default()), AtomicU64::new(0));
    for_each_seed(RUNS, |seed| {
        let seen = run(seed);
        turnover.lock().expect("nobody panics with it").join(seen);
        worlds.fetch_add(1, Ordering::Relaxed);
    });
    // One world alone may be a quiet one.
    let worlds = worlds.into_inner();
    if worlds >= 100 {
        turnover.into_inner().unwrap().judge(worlds);
    }
}

fn run(seed: u64) -> Turnover {
    let mut world = World::new(seed);
    for _ in 0..OPERATIONS {
        operate(&mut world);
    }
    world
        .store
        .faults(|faults| *faults = larder::testing::Faults::default());
    world.daemon().executor.limit_writes(None);
    for object in &mut world.origin.objects {
        object.being_written = false;
    }
    world.calm();
    world.read_all();
    tick(&mut world, Duration::from_millis(100));
    world.restart();
    world.store.evict_all();
    world.read_all();
    let empty = world.origin.objects.iter().all(|o| o.now().data.is_empty());
    assert!(world.reads_judged > 0 || empty);
    world.turnover
}

/// The rig sees: with every checksum taken for right, it finds wrong bytes within its runs.
#[test]
fn the_unsafe_variant_is_caught() {
    let caught = (0..RUNS).find(|seed| {
        let _unsafe = larder::testing::trust_every_checksum();
        std::panic::catch_unwind(|| run(*seed)).is_err()
    });
    eprintln!("the variant that trusts every checksum was caught in run {caught:?}");
    assert!(
        caught.is_some(),
        "{RUNS} runs without checksums, and the model has seen nothing"
    );
}
