//! From stat(2) to facts, and what each kind of file system promises.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use parking_lot::Mutex;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::units::{Facts, FileKind, Timestamp, Validator};

/// What a file system can be held to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Traits {
    /// Inode numbers survive a remount (vfat, exfat and FUSE make them up).
    pub(super) keeps_inodes: bool,
    /// A lease that is granted means that no program writes. On a network file system it says nothing of other machines, or
    /// is refused for want of a delegation.
    pub(super) leases_tell: bool,
}

/// The traits by statfs(2)'s magic number. An unknown file system is taken for a local one.
fn traits_of(magic: u64) -> Traits {
    const NO_INODES: [u64; 3] = [0x4d44, 0x2011_BAB0, FUSE];
    const FUSE: u64 = 0x6573_5546;
    const NETWORK: [u64; 12] = [
        FUSE,
        0x6969,      // NFS
        0xFF53_4D42, // CIFS
        0xFE53_4D42, // SMB2
        0x517B,      // SMB
        0x0102_1997, // 9P
        0x00C3_6400, // Ceph
        0x5346_414F, // OpenAFS
        0x6B41_4653, // AFS
        0x7375_7245, // Coda
        0x0BD0_0BD0, // Lustre
        0x4750_4653, // GPFS
    ];
    Traits {
        keeps_inodes: !NO_INODES.contains(&magic),
        leases_tell: !NETWORK.contains(&magic),
    }
}

/// The traits of the file systems met so far, by device number.
#[derive(Default)]
pub(super) struct FileSystems(Mutex<HashMap<u64, Traits>>);

impl FileSystems {
    /// The traits of the file system that `stat` lies on; `fd` is a descriptor on it, or opens one. Errors where no
    /// descriptor is left to ask with.
    pub(super) fn traits<Fd: std::os::fd::AsFd>(
        &self,
        stat: &Stat,
        fd: impl FnOnce() -> Result<Fd, Errno>,
    ) -> Result<Traits, Errno> {
        let device = stat.st_dev;
        if let Some(known) = self.0.lock().get(&device) {
            return Ok(*known);
        }
        let magic = match fd() {
            Err(error @ (Errno::MFILE | Errno::NFILE)) => return Err(error),
            Err(_) => None,
            Ok(fd) => magic(fd.as_fd()),
        };
        // What cannot be asked is held to nothing, and asked again the next time.
        let Some(magic) = magic else {
            return Ok(Traits {
                keeps_inodes: false,
                leases_tell: false,
            });
        };
        let traits = traits_of(magic);
        self.0.lock().insert(device, traits);
        Ok(traits)
    }
}

fn magic(fd: BorrowedFd<'_>) -> Option<u64> {
    let f_type = rustix::fs::fstatfs(fd).ok()?.f_type;
    // The type of f_type differs between architectures, and a magic above 2^31 may have been extended with its sign.
    Some(f_type as u64 & 0xFFFF_FFFF)
}

/// The facts that a stat(2) answer tells. Directories carry no validator: they have no bytes.
#[expect(
    clippy::unnecessary_cast,
    reason = "the field types of stat differ between architectures"
)]
pub(super) fn facts(stat: &Stat, traits: Traits) -> Option<Facts> {
    let kind = kind(FileType::from_raw_mode(stat.st_mode))?;
    let time = |secs: i64, nanos: u64| Timestamp {
        secs,
        nanos: u32::try_from(nanos).unwrap_or(0),
    };
    let mtime = time(stat.st_mtime as i64, stat.st_mtime_nsec as u64);
    let ctime = time(stat.st_ctime as i64, stat.st_ctime_nsec as u64);
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let ino = if traits.keeps_inodes {
        stat.st_ino as u64
    } else {
        0
    };
    let validator = Validator::Local {
        ino,
        size,
        mtime,
        ctime,
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the mask leaves twelve bits; the kernel's device numbers have 32"
    )]
    Some(Facts {
        kind,
        size,
        mtime,
        ctime,
        perm: (stat.st_mode & 0o7777) as u16,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: match kind {
            FileKind::CharDevice | FileKind::BlockDevice => stat.st_rdev as u32,
            _ => 0,
        },
        validator: (kind != FileKind::Dir).then_some(validator),
    })
}

/// The kind that a directory entry or a mode tells, if it is one that Linux knows.
pub(super) fn kind(file_type: FileType) -> Option<FileKind> {
    match file_type {
        FileType::RegularFile => Some(FileKind::File),
        FileType::Directory => Some(FileKind::Dir),
        FileType::Symlink => Some(FileKind::Symlink),
        FileType::Fifo => Some(FileKind::Fifo),
        FileType::Socket => Some(FileKind::Socket),
        FileType::CharacterDevice => Some(FileKind::CharDevice),
        FileType::BlockDevice => Some(FileKind::BlockDevice),
        FileType::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_is_held_to_what_it_keeps() {
        let ext4 = traits_of(0xEF53);
        assert!(ext4.keeps_inodes && ext4.leases_tell);
        let vfat = traits_of(0x4d44);
        assert!(!vfat.keeps_inodes && vfat.leases_tell);
        let nfs = traits_of(0x6969);
        assert!(nfs.keeps_inodes && !nfs.leases_tell);
        let fuse = traits_of(0x6573_5546);
        assert!(!fuse.keeps_inodes && !fuse.leases_tell);
    }

    #[test]
    fn an_inode_that_is_not_kept_is_not_in_the_validator() {
        let stat = rustix::fs::stat("/proc/self/exe").unwrap();
        let ino_of = |keeps_inodes| {
            let traits = Traits {
                keeps_inodes,
                leases_tell: true,
            };
            match facts(&stat, traits).unwrap().validator {
                Some(Validator::Local { ino, .. }) => ino,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ino_of(false), 0);
        assert_ne!(ino_of(true), 0);
    }
}
