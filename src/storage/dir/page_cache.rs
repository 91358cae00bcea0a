//! Whether bytes of a file are in memory, found out without touching the disk (cachestat(2)).
//!
//! A read with `RWF_NOWAIT` that finds a page missing has it brought in all the same, and where the queue of the device is
//! full, as that of a disk that hangs soon is, it waits for a place in it. So a thread that must not wait asks first.

use std::os::fd::{AsFd, AsRawFd};

/// The number of cachestat(2), which Linux has had since 6.5; the same on every architecture but a few old ones.
const CACHESTAT: libc::c_long = 451;
const PAGE: u64 = 4096;

#[repr(C)]
struct CachestatRange {
    offset: u64,
    len: u64,
}

#[repr(C)]
#[derive(Default)]
struct CachestatCounts {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether every page of these bytes is in memory; `None` where the kernel cannot say. Behind a file's end none is.
#[expect(unsafe_code, reason = "no crate has an interface to cachestat")]
pub(super) fn is_in_memory(file: impl AsFd, offset: u64, len: usize) -> Option<bool> {
    if cfg!(any(target_arch = "mips", target_arch = "mips64")) || len == 0 {
        return None;
    }
    let first = offset / PAGE;
    let pages = (offset + len as u64).div_ceil(PAGE) - first;
    let range = CachestatRange {
        offset: first * PAGE,
        len: pages * PAGE,
    };
    let mut counts = CachestatCounts::default();
    // SAFETY: both pointers are to whole values of the kernel's layout, which live until the call returns; the kernel reads
    // the first and writes the second.
    let result = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_fd().as_raw_fd(),
            &raw const range,
            &raw mut counts,
            0,
        )
    };
    (result == 0).then_some(counts.cached >= pages)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use rustix::fs::{Advice, fadvise};

    use super::*;

    #[test]
    fn what_was_written_is_in_memory_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .unwrap();
        file.write_all_at(&[7; 10 * 4096 + 5], 0).unwrap();
        // Kernels before 6.5 never say.
        if is_in_memory(&file, 0, 1).is_none() {
            return assert_eq!(is_in_memory(&file, 8192, 1), None);
        }
        assert_eq!(is_in_memory(&file, 100, 40_000), Some(true));
        assert_eq!(is_in_memory(&file, 10 * 4096, 5), Some(true));
        assert_eq!(is_in_memory(&file, 10 * 4096, 5000), Some(false), "its end");
        file.sync_all().unwrap();
        // The whole file: pages may lie in memory several together, and go together only.
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        assert_eq!(is_in_memory(&file, 8192, 1), Some(false));
        fadvise(&file, 0, None, Advice::Random).unwrap();
        file.read_exact_at(&mut [0; 100], 4096).unwrap();
        assert_eq!(is_in_memory(&file, 4096, 4096), Some(true));
        assert_eq!(is_in_memory(&file, 4096, 4097), Some(false));
        // Asking brought nothing in.
        assert_eq!(is_in_memory(&file, 8192, 4096), Some(false));
    }
}
