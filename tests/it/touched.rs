//! A cache whose files somebody has done something to: made them immutable, or given them second names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use larder::storage::{CacheDir, ChunkFile, CreateOptions, Storage, open_or_create};
use larder::units::SlotId;

const FILE: ChunkFile = ChunkFile {
    slot: SlotId(5),
    generation: 1,
};

fn make(path: &Path) -> CacheDir {
    let options = CreateOptions {
        capacity: 16 << 20,
        slots: None,
        files: None,
    };
    open_or_create(path, &options, &mut |_| {}).unwrap()
}

/// What may be read, but not written: root is stopped by no mode, but by the attribute "immutable".
#[test]
fn a_file_that_may_only_be_read_is_read() {
    struct Immutable(PathBuf);
    impl Immutable {
        fn set(&self, flag: &str) -> bool {
            let mut chattr = std::process::Command::new("chattr");
            chattr.arg(flag).arg(&self.0).status().unwrap().success()
        }
    }
    impl Drop for Immutable {
        fn drop(&mut self) {
            self.set("-i");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    make(dir.path()).write_chunk(FILE, 0, b"data").unwrap();
    let path = dir.path().join("chunks/00/0000/00000005");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let immutable = rustix::process::geteuid()
        .is_root()
        .then(|| Immutable(path.clone()));
    if let Some(immutable) = &immutable {
        let set = immutable.set("+i");
        assert!(
            set,
            "root needs a temporary directory where chattr +i works"
        );
    }
    let cache = CacheDir::open_for_repair(dir.path()).unwrap();
    let mut buf = [0; 4];
    for _ in 0..2 {
        assert_eq!(cache.read_chunk(FILE, 0, &mut buf).unwrap(), 4);
        assert_eq!(&buf, b"data");
        assert!(cache.write_chunk(FILE, 0, b"lost").is_err());
    }
    drop(immutable);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // The next one that can write does.
    cache.write_chunk(FILE, 0, b"next").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"next");
}

#[test]
fn a_backup_of_hard_links_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("cache");
    let path = top.join("chunks/00/0000/00000005");
    for read_first in [false, true] {
        fs::remove_file(&path).unwrap_or_default();
        make(&top).write_chunk(FILE, 0, b"what was").unwrap();
        let backup = dir.path().join(format!("backup-{read_first}"));
        fs::hard_link(&path, &backup).unwrap();
        let cache = make(&top);
        let mut buf = [0; 8];
        if read_first {
            assert_eq!(cache.read_chunk(FILE, 0, &mut buf).unwrap(), 8);
            assert_eq!(&buf, b"what was");
        }
        cache.write_chunk(FILE, 4, b"is now").unwrap();
        assert_eq!(fs::read(&backup).unwrap(), b"what was");
        assert_eq!(fs::read(&path).unwrap(), b"\0\0\0\0is now");
        assert_eq!(cache.read_chunk(FILE, 4, &mut buf).unwrap(), 6);
        assert_eq!(&buf[..6], b"is now");
    }
}
