//! Opening the cache directory for a mount, with its sentences and its progress.

use std::path::Path;
use std::sync::Arc;

use super::report::{Report, Reporter};
use crate::cli::args::MountArgs;
use crate::cli::error::{Exit, Failure};
use crate::cli::quantity::{show_amount, show_size};
use crate::engine::OpenError;
use crate::storage::{CacheDir, CacheDirError, CreateOptions};

/// The size of a new cache when nobody says.
const DEFAULT_SIZE: u64 = 10 << 30;

/// Opens the cache directory, or makes it, and tells the user which of the two and how large it is.
pub(super) fn open(
    args: &MountArgs,
    dir: &Path,
    reporter: &mut Reporter,
) -> Result<Arc<CacheDir>, Failure> {
    let options = CreateOptions {
        capacity: args.cache_size.unwrap_or(DEFAULT_SIZE),
        slots: args.slots,
        files: args.files,
    };
    let (mut made, mut unheard) = (false, None);
    let cache = CacheDir::open_or_create(dir, &options, &mut |progress| {
        made = true;
        let (done, total) = (progress.done, progress.total);
        unheard = reporter.tell(Report::Progress { done, total }).err();
    })
    .map_err(|error| failure(&error))?;
    if let Some(failure) = unheard {
        return Err(failure);
    }
    reporter.tell(Report::Note(note(&cache, made)))?;
    if let Some(ignored) = ignored(args, &cache).filter(|_| !made) {
        reporter.tell(Report::Note(ignored))?;
    }
    Ok(Arc::new(cache))
}

/// What the user reads of the cache.
fn note(cache: &CacheDir, made: bool) -> String {
    let superblock = cache.superblock();
    format!(
        "cache: {} at {}, index {}, {}",
        show_size(superblock.capacity),
        cache.path().display(),
        show_amount(superblock.geometry.index_len()),
        if made { "new" } else { "kept" }
    )
}

/// What was asked for and differs from what the cache that was found is.
fn ignored(args: &MountArgs, cache: &CacheDir) -> Option<String> {
    let superblock = cache.superblock();
    let differs = |asked: Option<u64>, is: u64| asked.filter(|asked| *asked != is);
    let size = differs(args.cache_size, superblock.capacity).map(|_| "--cache-size");
    // Numbers of slots and files are rounded up, so a little more than asked is what was asked.
    let short = |asked: Option<u64>, is: u32| {
        asked.is_some_and(|asked| asked > u64::from(is) || asked < u64::from(is) / 2)
    };
    let slots = short(args.slots, superblock.geometry.n_slots()).then_some("--slots");
    let files = short(args.files, superblock.geometry.n_blobs()).then_some("--files");
    let asked: Vec<&str> = [size, slots, files].into_iter().flatten().collect();
    (!asked.is_empty()).then(|| {
        format!(
            "cache: it keeps its own size, {} is not applied (remove {} to start anew)",
            asked.join(" and "),
            cache.path().display()
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
        format_args!("cannot open the cache in {}: {error}", dir.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser;

    fn args(more: &[&str]) -> MountArgs {
        let line = ["larder", "mount", "/a", "/b"].iter().chain(more);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Mount(args) => *args,
            _ => panic!("not a mount"),
        }
    }

    #[test]
    fn a_cache_keeps_its_size_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut quiet = Reporter::Terminal(super::super::report::Terminal::new());
        let small = args(&["--cache-size", "16M"]);
        let cache = open(&small, dir.path(), &mut quiet).unwrap();
        assert!(note(&cache, true).ends_with(", new"));
        assert!(note(&cache, true).contains("16.0 MiB"));
        assert_eq!(ignored(&small, &cache), None);
        assert_eq!(ignored(&args(&[]), &cache), None);
        let sentence = ignored(&args(&["--cache-size", "20M", "--slots", "9999"]), &cache);
        assert!(sentence.unwrap().contains("--cache-size and --slots"));
    }

    #[test]
    fn each_refusal_has_its_code() {
        let dir = tempfile::tempdir().unwrap();
        let mut quiet = Reporter::Terminal(super::super::report::Terminal::new());
        let mut refused = |more: &[&str]| open(&args(more), dir.path(), &mut quiet).unwrap_err();
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
        let _held = CacheDir::open_or_create(dir.path(), &held, &mut |_| {}).unwrap();
        let failure = refused(&[]);
        assert_eq!(failure.exit, Exit::InUse);
        assert!(failure.sentence.contains("--cache-dir of its own"));
    }
}
