//! Descriptors of chunk files for the kernel.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;

use super::{CacheDir, ChunkFile};

impl CacheDir {
    /// Opens a chunk file for reading alone. The descriptor is a new one, and belongs to the caller: the cache of
    /// descriptors may close its own at any time, and its own could be written through.
    pub(super) fn lend_chunk(&self, file: ChunkFile) -> io::Result<OwnedFd> {
        let open = self.open_chunk(&self.place(file.slot), OFlags::RDONLY)?;
        Ok(open.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::storage::{CreateOptions, Storage};
    use crate::units::SlotId;

    #[test]
    fn the_descriptor_reads_the_chunk_file_and_cannot_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        let cache = CacheDir::open_or_create(dir.path(), &options, &mut |_| {}).unwrap();
        let file = ChunkFile {
            slot: SlotId(3),
            generation: 7,
        };
        let absent = cache.lend(file).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        assert!(!dir.path().join("chunks").exists(), "lending makes nothing");
        cache.write_chunk(file, 0, b"the first bytes").unwrap();
        let lent = File::from(cache.lend(file).unwrap());
        let read = || {
            let mut bytes = [0; 15];
            lent.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        assert_eq!(&read(), b"the first bytes");
        // It is the file itself, not a copy.
        cache.write_chunk(file, 4, b"other").unwrap();
        assert_eq!(&read(), b"the other bytes");
        let flags = rustix::fs::fcntl_getfl(&lent).unwrap();
        assert_eq!(flags & OFlags::RWMODE, OFlags::RDONLY);
        assert!(lent.write_at(b"x", 0).is_err());
        assert!(lent.set_len(0).is_err());
        // Neither an unlinked file nor a closed cache takes the bytes from under the kernel.
        cache.remove_chunk(file.slot).unwrap();
        assert!(cache.lend(file).is_err());
        drop(cache);
        assert_eq!(&read(), b"the other bytes");
    }

    #[test]
    fn a_cache_that_is_only_looked_at_lends_too() {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        let cache = CacheDir::open_or_create(dir.path(), &options, &mut |_| {}).unwrap();
        let file = ChunkFile {
            slot: SlotId(0),
            generation: 0,
        };
        cache.write_chunk(file, 0, b"x").unwrap();
        let looking = CacheDir::open_unlocked(dir.path()).unwrap();
        let lent = File::from(looking.lend(file).unwrap());
        assert_eq!(lent.metadata().unwrap().len(), 1);
    }
}
