//! Which places are refused as a cache directory. The rules are pure; `open.rs` looks and applies them.

use std::ffi::OsStr;
use std::fs::File;

use super::host_identity::mountinfo_id;
use super::paths::{DIRTY_NAME, INDEX_NAME};

/// File systems of the network or of a cluster, by the number that statfs(2) gives.
const NETWORK_MAGICS: &[(u32, &str)] = &[
    (0x0000_6969, "nfs"),
    (0x0000_517B, "smb"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb2"),
    (0x0102_1997, "9p"),
    (0x00C3_6400, "ceph"),
    (0x0116_1970, "gfs2"),
    (0x7461_636F, "ocfs2"),
    (0x0BD0_0BD0, "lustre"),
    (0x5346_414F, "afs"),
    (0x6B41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x0000_564C, "ncpfs"),
    (0x4750_4653, "gpfs"),
    (0xAAD7_AAEA, "panfs"),
    (0x1983_0326, "beegfs"),
    (0x2003_0528, "orangefs"),
    (0x786F_4256, "vboxsf"),
    (0xBACB_ACBC, "vmhgfs"),
];
const FUSE_MAGIC: u32 = 0x6573_5546;
/// FUSE says nothing of what lies behind it. These are known to be a network; whatever is not known is allowed, since
/// local ones (ntfs-3g, mergerfs, gocryptfs) are many.
const NETWORK_FUSE: &[&str] = &[
    "fuse.larder",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.goofys",
    "fuse.gcsfuse",
    "fuse.blobfuse",
    "fuse.blobfuse2",
    "fuse.mountpoint-s3",
    "fuse.juicefs",
    "fuse.JuiceFS",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "fuse.curlftpfs",
    "fuse.davfs",
    "fuse.davfs2",
    "fuse.gvfsd-fuse",
    "fuse.httpdirfs",
    "fuse.cvmfs2",
    "fuse.cvmfs",
    "fuse.hf-mount",
    "fuse.seaweedfs",
    "fuse.mfs",
    "fuse.mfsmount",
    "fuse.lizardfs",
    "fuse.google-drive-ocamlfuse",
    "fuse.geesefs",
    "fuse.afp",
    "fuse.smbnetfs",
    "fuse.vmhgfs-fuse",
];

/// What larder itself puts into a cache directory, and what a file system's root has of its own. `dirty` is missing: bytes
/// of a user that lie there belong to an index, so that a directory with it and without one is no place for a new cache.
const OWN_NAMES: &[&str] = &[
    "LOCK",
    "larder.log",
    "larder.log.old",
    "larder.sock",
    "index.larder.new",
    "chunks",
    "quarantine",
    "lost+found",
];

/// The name of the network or cluster file system that holds `dir`; `None` where it is a local one.
pub(super) fn network_fs(dir: &File) -> std::io::Result<Option<String>> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "file system magics have 32 bits, whatever the type"
    )]
    let magic = rustix::fs::fstatfs(dir)?.f_type as u32;
    if magic != FUSE_MAGIC {
        return Ok(network_name(magic).map(str::to_owned));
    }
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let name = mountinfo_id(dir).and_then(|id| fs_type(&table, id));
    Ok(name
        .filter(|name| NETWORK_FUSE.contains(name))
        .map(str::to_owned))
}

fn network_name(magic: u32) -> Option<&'static str> {
    NETWORK_MAGICS
        .iter()
        .find(|(known, _)| *known == magic)
        .map(|(_, name)| *name)
}

/// The file system type of mount `id` in the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): the first word
/// behind the separator `-`.
fn fs_type(mountinfo: &str, id: u64) -> Option<&str> {
    mountinfo.lines().find_map(|line| {
        let mut words = line.split(' ');
        (words.next()?.parse::<u64>().ok()? == id).then_some(())?;
        words.skip_while(|word| *word != "-").nth(1)
    })
}

/// The first of the names in a directory without an index that forbids making a cache there. `chunks` and `quarantine`
/// are common words: they count as larder's own only beside its lock file.
pub(super) fn foreign_name<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let ours = names.clone().any(|name| name == super::lock::LOCK_NAME);
    let mut names = names;
    names.find(|name| {
        !OWN_NAMES.contains(name) || (!ours && ["chunks", "quarantine"].contains(name))
    })
}

/// Whether cachefsck leaves a thing of this name alone at the top of a cache directory.
pub(super) fn belongs_here(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return name.as_encoded_bytes().starts_with(b".");
    };
    let others = [INDEX_NAME, DIRTY_NAME, "CACHEDIR.TAG"];
    let known = OWN_NAMES.contains(&name) || others.contains(&name);
    known || name.starts_with('.') || name.starts_with("larder.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_known_by_number_and_by_name() {
        assert_eq!(network_name(0x6969), Some("nfs"));
        assert_eq!(network_name(0xFF53_4D42), Some("cifs"));
        assert_eq!(network_name(0xEF53), None, "ext4");
        let table = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                     31 27 0:55 / /m\\040x rw shared:1 master:2 - fuse.sshfs me@host:/ rw,user_id=0\n";
        assert_eq!(fs_type(table, 31), Some("fuse.sshfs"));
        assert_eq!(fs_type(table, 22), Some("proc"));
        assert_eq!(fs_type(table, 27), None);
        assert!(NETWORK_FUSE.contains(&"fuse.sshfs"));
    }

    #[test]
    fn only_what_larder_made_is_no_stranger() {
        let foreign = |names: &[&'static str]| foreign_name(names.iter().copied());
        assert_eq!(foreign(&[]), None);
        assert_eq!(foreign(&["lost+found"]), None);
        assert_eq!(
            foreign(&["LOCK", "chunks", "index.larder.new", "larder.log"]),
            None
        );
        assert_eq!(foreign(&["chunks"]), Some("chunks"));
        assert_eq!(foreign(&["LOCK", "thesis.tex"]), Some("thesis.tex"));
        assert_eq!(foreign(&["LOCK", "dirty"]), Some("dirty"));
        for name in ["index.larder", "dirty", "LOCK", ".nfs01", "larder.log.7"] {
            assert!(belongs_here(OsStr::new(name)), "{name}");
        }
        for name in ["thesis.tex", "index", "Chunks", "larder"] {
            assert!(!belongs_here(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn this_machines_disk_is_local() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(network_fs(&File::open(dir.path()).unwrap()).unwrap(), None);
    }
}
