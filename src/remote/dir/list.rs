//! Listings: the names of a directory in the kernel's order, each with what stat(2) shows of it, in pages.
//!
//! Invariants: one descriptor is read from the first page to the last, so that no name comes twice and none that was there
//! all the time is missing; room is taken before entries are read into it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::Errno;

use super::blocking::blocking;
use super::tree::{Tree, remote_error, show_length};
use super::{beneath, facts};
use crate::remote::api::{
    BoxFuture, Entries, Entry, Growth, Listed, Page, Pages, RemoteError, cost, whole,
};
use crate::units::{Facts, ObjectName};

/// The room of the first page, which a reader waits for. Later pages cost fewer wake-ups: each has twice as much, up to
/// the longest.
const FIRST_PAGE: u64 = 64 << 10;
const LONGEST_PAGE: u64 = 1 << 20;
/// More than any entry takes: names have 255 bytes at most.
const ENTRY_MAX: u64 = 1 << 10;
/// A page ends after this time even if it has room for more names: some file servers take milliseconds for each stat(2).
const PAGE_TIME: Duration = Duration::from_millis(100);

/// Opens a directory for listing.
pub(super) async fn list(
    tree: &Arc<Tree>,
    name: &ObjectName,
) -> Result<Box<dyn Pages>, RemoteError> {
    if let Some(answer) = tree.hidden(name) {
        return answer.map(|_| whole(Entries::default()));
    }
    let (ground, name) = (Arc::clone(tree), name.clone());
    let stream = blocking(move || Stream::open(&ground, &name)).await?;
    Ok(Box::new(DirPages {
        tree: Arc::clone(tree),
        growth: Growth::new(&tree.listings),
        stream: Arc::new(Mutex::new(stream)),
        page: FIRST_PAGE,
    }))
}

/// A directory that is being listed.
struct DirPages {
    tree: Arc<Tree>,
    growth: Growth,
    /// Used by one blocking thread at a time.
    stream: Arc<Mutex<Stream>>,
    /// The room of the next page.
    page: u64,
}

impl Pages for DirPages {
    fn next(&mut self) -> BoxFuture<'_, Result<Page, RemoteError>> {
        Box::pin(async {
            let held = self.growth.take(self.page).await?;
            self.page = (2 * self.page).min(LONGEST_PAGE);
            let (tree, stream) = (Arc::clone(&self.tree), Arc::clone(&self.stream));
            let room = held.bytes();
            let (entries, is_last) = blocking(move || stream.lock().page(&tree, room)).await?;
            Ok(Page {
                entries: Entries::new(entries, held, &mut self.growth),
                is_last,
            })
        })
    }
}

/// A name in a directory, and what the directory says that it is.
type Named = (Box<[u8]>, FileType);

/// A directory's entries, as far as they were read.
struct Stream {
    name: ObjectName,
    dir: Dir,
    /// What was read of the page that is under way; kept where the process has no descriptor left to go on with.
    entries: Vec<Entry>,
    size: u64,
    /// The name that comes next, where its facts are still to be asked for.
    next: Option<Named>,
}

impl Stream {
    fn open(tree: &Tree, name: &ObjectName) -> Result<Self, RemoteError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd =
            beneath::open(tree.root.as_fd(), name.as_bytes(), flags).map_err(
                |error| match error {
                    Errno::NOTDIR if tree.stat(name).is_ok() => RemoteError::WrongKind,
                    other => remote_error(other),
                },
            )?;
        Ok(Self {
            name: name.clone(),
            dir: Dir::new(fd).map_err(remote_error)?,
            entries: Vec::new(),
            size: 0,
            next: None,
        })
    }

    /// As many entries as `room` bytes hold and [`PAGE_TIME`] allows, one at least, and whether they are the last. Where it
    /// errors for want of a descriptor it can be called again, and loses nothing.
    fn page(&mut self, tree: &Tree, room: u64) -> Result<(Vec<Entry>, bool), RemoteError> {
        let start = (tree.clock)();
        if self.entries.is_empty() {
            let most = room / size_of::<Entry>() as u64;
            self.entries.reserve(usize::try_from(most).unwrap_or(0));
        }
        let is_last = loop {
            let is_late = (tree.clock)().saturating_sub(start) >= PAGE_TIME;
            if self.size + ENTRY_MAX > room || (is_late && !self.entries.is_empty()) {
                break false;
            }
            let Some((name, listed_as)) = self.name_at_hand()? else {
                break true;
            };
            let facts = match tree.hidden(&self.name.child(&name)) {
                Some(answer) => answer.ok(),
                None => match entry_facts(tree, self.dir.fd(), &name, listed_as) {
                    Err(error) => {
                        self.next = Some((name, listed_as));
                        return Err(error);
                    }
                    Ok(facts) => facts,
                },
            };
            if let Some(facts) = facts {
                let listed = Listed::Facts(facts);
                let entry = Entry { name, listed };
                self.size += cost(&entry);
                self.entries.push(entry);
            }
        };
        self.size = 0;
        let mut entries = std::mem::take(&mut self.entries);
        entries.shrink_to_fit();
        Ok((entries, is_last))
    }

    /// The next name; `None` after the last.
    fn name_at_hand(&mut self) -> Result<Option<Named>, RemoteError> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        for entry in self.dir.by_ref() {
            let entry = entry.map_err(remote_error)?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                return Ok(Some((name.into(), entry.file_type())));
            }
        }
        Ok(None)
    }
}

/// The facts of one name in an open directory; `None` where it is gone by now. Errors where the process has no
/// descriptor left: another answer would say less of the file than another time, and so be another version.
fn entry_facts(
    tree: &Tree,
    dir: Result<BorrowedFd<'_>, Errno>,
    name: &[u8],
    listed_as: FileType,
) -> Result<Option<Facts>, RemoteError> {
    let dir = dir.map_err(remote_error)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statat(dir, name, flags) {
        Ok(stat) => {
            let open = || beneath::open(dir, name, OFlags::PATH);
            let traits = tree.file_systems.traits(&stat, open);
            let mut facts = facts::facts(&stat, traits.map_err(remote_error)?);
            if let Some(facts) = &mut facts {
                show_length(facts, || rustix::fs::readlinkat(dir, name, Vec::new()));
            }
            Ok(facts)
        }
        Err(Errno::NOENT) => Ok(None),
        Err(error) => {
            let shown = OsStr::from_bytes(name).display();
            tracing::debug!("cannot stat {shown} in a directory of the remote: {error}");
            Ok(facts::kind(listed_as).map(Facts::unknown))
        }
    }
}
