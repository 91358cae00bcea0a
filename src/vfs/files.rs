//! Requests about open files: open, read, release, lseek.

use std::sync::Arc;

use bytes::Bytes;

use super::events::{Event, Which};
use super::{Answer, Errno, Vfs, errno, guarded};
use crate::engine::{Blob, ReadError, Reader};
use crate::units::{ByteRange, FileKind};

/// One open file.
pub struct OpenFile {
    which: Which,
    reader: Reader,
    /// The size that the kernel may still believe in: that of the version which the facts named at the open.
    size: u64,
}

impl OpenFile {
    /// Fills the front of `buf` with the bytes from `offset` if that needs no waiting; see [`Reader::read_now`].
    pub fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<usize> {
        let got = self.reader.read_now(offset, buf)?;
        (!misleads(self.size, offset, buf.len() as u64, got as u64)).then_some(got)
    }
}

/// Whether an answer of `got` bytes would mislead the kernel: it asks for pages that the file had when it was opened and
/// has no more, since its first fetch has found a newer and shorter version. It has not heard of that yet, and would show
/// zeros.
fn misleads(size: u64, offset: u64, len: u64, got: u64) -> bool {
    let end = offset + got;
    got < len && end < size && offset + len > end.next_multiple_of(4096)
}

/// The answer to an open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The handle.
    pub handle: u64,
    /// Whether the pages that the kernel has of the inode are of this version.
    pub keep_cache: bool,
}

impl Vfs {
    /// Opens a file for reading; `flags` are those of open(2).
    pub fn open(
        self: &Arc<Self>,
        ino: u64,
        flags: i32,
        done: impl FnOnce(Answer<Opened>) + Send + 'static,
    ) {
        if flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0 {
            return done(Err(Errno::ROFS));
        }
        let vfs = Arc::clone(self);
        self.check(ino, move |answer| {
            done(answer.and_then(|()| vfs.opened(ino)));
        });
    }

    fn opened(self: &Arc<Self>, ino: u64) -> Answer<Opened> {
        let (blob, which) = self.blob(ino)?;
        if blob.has_expired() {
            blob.supersede();
        }
        if blob.is_superseded() {
            // At once, not on the events' thread: the kernel looks the name up again as soon as it has this answer.
            self.carry_out_superseded(which);
            return Err(Errno::STALE);
        }
        {
            let mut table = self.table.lock();
            let inode = table.get_mut(ino).ok_or(Errno::STALE)?;
            if inode.superseded {
                drop(table);
                blob.supersede();
                return Err(Errno::STALE);
            }
            inode.opens += 1;
        }
        let keep_cache = blob.keeps_pages();
        let handle = self.handle();
        let (reader, size) = (blob.reader(), blob.facts().size);
        let file = Arc::new(OpenFile {
            which,
            reader,
            size,
        });
        self.files.write().insert(handle, file);
        Ok(Opened { handle, keep_cache })
    }

    /// The blob of a file's inode, made at the first call.
    pub(super) fn blob(&self, ino: u64) -> Answer<(Arc<Blob>, Which)> {
        let (which, cell, name, facts) = {
            let table = self.table.lock();
            let inode = table.get(ino).ok_or(Errno::STALE)?;
            match inode.facts.kind {
                FileKind::File => {}
                FileKind::Dir => return Err(Errno::ISDIR),
                _ => return Err(Errno::INVAL),
            }
            let which = Which {
                ino,
                serial: inode.serial,
            };
            if let Some(blob) = inode.cell.get() {
                return Ok((Arc::clone(blob), which));
            }
            let cell = Arc::clone(&inode.cell);
            (which, cell, inode.name.clone(), inode.facts.clone())
        };
        let blob = cell.get_or_init(|| {
            let blob = self.source.blob(&name, &facts);
            let events = self.events.clone();
            blob.watch(Box::new(move |event| {
                let _ = events.send(Event::new(which, event));
            }));
            blob
        });
        Ok((Arc::clone(blob), which))
    }

    /// The open file of a handle.
    pub fn file(&self, handle: u64) -> Option<Arc<OpenFile>> {
        self.files.read().get(&handle).cloned()
    }

    /// Reads `len` bytes from `offset`; fewer come only at the end of the file.
    pub fn read(
        self: &Arc<Self>,
        file: &OpenFile,
        offset: u64,
        len: u64,
        done: impl FnOnce(Answer<Bytes>) + Send + 'static,
    ) {
        let (vfs, which, size) = (Arc::clone(self), file.which, file.size);
        let answered = move |answer: Result<Bytes, ReadError>| {
            let answer = match answer {
                Ok(bytes) if misleads(size, offset, len, bytes.len() as u64) => {
                    tracing::debug!(
                        "a read beyond the end of a version that is shorter than the one opened"
                    );
                    return done(Err(Errno::STALE));
                }
                other => other,
            };
            guarded("an answer to a read", || {
                if let Err(error) = &answer {
                    vfs.tell_failed_read(which, offset, error);
                }
                if matches!(answer, Err(ReadError::Stale | ReadError::NotFound)) {
                    vfs.refute(which);
                }
                done(answer.map_err(|error| errno::of_read(&error)));
            });
        };
        file.reader
            .read(ByteRange::at(offset, len), Box::new(answered));
    }

    fn tell_failed_read(&self, which: Which, offset: u64, error: &ReadError) {
        let name = self.table.lock().get(which.ino).map(|i| i.name.clone());
        let name = name.unwrap_or_default();
        match error {
            ReadError::TimedOut | ReadError::Remote(_) => {
                self.tell_trouble(&format_args!("cannot read {name} at byte {offset}"), error);
            }
            _ => tracing::debug!("cannot read {name} at byte {offset}: {error}"),
        }
    }

    /// A read, or the engine, found that an inode's version is no more. The verdict is carried out by the events'
    /// thread, because this may be called from within the engine.
    fn refute(&self, which: Which) {
        let _ = self.events.send(Event::Superseded(which));
    }

    /// Closes a handle.
    pub fn release(&self, handle: u64) {
        let Some(file) = self.files.write().remove(&handle) else {
            return;
        };
        if let Some(inode) = self.table.lock().get_mut(file.which.ino) {
            inode.opens = inode.opens.saturating_sub(1);
        }
        // The reader goes here, under no lock.
        drop(file);
    }

    /// Where the next data or the next hole is: all is data, with one hole at the end.
    pub fn seek(&self, ino: u64, offset: i64, whence: i32) -> Answer<i64> {
        let table = self.table.lock();
        let size = table.get(ino).ok_or(Errno::STALE)?.facts.size;
        let size = i64::try_from(size).map_err(|_| Errno::OVERFLOW)?;
        match whence {
            libc::SEEK_DATA | libc::SEEK_HOLE if offset < 0 || offset >= size => Err(Errno::NXIO),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::INVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_a_shorter_version_has_no_more_are_not_shown_as_zeros() {
        assert!(misleads(100_000, 80_000, 4096, 0), "wholly beyond the end");
        assert!(misleads(100_000, 40_960, 65_536, 10_000), "across it");
        assert!(!misleads(100_000, 40_960, 12_288, 10_000), "its last page");
        assert!(
            !misleads(100_000, 98_304, 4096, 1696),
            "the end that was known"
        );
        assert!(!misleads(100_000, 0, 4096, 4096), "a whole answer");
        assert!(
            !misleads(50_000, 40_960, 65_536, 20_000),
            "it became longer"
        );
    }
}
