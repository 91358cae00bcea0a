//! Writeback, provoked: larder syncs no data, and a kernel left to itself would write nothing within a rig's seconds. So
//! somebody beside the daemon has this and that written back, in any order, with and without the file system's own
//! metadata.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder::testing::Rng;

/// What is written back in one stretch of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// Anything.
    Any,
    /// The index alone, over a disk that has all older bytes: what it says then is ahead of the files.
    IndexAhead,
    /// Files alone: the index stays behind.
    IndexBehind,
}

impl Mood {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        match rng.below(6) {
            0..3 => Self::IndexAhead,
            3 => Self::IndexBehind,
            _ => Self::Any,
        }
    }

    /// Before the stretch.
    pub(crate) fn begin(self, cache: &Path) {
        if self != Self::Any {
            with(&cache.join("index.larder"), |file| {
                Ok(rustix::fs::syncfs(file)?)
            });
        }
    }
}

/// Has something of a cache directory written back.
pub(crate) fn provoke(cache: &Path, mood: Mood, rng: &mut Rng) {
    let mut files = Vec::new();
    chunk_files(&cache.join("chunks"), &mut files);
    let index = cache.join("index.larder");
    let any = |rng: &mut Rng| match files.is_empty() {
        true => index.clone(),
        false => files[rng.index(files.len())].clone(),
    };
    // Mostly without a flush, so that the disk has something to lose.
    let flushes = rng.chance(40);
    let of_index = match mood {
        Mood::Any => rng.chance(128),
        Mood::IndexAhead => true,
        Mood::IndexBehind => false,
    };
    match (flushes, of_index) {
        (true, true) => with(&index, |file| file.sync_data()),
        (true, false) if mood == Mood::Any && rng.chance(85) => {
            with(&index, |file| Ok(rustix::fs::syncfs(file)?));
        }
        (true, false) => with(&any(rng), |file| file.sync_all()),
        (false, true) => with(&index, write_back),
        (false, false) => {
            (0..rng.below(32)).for_each(|_| with(&any(rng), write_back));
        }
    }
    std::thread::sleep(Duration::from_micros(rng.below(4000)));
}

/// A file may be gone by now.
fn with(path: &Path, work: impl FnOnce(&File) -> std::io::Result<()>) {
    if let Ok(file) = File::options().write(true).open(path) {
        work(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// Writes the pages of a file that have a place on the disk to it: no metadata, no flush.
#[expect(unsafe_code, reason = "rustix has no sync_file_range")]
fn write_back(file: &File) -> std::io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the descriptor is open, and no memory is handed over.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn chunk_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => chunk_files(&entry.path(), files),
            _ => files.push(entry.path()),
        }
    }
}
