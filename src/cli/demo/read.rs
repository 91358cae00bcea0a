//! Reading through the mount, with every byte held against what was written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::ProgressBar;

use super::sample::{PIECE, Sample, pieces};
use crate::cli::error::Failure;
use crate::units::shown;

/// A sample with the checksums of its pieces.
pub(super) struct Written {
    /// The file.
    pub sample: Sample,
    /// The checksum of each [`PIECE`] of it.
    pub sums: Vec<u32>,
}

/// Reads the whole file at `root` and compares it. Calls `step` with the bytes of each piece read; it may stop the
/// reading with an error.
pub(super) fn whole(
    root: &Path,
    written: &Written,
    step: &(dyn Fn(u64) -> Result<(), Failure> + Sync),
) -> Result<u64, Failure> {
    let path = root.join(&written.sample.name);
    let cannot = |e: std::io::Error| {
        Failure::failed(format_args!(
            "cannot read {} through the mount: {e}",
            shown(&path)
        ))
    };
    let file = File::open(&path).map_err(cannot)?;
    let len = file.metadata().map_err(cannot)?.len();
    if len != written.sample.len {
        let expected = written.sample.len;
        return Err(wrong(
            &path,
            &format!("{len} bytes long instead of {expected}"),
        ));
    }
    let mut buf = vec![0u8; PIECE];
    for ((offset, len), sum) in pieces(len).zip(&written.sums) {
        let piece = buf.get_mut(..len).unwrap_or_default();
        file.read_exact_at(piece, offset).map_err(cannot)?;
        if crc32fast::hash(piece) != *sum {
            return Err(wrong(
                &path,
                &format!("wrong in the {len} bytes at offset {offset}"),
            ));
        }
        step(len as u64)?;
    }
    Ok(len)
}

/// Reads many files with `readers` threads and compares them. Returns the bytes read.
pub(super) fn many(
    root: &Path,
    files: &[Written],
    readers: usize,
    step: &(dyn Fn(u64) -> Result<(), Failure> + Sync),
) -> Result<u64, Failure> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut bytes = 0;
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            bytes += whole(root, file, step)?;
        }
        Ok::<u64, Failure>(bytes)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..readers).map(|_| scope.spawn(run)).collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => Err(Failure::failed(
                "a reading thread of the demo panicked: this is a bug in larder",
            )),
        });
        ended.sum()
    })
}

/// Drops what the kernel itself keeps of these files, so that the next read is larder's to answer.
pub(super) fn forget_pages(root: &Path, files: &[Written]) -> Result<(), Failure> {
    for written in files {
        let file = File::open(root.join(&written.sample.name))?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
            .map_err(std::io::Error::from)?;
    }
    Ok(())
}

/// Reads one byte.
pub(super) fn byte(path: &Path, offset: u64) -> Result<u8, Failure> {
    let mut one = [0u8];
    File::open(path)?.read_exact_at(&mut one, offset)?;
    let [byte] = one;
    Ok(byte)
}

/// The failure of bytes that are not those written.
pub(super) fn wrong(path: &Path, how: &str) -> Failure {
    Failure::failed(format_args!(
        "{} is {how}: this is a bug in larder, please report it",
        shown(&path)
    ))
}

/// A step for [`whole`] that moves a bar.
pub(super) fn moving<'a>(
    bar: &'a ProgressBar,
    go_on: &'a (dyn Fn() -> Result<(), Failure> + Sync),
) -> impl Fn(u64) -> Result<(), Failure> + Sync + 'a {
    move |bytes| {
        bar.inc(bytes);
        go_on()
    }
}
