//! Rig B: a real ext4 and a real XFS on a device that loses, keeps and tears the sectors that were not flushed. The image
//! is a file of the lossy disk with a loop device over it, which hands its flushes down as fsync(2).

use std::fs::create_dir_all;
use std::path::{Path, PathBuf};

use super::budget::{Runs, each_seed, is_caught};
use super::daemon::Variant;
use super::images::{Platter, crash};
use super::lossy::{LossyDisk, LossyMount};
use super::volume::Kind;

const IMAGE: &str = "image";

/// The lossy disk as what an image lies on.
struct Sectors;

impl Platter for Sectors {
    type Disk = LossyDisk;
    type Attached = LossyMount;

    fn new(_: &Path) -> Self {
        Self
    }

    fn fresh(&self, dir: &Path, kind: Kind) -> LossyDisk {
        let (disk, place) = (LossyDisk::default(), dir.join("fresh"));
        create_dir_all(&place).unwrap();
        let mounted = disk.mount(&place);
        kind.make(&place.join(IMAGE));
        drop(mounted);
        disk.sync();
        disk
    }

    fn attach(&self, disk: &LossyDisk, place: &Path) -> (LossyMount, PathBuf) {
        (disk.mount(place), place.join(IMAGE))
    }

    fn cut(&self, disk: &LossyDisk, seed: u64) -> LossyDisk {
        disk.cut(seed)
    }

    fn pending(&self, disk: &LossyDisk) -> usize {
        disk.pending()
    }
}

const EXT4: Runs = Runs {
    name: "lost sectors under ext4",
    quick: 12,
    full: 50,
    per_cache: 12,
};
const XFS: Runs = Runs {
    name: "lost sectors under XFS",
    ..EXT4
};

#[test]
fn lost_and_torn_sectors_under_ext4_give_no_wrong_byte() {
    each_seed(&EXT4, |cache, tally| {
        crash::<Sectors>(cache, Kind::Ext4, Variant::Safe, tally)
    });
}

#[test]
fn lost_and_torn_sectors_under_xfs_give_no_wrong_byte() {
    each_seed(&XFS, |cache, tally| {
        crash::<Sectors>(cache, Kind::Xfs, Variant::Safe, tally)
    });
}

#[test]
fn a_daemon_that_trusts_every_checksum_is_caught_by_lost_sectors_under_ext4() {
    let variant = Variant::TrustChecksums;
    is_caught(&EXT4, |cache, tally| {
        crash::<Sectors>(cache, Kind::Ext4, variant, tally)
    });
}

#[test]
fn a_daemon_that_trusts_every_checksum_is_caught_by_lost_sectors_under_xfs() {
    let variant = Variant::TrustChecksums;
    is_caught(&XFS, |cache, tally| {
        crash::<Sectors>(cache, Kind::Xfs, variant, tally)
    });
}
