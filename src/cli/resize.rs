//! `larder resize`: another size, or another index, for a cache that is not mounted.

use std::io::{self, IsTerminal};

use indicatif::ProgressBar;

use super::args::ResizeArgs;
use super::error::{Exit, Failure};
use super::output;
use super::quantity::show_size;
use crate::storage::{CacheDirError, ResizeOptions, Resized};

/// Runs the command.
pub(super) fn run(args: &ResizeArgs) -> Result<(), Failure> {
    let options = ResizeOptions {
        capacity: args.cache_size,
        slots: args.slots,
        files: args.files,
    };
    let bar = if io::stderr().is_terminal() {
        ProgressBar::new(0)
    } else {
        ProgressBar::hidden()
    };
    let resized = crate::storage::resize(&args.cache, &options, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    output::line(format_args!(
        "{}",
        sentence(&resized.map_err(|error| failure(&error))?)
    ))
}

fn sentence(resized: &Resized) -> String {
    let superblock = &resized.superblock;
    let geometry = &superblock.geometry;
    let mut sentence = format!(
        "the cache may take {}, its index {} of that: {} chunks of {} files; {} chunks of {} files were kept",
        show_size(superblock.capacity),
        show_size(geometry.index_len()),
        geometry.n_slots(),
        geometry.n_blobs(),
        resized.chunks,
        resized.files
    );
    if resized.chunks_dropped + resized.files_dropped > 0 {
        let dropped = format!(
            ", {} chunks and {} files did not fit",
            resized.chunks_dropped, resized.files_dropped
        );
        sentence.push_str(&dropped);
    }
    sentence
}

fn failure(error: &CacheDirError) -> Failure {
    match error {
        CacheDirError::Locked { .. } => Failure::new(
            Exit::InUse,
            format_args!(
                "{error}: unmount that first (or, to change the size alone, use larder set-size, which needs no unmount)"
            ),
        ),
        CacheDirError::Geometry(_) | CacheDirError::IndexTooLarge { .. } => {
            Failure::new(Exit::Usage, error)
        }
        _ => Failure::new(Exit::Cache, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{CacheDir, CreateOptions, open_or_create};

    #[test]
    fn a_cache_is_resized_unless_a_daemon_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        let args = |cache_size, slots| ResizeArgs {
            cache: dir.path().into(),
            cache_size,
            slots,
            files: None,
        };
        let missing = run(&args(None, None)).unwrap_err();
        assert_eq!(missing.exit, Exit::Cache);
        let cache = open_or_create(dir.path(), &options, &mut |_| {}).unwrap();
        let held = run(&args(Some(64 << 20), None)).unwrap_err();
        assert_eq!(held.exit, Exit::InUse);
        assert!(held.sentence.contains("set-size"), "{held}");
        let before = *cache.superblock();
        drop(cache);
        for bad in [args(Some(1 << 20), None), args(None, Some(1 << 20))] {
            assert_eq!(run(&bad).unwrap_err().exit, Exit::Usage);
        }
        run(&args(Some(64 << 20), None)).unwrap();
        let after = *CacheDir::open(dir.path()).unwrap().superblock();
        assert_eq!((after.capacity, after.uuid), (64 << 20, before.uuid));
        assert_eq!(after.geometry.n_slots(), 4 * before.geometry.n_slots());
        assert!(after.sequence > before.sequence);
        run(&args(None, Some(1024))).unwrap();
        let fewer = *CacheDir::open(dir.path()).unwrap().superblock();
        assert_eq!(fewer.geometry.n_blobs(), after.geometry.n_blobs(), "kept");
        assert_eq!(fewer.geometry.n_slots(), 1024);
    }
}
