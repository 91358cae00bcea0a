//! Rig C: power cuts on real file systems. An image with ext4 or XFS lies on a btrfs and is copied by reflink at random
//! moments while the daemon works in it: each copy is the disk as a cut at that moment would leave it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::budget::{Runs, each_seed, is_caught};
use super::daemon::Variant;
use super::images::{Platter, crash};
use super::mounts::{Loop, Mounted, tool};
use super::volume::Kind;

/// The length of the btrfs. Its file has holes, so that it takes only what is written.
const LEN: u64 = 2 << 30;

/// A btrfs in a file.
struct Btrfs {
    place: PathBuf,
    // Unmounted before the device is detached.
    _mounted: Mounted,
    _device: Loop,
}

/// An image on it, removed when it is dropped.
struct Image(PathBuf);

impl Drop for Image {
    fn drop(&mut self) {
        // It goes with the btrfs at the latest.
        let _ = fs::remove_file(&self.0);
    }
}

impl Platter for Btrfs {
    type Disk = Image;
    type Attached = ();

    fn new(dir: &Path) -> Self {
        let (file, place) = (dir.join("file"), dir.join("btrfs"));
        fs::create_dir(&place).unwrap();
        File::create(&file).unwrap().set_len(LEN).unwrap();
        let path = file.to_str().unwrap();
        tool("mkfs.btrfs", "btrfs-progs", &["-q", "-K", path]);
        let device = Loop::over(&file, false);
        let mounted = Mounted::new(device.device(), &place, "btrfs", "nodiscard").unwrap();
        Self {
            place,
            _mounted: mounted,
            _device: device,
        }
    }

    fn fresh(&self, _: &Path, kind: Kind) -> Image {
        let image = Image(self.place.join("image"));
        kind.make(&image.0);
        image
    }

    fn attach(&self, disk: &Image, _: &Path) -> ((), PathBuf) {
        ((), disk.0.clone())
    }

    fn cut(&self, disk: &Image, seed: u64) -> Image {
        let copy = Image(self.place.join(format!("copy-{seed}")));
        let [from, to] = [disk, &copy].map(|image| image.0.to_str().unwrap());
        tool("cp", "coreutils", &["--reflink=always", from, to]);
        copy
    }

    fn pending(&self, _: &Image) -> usize {
        0
    }
}

const EXT4: Runs = Runs {
    name: "reflink cuts of ext4",
    quick: 12,
    full: 50,
    per_cache: 12,
};
const XFS: Runs = Runs {
    name: "reflink cuts of XFS",
    ..EXT4
};

#[test]
fn no_cut_of_a_real_ext4_gives_a_wrong_byte() {
    each_seed(&EXT4, |cache, tally| {
        crash::<Btrfs>(cache, Kind::Ext4, Variant::Safe, tally)
    });
}

#[test]
fn no_cut_of_a_real_xfs_gives_a_wrong_byte() {
    each_seed(&XFS, |cache, tally| {
        crash::<Btrfs>(cache, Kind::Xfs, Variant::Safe, tally)
    });
}

#[test]
fn a_daemon_that_trusts_every_checksum_is_caught_by_cuts_of_ext4() {
    let variant = Variant::TrustChecksums;
    is_caught(&EXT4, |cache, tally| {
        crash::<Btrfs>(cache, Kind::Ext4, variant, tally)
    });
}

#[test]
fn a_daemon_that_trusts_every_checksum_is_caught_by_cuts_of_xfs() {
    let variant = Variant::TrustChecksums;
    is_caught(&XFS, |cache, tally| {
        crash::<Btrfs>(cache, Kind::Xfs, variant, tally)
    });
}
