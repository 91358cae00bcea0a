//! Requests about directories: opendir, readdir, releasedir.
//!
//! A handle keeps the listing that it was opened on, so that a directory that changes meanwhile is read as it was. The
//! kernel keeps one cache of entries for all handles of a directory: only one listing at a time may go into it.

use std::sync::Arc;
use std::time::Duration;

use super::listing::Listing;
use super::{Answer, Attr, Errno, Vfs, carry_out, errno};
use crate::remote::{Entries, Entry, Remote, RemoteError};
use crate::units::{FileKind, ObjectName};

/// One open directory.
pub struct OpenDir {
    ino: u64,
    parent: u64,
    name: ObjectName,
    listing: Arc<Listing>,
}

/// The answer to an opendir.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenedDir {
    /// The handle.
    pub handle: u64,
    /// Whether what is read through this handle may go into the kernel's cache of entries, and come from there.
    pub cache: bool,
    /// Whether the entries that the kernel has are of this listing.
    pub keep_cache: bool,
}

/// One entry of an open directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode number that the entry shows.
    pub ino: u64,
    /// The kind that the entry shows.
    pub kind: FileKind,
    /// Where the entry after this one is.
    pub next: u64,
}

impl Vfs {
    /// Opens a directory: fetches its listing, or takes the one that still counts.
    pub fn opendir(
        self: &Arc<Self>,
        ino: u64,
        done: impl FnOnce(Answer<OpenedDir>) + Send + 'static,
    ) {
        let now = self.now();
        let known = {
            let table = self.table.lock();
            match table.get(ino) {
                None => Err(Errno::STALE),
                Some(inode) if inode.facts.kind != FileKind::Dir => Err(Errno::NOTDIR),
                Some(inode) => Ok((inode.name.clone(), table.fresh_listing(ino, now).cloned())),
            }
        };
        let name = match known {
            Err(error) => return done(Err(error)),
            Ok((_, Some(listing))) => return done(self.opened_dir(ino, listing)),
            Ok((name, None)) => name,
        };
        let kept = |vfs: &Self| {
            vfs.table
                .lock()
                .get(ino)
                .is_some_and(|i| i.listing.is_some())
        };
        let (vfs, about, known) = (Arc::clone(self), name.clone(), kept(self));
        let question = |remote: Arc<dyn Remote>| async move { remote.list(&name).await };
        self.ask(about, known, question, move |answer, at| {
            done(vfs.listed(ino, answer, at));
        });
    }

    fn listed(
        &self,
        ino: u64,
        answer: Result<Entries, RemoteError>,
        at: Duration,
    ) -> Answer<OpenedDir> {
        match answer {
            Ok(entries) => {
                let vague = |entry: &Entry| entry.listed.facts().is_none();
                if self.lists_facts && entries.iter().any(vague) {
                    tracing::error!(
                        "a listing lacks sizes and times although this remote promised them"
                    );
                    return Err(Errno::IO);
                }
                let listing = Arc::new(Listing::new(entries, at));
                let now = self.now();
                self.table
                    .lock()
                    .keep_listing(ino, Arc::clone(&listing), now);
                self.opened_dir(ino, listing)
            }
            Err(error) if errno::says_nothing(&error) => {
                let kept = self.table.lock().get(ino).and_then(|i| i.listing.clone());
                match kept {
                    Some(listing) => self.opened_dir(ino, listing),
                    None => Err(errno::of_question(&error)),
                }
            }
            Err(error) => {
                if matches!(error, RemoteError::NotFound | RemoteError::WrongKind) {
                    let verdict = self.table.lock().supersede(ino, at);
                    carry_out(verdict);
                }
                Err(errno::of_question(&error))
            }
        }
    }

    fn opened_dir(&self, ino: u64, listing: Arc<Listing>) -> Answer<OpenedDir> {
        let handle = self.handle();
        let mut dirs = self.dirs.write();
        let same = |dir: &Arc<OpenDir>| dir.ino != ino || Arc::ptr_eq(&dir.listing, &listing);
        let cache = dirs.values().all(same);
        let (name, parent, keep_cache) = {
            let mut table = self.table.lock();
            let inode = table.get_mut(ino).ok_or(Errno::STALE)?;
            let ours = Arc::downgrade(&listing);
            let kept = inode
                .kernel_has
                .as_ref()
                .is_some_and(|has| has.ptr_eq(&ours));
            if cache {
                inode.kernel_has = Some(ours);
            }
            (inode.name.clone(), inode.parent, cache && kept)
        };
        let dir = Arc::new(OpenDir {
            ino,
            parent,
            name,
            listing,
        });
        dirs.insert(handle, dir);
        Ok(OpenedDir {
            handle,
            cache,
            keep_cache,
        })
    }

    /// The open directory of a handle.
    pub fn dir(&self, handle: u64) -> Option<Arc<OpenDir>> {
        self.dirs.read().get(&handle).cloned()
    }

    /// The entry at `offset` (0 for the first), if there is one. `.` and `..` come first.
    pub fn entry<'a>(&self, dir: &'a OpenDir, offset: u64) -> Option<DirEntry<'a>> {
        let next = offset.checked_add(1)?;
        let dots = |name, ino| DirEntry {
            name,
            ino,
            kind: FileKind::Dir,
            next,
        };
        match offset {
            0 => return Some(dots(b".", dir.ino)),
            1 => return Some(dots(b"..", dir.parent)),
            _ => {}
        }
        let entry = dir.at(offset)?;
        let name = dir.name.child(&entry.name);
        Some(DirEntry {
            name: &entry.name,
            ino: self.table.lock().shown_number(&name, &entry.listed),
            kind: entry.listed.kind(),
            next,
        })
    }

    /// The inode of the entry at `offset`, with one lookup counted on it, and how long both may be kept. For `.` and
    /// `..` the attributes alone, with nothing counted. Only where [`Vfs::lists_facts`].
    pub fn entry_inode(&self, dir: &OpenDir, offset: u64) -> Option<(Attr, Duration)> {
        let now = self.now();
        let mut table = self.table.lock();
        let Some(entry) = dir.at(offset) else {
            let ino = match offset {
                0 => dir.ino,
                1 => dir.parent,
                _ => return None,
            };
            let inode = table.get(ino)?;
            return Some((Attr::new(ino, &inode.facts, self.owner), Duration::ZERO));
        };
        let name = dir.name.child(&entry.name);
        let facts = entry.listed.facts()?;
        let kept = table.get(dir.ino).and_then(|inode| inode.listing.as_ref());
        // A listing that was refuted meanwhile proves nothing: what it names is to be checked before it is believed.
        let stands = kept.is_some_and(|kept| Arc::ptr_eq(kept, &dir.listing));
        let at = if stands {
            dir.listing.at
        } else {
            Duration::ZERO
        };
        let (ino, verdict) = table.admit(dir.ino, &name, facts, at);
        let inode = table.get(ino)?;
        let known = Attr::new(ino, &inode.facts, self.owner);
        let ttl = table.remaining(inode.checked, now);
        drop(table);
        carry_out(verdict);
        Some((known, ttl))
    }

    /// Closes a handle.
    pub fn releasedir(&self, handle: u64) {
        let dir = self.dirs.write().remove(&handle);
        drop(dir);
    }
}

impl OpenDir {
    fn at(&self, offset: u64) -> Option<&Entry> {
        let index = usize::try_from(offset.checked_sub(2)?).ok()?;
        self.listing.get(index)
    }
}
