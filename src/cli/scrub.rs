//! `larder scrub`: goes through what is cached, and forgets what does not hold. On a mount its daemon does it, and this
//! command looks on; a cache that no mount uses is opened here.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::args::ScrubArgs;
use super::error::{Exit, Failure};
use super::output::{Progress, say};
use super::{control, mount, mounts};
use crate::engine::{
    Cache, CacheDeps, Config, DiskPool, ScrubEnd, ScrubState, ScrubStats, SystemClock,
};
use crate::storage::CacheDir;
use crate::units::shown;

/// How often a daemon is asked how far it has come.
const POLL: Duration = Duration::from_millis(200);
/// How often the engine is told that time passes.
const TICK: Duration = Duration::from_millis(20);

/// Runs the command.
pub(super) fn run(args: &ScrubArgs) -> Result<(), Failure> {
    let shown = shown(&args.path);
    let path = mounts::full_path(&args.path)
        .map_err(|e| Failure::failed(format_args!("cannot look at {shown}: {e}")))?;
    match control::mount_of(&path)? {
        Some(mount) if args.stop => stop(&mount),
        Some(mount) => live(args, &mount),
        None if args.stop => say!("no daemon uses the cache in {shown}: no scrub is running"),
        None if args.no_wait => Err(Failure::new(
            Exit::Usage,
            format_args!(
                "no daemon uses the cache in {shown}, so this command must do the scrub itself: leave --no-wait out"
            ),
        )),
        None => at_rest(args, &path),
    }
}

/// Asks the daemon of a mount for something.
fn ask(mount: &Path, request: &str) -> Result<ScrubStats, Failure> {
    control::ask(mount, &format!("scrub.{request}"), "scrub its cache")
}

fn stop(mount: &Path) -> Result<(), Failure> {
    let before = scrub_of(mount)?;
    ask(mount, "stop")?;
    match before.state {
        ScrubState::Idle => say!("no scrub is running"),
        _ => say!("the scrub is stopped"),
    }
}

/// How far the daemon of a mount has come.
fn scrub_of(mount: &Path) -> Result<ScrubStats, Failure> {
    let mut stats = mounts::stats_of(mount)?;
    serde_json::from_value(stats["scrub"].take()).map_err(|e| {
        Failure::failed(format_args!(
            "the daemon of {} tells nothing of a scrub: {e}",
            shown(mount)
        ))
    })
}

/// Has the daemon scrub, and looks on.
fn live(args: &ScrubArgs, mount: &Path) -> Result<(), Failure> {
    let shown = shown(mount);
    let number = ask(mount, &format!("start.{}", args.rate))?.passes;
    if args.no_wait {
        return say!("the daemon of {shown} scrubs: `larder stats {shown}` shows how far it is");
    }
    let interrupted = interrupts()?;
    let mut progress = Progress::new("scrub");
    let ended = loop {
        let stats = scrub_of(mount)?;
        if stats.passes != number || stats.state == ScrubState::Idle {
            break stats;
        }
        progress.update(stats.done_bytes, stats.total_bytes);
        if interrupted.load(Ordering::Relaxed) {
            progress.finish();
            return say!(
                "the daemon of {shown} goes on scrubbing: `larder scrub --stop {shown}` ends that"
            );
        }
        std::thread::sleep(POLL);
    };
    progress.finish();
    tell(args, &ended, number)
}

/// Scrubs a cache that no mount uses, in this process.
fn at_rest(args: &ScrubArgs, path: &Path) -> Result<(), Failure> {
    let disk = CacheDir::open(path).map_err(|e| mount::cache_failure(&e))?;
    let pool = Arc::new(DiskPool::for_one_disk()?);
    let deps = CacheDeps {
        host: disk.host(),
        storage: Arc::new(disk),
        executor: Arc::clone(&pool) as _,
        clock: Arc::new(SystemClock::default()),
    };
    let config = Config {
        scrub_rate: None,
        ..Config::default()
    };
    let cache = Cache::open(deps, config).map_err(|e| mount::engine_failure(path, &e))?;
    let interrupted = interrupts()?;
    cache.scrub(args.rate);
    let number = cache.stats().scrub.passes;
    let mut progress = Progress::new("scrub");
    while cache.stats().scrub.state != ScrubState::Idle {
        if interrupted.load(Ordering::Relaxed) {
            cache.stop_scrub();
        }
        let scrub = cache.stats().scrub;
        progress.update(scrub.done_bytes, scrub.total_bytes);
        std::thread::sleep(TICK);
        cache.tick();
    }
    progress.finish();
    let ended = cache.stats().scrub;
    pool.shut_down();
    cache.close().map_err(|e| {
        Failure::new(
            Exit::Cache,
            format_args!("the cache in {} could not be closed: {e}", shown(path)),
        )
    })?;
    tell(args, &ended, number)
}

/// Set by Ctrl-C and SIGTERM.
fn interrupts() -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}

/// Tells what came of pass `number`.
fn tell(args: &ScrubArgs, scrub: &ScrubStats, number: u64) -> Result<(), Failure> {
    if args.json {
        say!(
            "{}",
            serde_json::to_string(scrub).map_err(std::io::Error::other)?
        )?;
    }
    if scrub.passes != number {
        return Err(Failure::failed(
            "another scrub was started in place of this one",
        ));
    }
    match scrub.ended {
        Some(ScrubEnd::Finished) if args.json => Ok(()),
        Some(ScrubEnd::Finished) => say!("{}", summary(scrub)),
        Some(ScrubEnd::DiskFailed) => Err(Failure::failed(
            "the cache disk fails: the scrub has given up",
        )),
        Some(ScrubEnd::Stopped) | None => Err(Failure::failed(format_args!(
            "the scrub was stopped before its end; {}",
            summary(scrub)
        ))),
    }
}

fn summary(scrub: &ScrubStats) -> String {
    let ScrubStats {
        checked_blocks: good,
        bad_blocks: bad,
        dropped_slots: dropped,
        ..
    } = scrub;
    match (bad, dropped) {
        (0, 0) => format!("{good} blocks were checked: nothing is damaged"),
        _ => format!(
            "{good} blocks are good; {bad} were damaged, and {dropped} chunks could not be trusted. They were dropped and \
             are fetched again when they are read"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{CreateOptions, open_or_create};

    fn args(path: &Path) -> ScrubArgs {
        ScrubArgs {
            path: path.to_owned(),
            rate: 0,
            stop: false,
            no_wait: false,
            json: false,
        }
    }

    #[test]
    fn a_cache_at_rest_is_scrubbed_and_closed() {
        let dir = tempfile::tempdir().unwrap();
        let refused = run(&args(dir.path())).unwrap_err();
        assert_eq!(refused.exit, Exit::Cache);
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        drop(open_or_create(dir.path(), &options, &mut |_| {}).unwrap());
        run(&args(dir.path())).unwrap();
        let waits = ScrubArgs {
            no_wait: true,
            ..args(dir.path())
        };
        assert_eq!(run(&waits).unwrap_err().exit, Exit::Usage);
        let _held = CacheDir::open(dir.path()).unwrap();
        assert_eq!(run(&args(dir.path())).unwrap_err().exit, Exit::InUse);
    }

    #[test]
    fn what_was_healed_is_told() {
        let mut scrub = ScrubStats {
            checked_blocks: 7,
            ..ScrubStats::default()
        };
        assert!(summary(&scrub).contains("nothing is damaged"));
        scrub.bad_blocks = 2;
        assert!(summary(&scrub).contains("2 were damaged"));
    }
}
