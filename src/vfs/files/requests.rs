//! Requests about open files: open, read, release, lseek.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;

use super::state::FileState;
use crate::engine::{Blob, Head, Opening, ReadError, Reader, Source};
use crate::units::{ByteRange, FileKind};
use crate::vfs::answer::{Answer, Errno};
use crate::vfs::errno;
use crate::vfs::events::{Event, Which};
use crate::vfs::guard::guarded;
use crate::vfs::names::{Names, NewVersion, Served};
use crate::vfs::shared::{Shared, carry_out};

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

/// The requests about files.
pub(in crate::vfs) struct Files {
    shared: Arc<Shared>,
    names: Arc<Names>,
    source: Arc<Source>,
    open: RwLock<HashMap<u64, Arc<OpenFile>>>,
}

impl Files {
    pub(in crate::vfs) fn new(
        shared: &Arc<Shared>,
        names: &Arc<Names>,
        source: Arc<Source>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            names: Arc::clone(names),
            source,
            open: RwLock::default(),
        }
    }

    /// How many files are open.
    pub(in crate::vfs) fn held(&self) -> usize {
        self.open.read().len()
    }

    /// Opens a file for reading; `flags` are those of open(2).
    pub(in crate::vfs) fn open(
        self: &Arc<Self>,
        ino: u64,
        flags: i32,
        done: impl FnOnce(Answer<Opened>) + Send + 'static,
    ) {
        if flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0 {
            return done(Err(Errno::ROFS));
        }
        let (state, blob, which) = match self.served(ino) {
            Ok(found) => found,
            Err(error) => return done(Err(error)),
        };
        if self
            .shared
            .inodes
            .lock()
            .get(ino)
            .is_none_or(|i| i.superseded)
        {
            return done(Err(Errno::STALE));
        }
        let (files, asked) = (Arc::clone(self), self.shared.now());
        blob.open(move |opening| {
            guarded("an answer to an open", || match opening {
                Opening::Unasked => {
                    let next = Arc::clone(&files);
                    files.names.check(ino, move |answer| {
                        done(answer.and_then(|()| next.opened(&state, which, Bytes::new())));
                    });
                }
                Opening::Fetched(first) => done(files.opened(&state, which, first)),
                Opening::Changed(head) => {
                    files.announce(which, head, asked);
                    done(Err(Errno::STALE));
                }
                Opening::Failed(error) => done(Err(files.not_opened(which, &error, asked))),
            });
        });
    }

    /// The remote has another version of this inode's object than was shown. The kernel looks the name up again, and finds
    /// what came of it.
    fn announce(&self, which: Which, head: Option<Head>, at: Duration) {
        let name = self
            .shared
            .inodes
            .lock()
            .get(which.ino)
            .map(|i| i.name.clone());
        if let (Some(name), Some(head)) = (name, head) {
            self.shared.announced.put(NewVersion {
                facts: head.facts.clone(),
                blob: self.source.blob_from(&name, head),
                name,
                at,
                came: self.shared.now(),
            });
        }
        self.shared.carry_out_superseded(which);
    }

    /// What a program is told whose open failed.
    fn not_opened(&self, which: Which, error: &ReadError, at: Duration) -> Errno {
        self.tell_failed_read(which, 0, error);
        if !matches!(error, ReadError::NotFound) {
            return errno::of_read(error);
        }
        let outcome = self.shared.inodes.lock().supersede(which.ino, at);
        carry_out(outcome);
        Errno::NOENT
    }

    fn opened(&self, state: &Arc<FileState>, which: Which, first: Bytes) -> Answer<Opened> {
        let blob = state.blob().ok_or(Errno::STALE)?;
        if blob.has_expired() {
            blob.supersede();
        }
        if blob.is_superseded() {
            // At once, not on the events' thread: the kernel looks the name up again as soon as it has this answer.
            self.shared.carry_out_superseded(which);
            return Err(Errno::STALE);
        }
        {
            let mut inodes = self.shared.inodes.lock();
            let inode = inodes.get_mut(which.ino).ok_or(Errno::STALE)?;
            if inode.superseded {
                drop(inodes);
                blob.supersede();
                return Err(Errno::STALE);
            }
            inode.opens += 1;
        }
        let reader = state.reader(first).ok_or(Errno::STALE)?;
        let keep_cache = blob.keeps_pages();
        let handle = self.shared.handle();
        let file = Arc::new(OpenFile { which, reader });
        self.open.write().insert(handle, file);
        Ok(Opened { handle, keep_cache })
    }

    /// What a file's inode serves, and the blob of it, which is made at the first call.
    fn served(&self, ino: u64) -> Answer<(Arc<FileState>, Arc<Blob>, Which)> {
        let (which, state, name, facts) = {
            let inodes = self.shared.inodes.lock();
            let inode = inodes.get(ino).ok_or(Errno::STALE)?;
            match inode.facts.kind {
                FileKind::File => {}
                FileKind::Dir => return Err(Errno::ISDIR),
                _ => return Err(Errno::INVAL),
            }
            let which = Which {
                ino,
                serial: inode.serial,
            };
            let state = Arc::clone(&inode.state);
            if let Some(blob) = inode.state.blob() {
                return Ok((state, Arc::clone(blob), which));
            }
            (which, state, inode.name.clone(), inode.facts.clone())
        };
        let make = || self.shared.watched(self.source.blob(&name, &facts), which);
        let blob = Arc::clone(state.blob_or(make));
        Ok((state, blob, which))
    }

    /// The blob of a file's inode, made at the first call.
    pub(in crate::vfs) fn blob(&self, ino: u64) -> Answer<Arc<Blob>> {
        self.served(ino).map(|(_, blob, _)| blob)
    }

    /// The open file of a handle.
    pub(in crate::vfs) fn file(&self, handle: u64) -> Option<Arc<OpenFile>> {
        self.open.read().get(&handle).cloned()
    }

    /// Reads `len` bytes from `offset`; fewer come only at the end of the file.
    pub(in crate::vfs) fn read(
        self: &Arc<Self>,
        file: &OpenFile,
        offset: u64,
        len: u64,
        done: impl FnOnce(Answer<Bytes>) + Send + 'static,
    ) {
        let (files, which) = (Arc::clone(self), file.which);
        let answered = move |answer: Result<Bytes, ReadError>| {
            guarded("an answer to a read", || {
                if let Err(error) = &answer {
                    files.tell_failed_read(which, offset, error);
                }
                if matches!(answer, Err(ReadError::Stale | ReadError::NotFound)) {
                    files.refute(which);
                }
                done(answer.map_err(|error| errno::of_read(&error)));
            });
        };
        file.reader
            .read(ByteRange::at(offset, len), Box::new(answered));
    }

    fn tell_failed_read(&self, which: Which, offset: u64, error: &ReadError) {
        let name = self
            .shared
            .inodes
            .lock()
            .get(which.ino)
            .map(|i| i.name.clone());
        let name = name.unwrap_or_default();
        match error {
            ReadError::TimedOut | ReadError::Remote(_) => {
                self.shared
                    .questions
                    .tell_trouble(&format_args!("cannot read {name} at byte {offset}"), error);
            }
            _ => tracing::debug!("cannot read {name} at byte {offset}: {error}"),
        }
    }

    /// A read, or the engine, found that an inode's version is no more. The outcome is carried out by the events'
    /// thread, because this may be called from within the engine.
    fn refute(&self, which: Which) {
        let _ = self.shared.events.send(Event::Superseded(which));
    }

    /// Closes a handle.
    pub(in crate::vfs) fn release(&self, handle: u64) {
        let Some(file) = self.open.write().remove(&handle) else {
            return;
        };
        if let Some(inode) = self.shared.inodes.lock().get_mut(file.which.ino) {
            inode.opens = inode.opens.saturating_sub(1);
        }
        // The reader goes here, under no lock.
        drop(file);
    }

    /// Where the next data or the next hole is: all is data, with one hole at the end.
    pub(in crate::vfs) fn seek(&self, ino: u64, offset: i64, whence: i32) -> Answer<i64> {
        let inodes = self.shared.inodes.lock();
        let size = inodes.get(ino).ok_or(Errno::STALE)?.state.size();
        let size = i64::try_from(size).map_err(|_| Errno::OVERFLOW)?;
        match whence {
            libc::SEEK_DATA | libc::SEEK_HOLE if offset < 0 || offset >= size => Err(Errno::NXIO),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::INVAL),
        }
    }
}
