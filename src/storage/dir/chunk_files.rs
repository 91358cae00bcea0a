//! The chunk files of an open cache directory: opened, made, unlinked, lent to the kernel.
//!
//! Invariants:
//!
//! * Descriptors of chunk files are `FADV_RANDOM`, so that the kernel brings in no block that was not asked for: verified
//!   means "in the page cache since it was checked".
//! * No lock is held over a system call.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Advice, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::cache_dir::CacheDir;
use super::descriptors::patiently;
use super::open_at::{open_at, open_at_cached};
use super::paths::parents;
use crate::storage::api::{ChunkFile, NowRead};

impl CacheDir {
    /// How a chunk file is opened that is there.
    fn access(&self) -> OFlags {
        if self.read_only {
            OFlags::RDONLY
        } else {
            OFlags::RDWR
        }
    }

    /// Opens a chunk file. Short of descriptors, it gives up cached ones, and waits.
    fn open_chunk(&self, path: &str, flags: OFlags) -> io::Result<File> {
        // The time of a read is of no use, and noting it can wait for a disk that hangs. Only an owner may leave it out.
        let open = || match open_at(self.dir(), path, flags | OFlags::NOATIME) {
            Err(Errno::PERM) => open_at(self.dir(), path, flags),
            other => other,
        };
        let file = patiently(|| self.files.shrink(), open)?;
        // A file system without advice reads ahead at worst.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Random);
        Ok(file)
    }

    /// The open file of a slot in this tenancy; `None` where it does not exist.
    pub(super) fn existing(&self, file: ChunkFile) -> io::Result<Option<Arc<File>>> {
        if let Some(open) = self.files.get(file) {
            return Ok(Some(open));
        }
        let place = self.place(file.slot);
        match self.open_chunk(&place, self.access()) {
            Ok(open) if self.read_only || !is_shared(&open)? => Ok(Some(self.keep(file, open))),
            // A write must not find it open.
            Ok(open) => Ok(Some(Arc::new(open))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if !self.read_only && is_refused_writing(&error) => {
                let open = self.open_chunk(&place, OFlags::RDONLY)?;
                Ok(Some(Arc::new(open)))
            }
            Err(error) => Err(error),
        }
    }

    /// The open file of a slot in this tenancy, if it can be had without waiting. `Err` is the answer for the reader.
    pub(super) fn existing_now(&self, file: ChunkFile) -> Result<Arc<File>, NowRead> {
        if self.nowait.is_unsupported() {
            return Err(NowRead::Unsupported);
        }
        if let Some(open) = self.files.get(file) {
            return Ok(open);
        }
        let flags = self.access() | OFlags::NOATIME;
        let open = match open_at_cached(self.dir(), &self.place(file.slot), flags) {
            Ok(open) => open,
            Err(Errno::NOENT) => return Err(NowRead::Bytes(0)),
            // Whatever the matter is, a thread of the disk pool finds it out.
            Err(_) => return Err(NowRead::Refused),
        };
        let _ = rustix::fs::fadvise(&open, 0, None, Advice::Random);
        if self.read_only || is_shared(&open).is_ok_and(|shared| !shared) {
            Ok(self.keep(file, open))
        } else {
            Ok(Arc::new(open))
        }
    }

    /// The open file of a slot in this tenancy, made where it does not exist, with the directories above it. A file that
    /// has a second name (a backup made with hard links) is left to it: what this tenancy had in it is a miss from now on.
    pub(super) fn existing_or_new(&self, file: ChunkFile) -> io::Result<Arc<File>> {
        if let Some(open) = self.files.get(file) {
            return Ok(open);
        }
        let path = self.place(file.slot);
        let flags = OFlags::RDWR | OFlags::CREATE;
        let mut open = match self.open_chunk(&path, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                for parent in parents(&path) {
                    match rustix::fs::mkdirat(self.dir(), parent, Mode::RWXU) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                self.open_chunk(&path, flags)
            }
            other => other,
        }?;
        if is_shared(&open)? {
            self.unlink(&path)?;
            open = self.open_chunk(&path, flags)?;
        }
        Ok(self.keep(file, open))
    }

    /// Removes a file below the directory, through no link.
    pub(super) fn unlink(&self, path: &str) -> Result<(), Errno> {
        let Some((parent, name)) = path.rsplit_once('/') else {
            return rustix::fs::unlinkat(self.dir(), path, AtFlags::empty());
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let open = || open_at(self.dir(), parent, flags);
        let parent = patiently(|| self.files.shrink(), open)?;
        rustix::fs::unlinkat(parent, name, AtFlags::empty())
    }

    fn keep(&self, file: ChunkFile, open: File) -> Arc<File> {
        let open = Arc::new(open);
        self.files.insert(file, Arc::clone(&open));
        open
    }

    /// Opens a chunk file for reading alone. The descriptor is a new one, and belongs to the caller: the cache of
    /// descriptors may close its own at any time, and its own could be written through.
    pub(super) fn lend_chunk(&self, file: ChunkFile) -> io::Result<OwnedFd> {
        let open = self.open_chunk(&self.place(file.slot), OFlags::RDONLY)?;
        Ok(open.into())
    }
}

/// Whether a file has another name as well, under which it is to stay as it is (a backup made with hard links).
fn is_shared(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_nlink > 1)
}

/// Whether a file may perhaps be read although it was not opened for writing as well.
fn is_refused_writing(error: &io::Error) -> bool {
    let refused = [Errno::PERM, Errno::ACCESS, Errno::ROFS, Errno::TXTBSY];
    Errno::from_io_error(error).is_some_and(|error| refused.contains(&error))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::storage::{CreateOptions, Storage, open_or_create};
    use crate::units::SlotId;

    #[test]
    fn the_descriptor_reads_the_chunk_file_and_cannot_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        let cache = open_or_create(dir.path(), &options, &mut |_| {}).unwrap();
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
        let cache = open_or_create(dir.path(), &options, &mut |_| {}).unwrap();
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
