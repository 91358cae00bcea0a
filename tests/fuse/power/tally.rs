//! What the runs of a rig have shown, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tree::Compared;

/// Counts of one rig.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    crashes: AtomicU64,
    trees: AtomicU64,
    bytes: AtomicU64,
    pending: AtomicU64,
    checks: AtomicU64,
    kept: AtomicU64,
    refused: AtomicU64,
}

impl Tally {
    /// The machine went down with so many unsynced changes.
    pub(crate) fn crashed(&self, pending: usize) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
        self.pending.fetch_add(pending as u64, Ordering::Relaxed);
    }

    /// A whole tree was compared.
    pub(crate) fn compared(&self, compared: &Compared) {
        self.trees.fetch_add(1, Ordering::Relaxed);
        let bytes = compared.bytes.load(Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// cachefsck mended a cache, and found nothing more.
    pub(crate) fn checked(&self) {
        self.checks.fetch_add(1, Ordering::Relaxed);
    }

    /// The kernel refused the file system that a cut left, until it was checked.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// So many files were cached in time, and must not come again.
    pub(crate) fn kept(&self, files: usize) {
        self.kept.fetch_add(files as u64, Ordering::Relaxed);
    }

    pub(crate) fn crashes(&self) -> u64 {
        self.crashes.load(Ordering::Relaxed)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [crashes, trees, bytes, pending, checks, kept, refused] = [
            &self.crashes,
            &self.trees,
            &self.bytes,
            &self.pending,
            &self.checks,
            &self.kept,
            &self.refused,
        ]
        .map(|count| count.load(Ordering::Relaxed));
        let (mib, each) = (bytes >> 20, pending / crashes.max(1));
        write!(
            f,
            "{crashes} crashes, {trees} trees ({mib} MiB) compared, {checks} caches checked twice"
        )?;
        if each > 0 {
            write!(f, ", {each} changes pending in each")?;
        }
        if kept > 0 {
            write!(f, ", {kept} times a file was cached in time")?;
        }
        if refused > 0 {
            write!(f, ", {refused} file systems mounted after e2fsck only")?;
        }
        Ok(())
    }
}
