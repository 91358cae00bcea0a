//! A real file system in an image file, on a loop device.

use std::fs::File;
use std::path::Path;

use larder::testing::Rng;

use super::mounts::{Loop, Mounted, tool, try_tool};

/// Which file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    /// The least that mkfs takes, and a rig's cache twice over.
    fn len(self) -> u64 {
        match self {
            Self::Ext4 => 160 << 20,
            Self::Xfs => 320 << 20,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// Makes a file with an empty file system in it.
    pub(crate) fn make(self, image: &Path) {
        let file = File::create(image).unwrap();
        file.set_len(self.len()).unwrap();
        drop(file);
        let image = image.to_str().unwrap();
        match self {
            Self::Ext4 => tool(
                "mkfs.ext4",
                "e2fsprogs",
                &["-q", "-F", "-E", "nodiscard", image],
            ),
            Self::Xfs => tool("mkfs.xfs", "xfsprogs", &["-q", "-f", "-K", image]),
        };
    }

    /// Mount options: ext4 orders data before the names and sizes that need it, or does not.
    fn options(self, rng: &mut Rng) -> &'static str {
        match (self, rng.chance(128)) {
            (Self::Ext4, true) => "data=ordered",
            (Self::Ext4, false) => "data=writeback",
            // A copy has the same number as its original.
            (Self::Xfs, _) => "nouuid",
        }
    }
}

/// A mounted image, until it is dropped. Its journal is replayed by the mount.
pub(crate) struct Volume {
    // Unmounted before the device is detached.
    _mounted: Mounted,
    _device: Loop,
    /// The kernel refused it until it was checked.
    pub(crate) was_refused: bool,
}

impl Volume {
    /// Mounts an image, as a boot after a power cut does: where the kernel refuses it, it is checked first. A torn
    /// superblock is such a case: ext4 has a checksum of it, and writes it in place.
    pub(crate) fn open(image: &Path, place: &Path, kind: Kind, rng: &mut Rng) -> Self {
        std::fs::create_dir_all(place).unwrap();
        let device = Loop::over(image, true);
        let mount = |options| Mounted::new(device.device(), place, kind.name(), options);
        let options = kind.options(rng);
        let mut was_refused = false;
        let mounted = mount(options).unwrap_or_else(|refusal| {
            assert_eq!(kind, Kind::Ext4, "{refusal}");
            was_refused = true;
            let path = device.device().to_str().unwrap();
            let (code, said) = try_tool("e2fsck", "e2fsprogs", &["-f", "-y", path]);
            assert!(matches!(code, Some(0 | 1)), "{refusal}: {said}");
            mount(options).unwrap_or_else(|again| panic!("{refusal}, and after e2fsck: {again}"))
        });
        Self {
            _mounted: mounted,
            _device: device,
            was_refused,
        }
    }
}
