//! Requests about directories: opendir, readdir, releasedir.
//!
//! The way of a listing: an opendir waits for the first page, so that what is wrong with a directory is its error. The
//! later pages are asked for one after the other, whether a reader wants them yet or not, for as long as a handle is on
//! the listing (`pull`): a listing that waited for a slow reader would keep its room from others. A readdir is answered
//! with what has come, and waits only at its end. When the last page has come the listing is kept; one that broke off is
//! not, and its readers get what came of it, and then the error.
//!
//! A handle keeps the listing that it was opened on, so that a directory that changes meanwhile is read as it was. The
//! kernel keeps one cache of entries for all handles of a directory: only one listing at a time may go into it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::open::{DirEntries, DirEntry, OpenDir, OpenedDir, index_at};
use super::pull::{Part, Pull, check_page};
use crate::remote::{Remote, RemoteError};
use crate::units::FileKind;
use crate::vfs::answer::{Answer, Errno};
use crate::vfs::attr::Attr;
use crate::vfs::errno;
use crate::vfs::names::Listing;
use crate::vfs::shared::{Shared, carry_out};

/// The requests about directories.
pub(in crate::vfs) struct Dirs {
    shared: Arc<Shared>,
    /// Whether the remote promised that listings say all that stat(2) shows.
    lists_facts: bool,
    open: RwLock<HashMap<u64, Arc<OpenDir>>>,
}

impl Dirs {
    pub(in crate::vfs) fn new(shared: &Arc<Shared>, lists_facts: bool) -> Self {
        Self {
            shared: Arc::clone(shared),
            lists_facts,
            open: RwLock::default(),
        }
    }

    /// Opens a directory: fetches the first page of its listing, or takes a listing that still counts.
    pub(in crate::vfs) fn opendir(
        self: &Arc<Self>,
        ino: u64,
        done: impl FnOnce(Answer<OpenedDir>) + Send + 'static,
    ) {
        let now = self.shared.now();
        let known = {
            let inodes = self.shared.inodes.lock();
            match inodes.get(ino) {
                None => Err(Errno::STALE),
                Some(inode) if inode.facts.kind != FileKind::Dir => Err(Errno::NOTDIR),
                Some(inode) => Ok((
                    inode.name.clone(),
                    inode.listing.is_some(),
                    inodes.fresh_listing(ino, now),
                )),
            }
        };
        let (name, known) = match known {
            Err(error) => return done(Err(error)),
            Ok((_, _, Some(listing))) => return done(self.opened_dir(ino, listing)),
            Ok((name, known, None)) => (name, known),
        };
        let (dirs, about) = (Arc::clone(self), name.clone());
        let question = |remote: Arc<dyn Remote>| async move {
            let mut pages = remote.list(&name).await?;
            Ok((pages.next().await?, pages))
        };
        self.shared
            .questions
            .ask(about, known, question, move |answer, at| {
                done(dirs.listed(ino, answer, at));
            });
    }

    fn listed(
        self: &Arc<Self>,
        ino: u64,
        answer: Result<Part, RemoteError>,
        at: Duration,
    ) -> Answer<OpenedDir> {
        match answer {
            Ok((page, pages)) => {
                check_page(&page, self.lists_facts)?;
                let listing = Arc::new(Listing::new(at));
                listing.put(page).wake();
                if listing.has_ended() {
                    let (kept, now) = (Arc::clone(&listing), self.shared.now());
                    self.shared.inodes.lock().keep_listing(ino, kept, now);
                    return self.opened_dir(ino, listing);
                }
                self.shared.inodes.lock().expect_listing(ino, &listing);
                let pull = Pull::new(&self.shared, self.lists_facts, ino, &listing);
                let opened = self.opened_dir(ino, listing);
                pull.ask(pages);
                opened
            }
            Err(error) if errno::says_nothing(&error) => {
                let kept = self
                    .shared
                    .inodes
                    .lock()
                    .get(ino)
                    .and_then(|i| i.listing.clone());
                match kept {
                    Some(listing) => self.opened_dir(ino, listing),
                    None => Err(errno::of_question(&error)),
                }
            }
            Err(error) => {
                if matches!(error, RemoteError::NotFound | RemoteError::WrongKind) {
                    let outcome = self.shared.inodes.lock().supersede(ino, at);
                    carry_out(outcome);
                }
                Err(errno::of_question(&error))
            }
        }
    }

    fn opened_dir(&self, ino: u64, listing: Arc<Listing>) -> Answer<OpenedDir> {
        let handle = self.shared.handle();
        let mut dirs = self.open.write();
        let same = |dir: &Arc<OpenDir>| dir.ino != ino || Arc::ptr_eq(&dir.listing, &listing);
        let cache = dirs.values().all(same);
        let (name, parent, keep_cache) = {
            let mut inodes = self.shared.inodes.lock();
            let inode = inodes.get_mut(ino).ok_or(Errno::STALE)?;
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

    /// The entries of the directory that is open under `handle`, as soon as the one at `offset` is among them, or there is
    /// none. Errors where the listing broke off before it.
    pub(in crate::vfs) fn readdir(
        &self,
        handle: u64,
        offset: u64,
        done: impl FnOnce(Answer<DirEntries>) + Send + 'static,
    ) {
        let Some(dir) = self.open.read().get(&handle).cloned() else {
            return done(Err(Errno::BADF));
        };
        let Some(index) = index_at(offset) else {
            // `.` and `..` are always there.
            let contents = dir.listing.contents();
            return done(Ok(DirEntries { dir, contents }));
        };
        let listing = Arc::clone(&dir.listing);
        listing.when_there(index, move |contents| {
            done(contents.map(|contents| DirEntries { dir, contents }));
        });
    }

    /// The entry at `offset` (0 for the first), if it has come. `.` and `..` come first.
    pub(in crate::vfs) fn entry<'a>(
        &self,
        entries: &'a DirEntries,
        offset: u64,
    ) -> Option<DirEntry<'a>> {
        let DirEntries { dir, .. } = entries;
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
        let entry = entries.at(offset)?;
        let name = dir.name.child(&entry.name);
        Some(DirEntry {
            name: &entry.name,
            ino: self.shared.inodes.lock().shown_number(&name, &entry.listed),
            kind: entry.listed.kind(),
            next,
        })
    }

    /// The inode of the entry at `offset`, with one lookup counted on it, and how long both may be kept. For `.` and
    /// `..` the attributes alone, with nothing counted. Only where listings have facts.
    pub(in crate::vfs) fn entry_inode(
        &self,
        entries: &DirEntries,
        offset: u64,
    ) -> Option<(Attr, Duration)> {
        let DirEntries { dir, .. } = entries;
        let now = self.shared.now();
        let mut inodes = self.shared.inodes.lock();
        let Some(entry) = entries.at(offset) else {
            let ino = match offset {
                0 => dir.ino,
                1 => dir.parent,
                _ => return None,
            };
            let inode = inodes.get(ino)?;
            return Some((inode.attr(ino, self.shared.owner), Duration::ZERO));
        };
        let name = dir.name.child(&entry.name);
        let facts = entry.listed.facts()?;
        // A listing that was refuted meanwhile proves nothing: what it names is to be checked before it is believed.
        let at = if inodes.is_listing_of(dir.ino, &dir.listing) {
            dir.listing.at
        } else {
            Duration::ZERO
        };
        let (ino, outcome) = inodes.admit(dir.ino, &name, facts, at);
        let inode = inodes.get(ino)?;
        let known = inode.attr(ino, self.shared.owner);
        let ttl = inodes.remaining(inode.checked, now);
        drop(inodes);
        carry_out(outcome);
        Some((known, ttl))
    }

    /// Closes a handle.
    pub(in crate::vfs) fn releasedir(&self, handle: u64) {
        let dir = self.open.write().remove(&handle);
        drop(dir);
    }
}
