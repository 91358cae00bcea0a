//! Requests about open files: open, read, release, lseek.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::announced::Found;
use super::events::{Event, Which};
use super::table::Table;
use super::{Answer, Cell, Errno, Vfs, carry_out, errno, guarded};
use crate::engine::{Blob, Head, Opening, ReadError, Reader};
use crate::units::{ByteRange, FileKind};

/// One open file.
pub struct OpenFile {
    which: Which,
    reader: Reader,
}

impl OpenFile {
    /// Fills the front of `buf` with the bytes from `offset` if that needs no waiting; see [`Reader::read_now`].
    pub fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<usize> {
        self.reader.read_now(offset, buf)
    }
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
        let (blob, which) = match self.blob(ino) {
            Ok(found) => found,
            Err(error) => return done(Err(error)),
        };
        if self.table.lock().get(ino).is_none_or(|i| i.superseded) {
            return done(Err(Errno::STALE));
        }
        let (vfs, asked) = (Arc::clone(self), self.now());
        let opened = Arc::clone(&blob);
        blob.open(move |opening| {
            guarded("an answer to an open", || match opening {
                Opening::Unasked => {
                    let next = Arc::clone(&vfs);
                    vfs.check(ino, move |answer| {
                        done(answer.and_then(|()| next.opened(&opened, which, Bytes::new())));
                    });
                }
                Opening::Fetched(first) => done(vfs.opened(&opened, which, first)),
                Opening::Changed(head) => {
                    vfs.announce(which, head, asked);
                    done(Err(Errno::STALE));
                }
                Opening::Failed(error) => done(Err(vfs.not_opened(which, &error, asked))),
            });
        });
    }

    /// The remote has another version of this inode's object than was shown. The kernel looks the name up again, and finds
    /// what came of it.
    fn announce(&self, which: Which, head: Option<Head>, at: Duration) {
        let name = self.table.lock().get(which.ino).map(|i| i.name.clone());
        if let (Some(name), Some(head)) = (name, head) {
            self.announced.put(Found {
                facts: head.facts.clone(),
                blob: self.source.blob_from(&name, head),
                name,
                at,
                came: self.now(),
            });
        }
        self.carry_out_superseded(which);
    }

    /// What a program is told whose open failed.
    fn not_opened(&self, which: Which, error: &ReadError, at: Duration) -> Errno {
        self.tell_failed_read(which, 0, error);
        if !matches!(error, ReadError::NotFound) {
            return errno::of_read(error);
        }
        let verdict = self.table.lock().supersede(which.ino, at);
        carry_out(verdict);
        Errno::NOENT
    }

    fn opened(self: &Arc<Self>, blob: &Arc<Blob>, which: Which, first: Bytes) -> Answer<Opened> {
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
            let inode = table.get_mut(which.ino).ok_or(Errno::STALE)?;
            if inode.superseded {
                drop(table);
                blob.supersede();
                return Err(Errno::STALE);
            }
            inode.opens += 1;
        }
        let reader = blob.reader_from(first);
        let keep_cache = blob.keeps_pages();
        let handle = self.handle();
        let file = Arc::new(OpenFile { which, reader });
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
        let blob = cell.get_or_init(|| self.watched(self.source.blob(&name, &facts), which));
        Ok((Arc::clone(blob), which))
    }

    /// Gives an inode that was just looked up the blob that an open has found for it, if it is of this version and has none.
    pub(super) fn give_blob(&self, table: &Table<Cell>, ino: u64, found: &Found) {
        let Some(inode) = table.get(ino) else { return };
        let serial = inode.serial;
        if !inode.facts.contradicted_by(&found.facts) {
            let watched = || self.watched(Arc::clone(&found.blob), Which { ino, serial });
            inode.cell.get_or_init(watched);
        }
    }

    /// Has the inode told what becomes of its blob.
    fn watched(&self, blob: Arc<Blob>, which: Which) -> Arc<Blob> {
        let events = self.events.clone();
        blob.watch(Box::new(move |event| {
            let _ = events.send(Event::new(which, event));
        }));
        blob
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
        let (vfs, which) = (Arc::clone(self), file.which);
        let answered = move |answer: Result<Bytes, ReadError>| {
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
