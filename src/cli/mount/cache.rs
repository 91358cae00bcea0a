//! Opening the cache directory for a mount, with its sentences and its progress.

use std::path::Path;
use std::sync::Arc;

use super::log_file::LOG_NAME;
use super::report::{Report, Reporter};
use crate::cli::error::{Exit, Failure};
use crate::cli::quantity::show_size;
use crate::engine::{Cache, LimitsError, OpenError};
use crate::host::CacheConfig;
use crate::storage::{CacheDir, CacheDirError, Rollback, open_or_create};
use crate::units::shown;

/// Opens the cache directory, or makes it, and tells the user which of the two and how large it is. `use_it` is what it is
/// for; where that fails, a cache that was made for it is removed again.
pub(super) fn with_one<T>(
    config: &CacheConfig,
    reporter: &mut Reporter,
    use_it: impl FnOnce(Arc<CacheDir>, &mut Reporter) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let rollback = Rollback::prepare(&config.dir, &[LOG_NAME]);
    let (cache, made) = open(config, reporter)?;
    let used =
        tell_of(config, &cache, made, reporter).and_then(|()| use_it(Arc::clone(&cache), reporter));
    if used.is_err() && made {
        rollback.run(&cache);
    }
    used
}

/// Opens the cache directory, or makes it; whether it was made.
fn open(config: &CacheConfig, reporter: &mut Reporter) -> Result<(Arc<CacheDir>, bool), Failure> {
    let options = config.create_options();
    let mut made = false;
    let cache = open_or_create(&config.dir, &options, &mut |progress| {
        made = true;
        let (done, total) = (progress.done, progress.total);
        // Where no process hears it, the next report says so.
        let _ = reporter.tell(Report::Progress { done, total });
    })
    .map_err(|error| failure(&error))?;
    Ok((Arc::new(cache), made))
}

fn tell_of(
    config: &CacheConfig,
    cache: &CacheDir,
    made: bool,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    reporter.tell(Report::Note(note(cache, made)))?;
    if let Some(ignored) = ignored(config, cache).filter(|_| !made) {
        reporter.tell(Report::Note(ignored))?;
    }
    Ok(())
}

/// What the user reads of the cache.
fn note(cache: &CacheDir, made: bool) -> String {
    let superblock = cache.superblock();
    format!(
        "cache: {} at {}, index {}, {}",
        show_size(superblock.capacity),
        shown(cache.path()),
        show_size(superblock.geometry.index_len()),
        if made { "new" } else { "kept" }
    )
}

/// Gives a cache that was found the size that was asked for. `None` where it has it already.
pub(super) fn apply_size(config: &CacheConfig, cache: &Cache) -> Result<Option<String>, Failure> {
    let was = cache.limits().capacity;
    let Some(size) = config.size.filter(|size| *size != was) else {
        return Ok(None);
    };
    let limits = cache.set_limits(Some(size), None).map_err(|error| {
        let exit = match error {
            LimitsError::TooSmall { .. } => Exit::Usage,
            _ => Exit::Cache,
        };
        Failure::new(exit, error)
    })?;
    let over = limits.used_bytes.saturating_sub(size);
    let mut sentence = format!(
        "cache: its size limit is {} from now on; it was {}",
        show_size(size),
        show_size(was)
    );
    if over > 0 {
        let less = format!(
            "; it gives {} back to the disk in the background",
            show_size(over)
        );
        sentence.push_str(&less);
    }
    if let Some(note) = limits.note {
        sentence.push_str("; ");
        sentence.push_str(&note);
    }
    Ok(Some(sentence))
}

/// What was asked for and differs from what the index of the cache that was found is.
fn ignored(config: &CacheConfig, cache: &CacheDir) -> Option<String> {
    let superblock = cache.superblock();
    // Numbers of slots and files are rounded up, so a little more than asked is what was asked.
    let short = |asked: Option<u64>, is: u32| {
        asked.is_some_and(|asked| asked > u64::from(is) || asked < u64::from(is) / 2)
    };
    let slots = short(config.slots, superblock.geometry.n_slots()).then_some("--slots");
    let files = short(config.files, superblock.geometry.n_blobs()).then_some("--files");
    let asked: Vec<&str> = [slots, files].into_iter().flatten().collect();
    (!asked.is_empty()).then(|| {
        format!(
            "cache: {} is not applied, because this cache has an index already (`larder resize {}` makes another one, while \
             the cache is not mounted)",
            asked.join(" and "),
            shown(cache.path())
        )
    })
}

/// The failure of a directory that was not opened.
pub(in crate::cli) fn failure(error: &CacheDirError) -> Failure {
    match error {
        CacheDirError::Locked { .. } => Failure::new(
            Exit::InUse,
            format_args!(
                "{error}: unmount that first, or give this mount a --cache-dir of its own"
            ),
        ),
        CacheDirError::Geometry(_) | CacheDirError::IndexTooLarge { .. } => {
            Failure::new(Exit::Usage, error)
        }
        _ => Failure::new(Exit::Cache, error),
    }
}

/// The failure of a cache that the engine did not open.
pub(in crate::cli) fn engine_failure(dir: &Path, error: &OpenError) -> Failure {
    Failure::new(
        Exit::Cache,
        format_args!("cannot open the cache in {}: {error}", shown(dir)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::command::cache_config;
    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::storage::CreateOptions;
    use clap::Parser;

    fn config(dir: &Path, more: &[&str]) -> CacheConfig {
        let line = ["larder", "mount", "/a", "/b"].iter().chain(more);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Mount(args) => cache_config(&args, dir.into()),
            _ => panic!("not a mount"),
        }
    }

    #[test]
    fn a_cache_keeps_its_index_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut quiet = Reporter::Terminal(super::super::report::Terminal::new());
        let config = |more: &[&str]| config(dir.path(), more);
        let small = config(&["--cache-size", "16M"]);
        let (cache, made) = open(&small, &mut quiet).unwrap();
        assert!(made);
        assert!(note(&cache, true).ends_with(", new"));
        assert!(note(&cache, true).contains("16.0 MiB"));
        assert_eq!(ignored(&small, &cache), None);
        assert_eq!(ignored(&config(&[]), &cache), None);
        assert_eq!(ignored(&config(&["--cache-size", "20M"]), &cache), None);
        let sentence = ignored(&config(&["--files", "9999", "--slots", "9999"]), &cache);
        assert!(sentence.unwrap().contains("--slots and --files"));
    }

    #[test]
    fn each_refusal_has_its_code() {
        let dir = tempfile::tempdir().unwrap();
        let mut quiet = Reporter::Terminal(super::super::report::Terminal::new());
        let mut refused = |more: &[&str]| open(&config(dir.path(), more), &mut quiet).unwrap_err();
        assert_eq!(refused(&["--cache-size", "1M"]).exit, Exit::Usage);
        assert_eq!(
            refused(&["--cache-size", "16M", "--slots", "100000"]).exit,
            Exit::Usage
        );
        let held = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        let _held = open_or_create(dir.path(), &held, &mut |_| {}).unwrap();
        let failure = refused(&[]);
        assert_eq!(failure.exit, Exit::InUse);
        assert!(failure.sentence.contains("--cache-dir of its own"));
    }
}
