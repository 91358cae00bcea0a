//! Requests about directories: opendir, readdir, releasedir.
//!
//! The way of a listing: an opendir waits for the first page, so that what is wrong with a directory is its error. The
//! later pages are asked for one after the other, whether a reader wants them yet or not, for as long as a handle is on
//! the listing (`Pull`): a listing that waited for a slow reader would keep its room from others. A readdir is answered
//! with what has come, and waits only at its end. When the last page has come the listing is kept; one that broke off is
//! not, and its readers get what came of it, and then the error.
//!
//! A handle keeps the listing that it was opened on, so that a directory that changes meanwhile is read as it was. The
//! kernel keeps one cache of entries for all handles of a directory: only one listing at a time may go into it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::listing::{Contents, Listing};
use super::{Answer, Attr, Errno, Vfs, carry_out, errno};
use crate::remote::{Entry, Page, Pages, Remote, RemoteError};
use crate::units::{FileKind, ObjectName};

/// One open directory.
pub(super) struct OpenDir {
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

/// The entries of an open directory that have come so far.
pub struct DirEntries {
    dir: Arc<OpenDir>,
    contents: Arc<Contents>,
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

/// The open directories, by handle.
pub(super) type OpenDirs = std::collections::HashMap<u64, Arc<OpenDir>>;

/// A page, and what the next one is asked of.
type Part = (Page, Box<dyn Pages>);

impl Vfs {
    /// Opens a directory: fetches the first page of its listing, or takes a listing that still counts.
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
                Some(inode) => Ok((
                    inode.name.clone(),
                    inode.listing.is_some(),
                    table.fresh_listing(ino, now),
                )),
            }
        };
        let (name, known) = match known {
            Err(error) => return done(Err(error)),
            Ok((_, _, Some(listing))) => return done(self.opened_dir(ino, listing)),
            Ok((name, known, None)) => (name, known),
        };
        let (vfs, about) = (Arc::clone(self), name.clone());
        let question = |remote: Arc<dyn Remote>| async move {
            let mut pages = remote.list(&name).await?;
            Ok((pages.next().await?, pages))
        };
        self.ask(about, known, question, move |answer, at| {
            done(vfs.listed(ino, answer, at));
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
                self.check_page(&page)?;
                let listing = Arc::new(Listing::new(at));
                listing.put(page).wake();
                if listing.has_ended() {
                    let (kept, now) = (Arc::clone(&listing), self.now());
                    self.table.lock().keep_listing(ino, kept, now);
                    return self.opened_dir(ino, listing);
                }
                self.table.lock().expect_listing(ino, &listing);
                let pull = Pull::new(self, ino, &listing);
                let opened = self.opened_dir(ino, listing);
                pull.ask(pages);
                opened
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

    /// Whether a page says what the remote promised that listings say.
    fn check_page(&self, page: &Page) -> Answer<()> {
        let vague = |entry: &Entry| entry.listed.facts().is_none();
        if self.lists_facts && page.entries.iter().any(vague) {
            tracing::error!("a listing lacks sizes and times although this remote promised them");
            return Err(Errno::IO);
        }
        Ok(())
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

    /// The entries of the directory that is open under `handle`, as soon as the one at `offset` is among them, or there is
    /// none. Errors where the listing broke off before it.
    pub fn readdir(
        &self,
        handle: u64,
        offset: u64,
        done: impl FnOnce(Answer<DirEntries>) + Send + 'static,
    ) {
        let Some(dir) = self.dirs.read().get(&handle).cloned() else {
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
    pub fn entry<'a>(&self, entries: &'a DirEntries, offset: u64) -> Option<DirEntry<'a>> {
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
            ino: self.table.lock().shown_number(&name, &entry.listed),
            kind: entry.listed.kind(),
            next,
        })
    }

    /// The inode of the entry at `offset`, with one lookup counted on it, and how long both may be kept. For `.` and
    /// `..` the attributes alone, with nothing counted. Only where [`Vfs::lists_facts`].
    pub fn entry_inode(&self, entries: &DirEntries, offset: u64) -> Option<(Attr, Duration)> {
        let DirEntries { dir, .. } = entries;
        let now = self.now();
        let mut table = self.table.lock();
        let Some(entry) = entries.at(offset) else {
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
        // A listing that was refuted meanwhile proves nothing: what it names is to be checked before it is believed.
        let at = if table.is_listing_of(dir.ino, &dir.listing) {
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

/// The index in a listing of the entry at `offset`; none of `.` and `..`.
fn index_at(offset: u64) -> Option<usize> {
    usize::try_from(offset.checked_sub(2)?).ok()
}

impl DirEntries {
    fn at(&self, offset: u64) -> Option<&Entry> {
        self.contents.get(index_at(offset)?)
    }
}

/// What has the later pages of a listing fetched. It holds the listing weakly: when the last handle on it is closed, no
/// further page is asked for. However it ends, the listing ends with it, so that no reader waits for ever.
struct Pull {
    vfs: Arc<Vfs>,
    ino: u64,
    name: ObjectName,
    listing: Weak<Listing>,
}

impl Pull {
    fn new(vfs: &Arc<Vfs>, ino: u64, listing: &Arc<Listing>) -> Self {
        let name = vfs.table.lock().get(ino).map(|inode| inode.name.clone());
        Self {
            vfs: Arc::clone(vfs),
            ino,
            name: name.unwrap_or_default(),
            listing: Arc::downgrade(listing),
        }
    }

    /// Asks for the next page, if a handle is still on the listing.
    fn ask(self, mut pages: Box<dyn Pages>) {
        if self.listing.strong_count() == 0 {
            return;
        }
        let (vfs, about) = (Arc::clone(&self.vfs), self.name.clone());
        let question = |_| async move { Ok((pages.next().await?, pages)) };
        vfs.ask(about, false, question, move |answer, _| self.take(answer));
    }

    fn take(self, answer: Result<Part, RemoteError>) {
        let Some(listing) = self.listing.upgrade() else {
            return;
        };
        let answer = answer.map_err(|error| errno::of_later_page(&error));
        match answer.and_then(|part| self.vfs.check_page(&part.0).map(|()| part)) {
            Err(error) => self.break_off(&listing, error),
            Ok((page, pages)) => {
                let woken = listing.put(page);
                if !listing.has_ended() {
                    woken.wake();
                    drop(listing);
                    return self.ask(pages);
                }
                // Kept before a reader sees the end: what it asks for next is to be found.
                let now = self.vfs.now();
                self.vfs.table.lock().keep_expected(self.ino, &listing, now);
                woken.wake();
            }
        }
    }

    fn break_off(&self, listing: &Arc<Listing>, error: Errno) {
        self.vfs.table.lock().give_up_listing(self.ino, listing);
        listing.break_off(error).wake();
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        if let Some(listing) = self.listing.upgrade()
            && !listing.has_ended()
        {
            self.break_off(&listing, Errno::IO);
        }
    }
}
