//! Forgetting on request. Of data, the pages of the kernel go after what is cached (see `request.rs`).
//!
//! Of metadata: what is known of names, attributes and listings counts no more, here and in the kernel,
//! so that whoever asks next has the remote asked. Open files, what is cached of data and the inodes' numbers stay; where
//! the remote cannot be asked, what was known is served as ever.
//!
//! The kernel must be told name by name. The names that it holds an inode of are in the table; those that it was told not
//! to exist are noted here, a bounded number of them: beyond that, such an answer counts for a moment only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::events::Event;
use super::{Looked, STALE_TTL, Vfs};
use crate::units::{FileKind, ObjectName};

/// The most names that the kernel is left to believe absent for long: some 100 bytes each.
const ABSENT_MAX: usize = 1 << 16;

/// A name in the kernel's memory.
pub(super) struct Name {
    /// The inode of its directory.
    pub(super) parent: u64,
    /// The name in it.
    pub(super) last: Box<[u8]>,
    /// The inode that it leads to, and what that is; `None` where it is none.
    pub(super) inode: Option<(u64, FileKind)>,
}

/// Names that the kernel was told not to exist, and until when it believes that.
#[derive(Default)]
pub(super) struct Absent(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    until: HashMap<(u64, Box<[u8]>), Duration>,
    /// When it is worth while to look for those that the kernel has forgotten by itself.
    look_at: Duration,
}

impl Absent {
    /// Notes a name that is to be believed absent for `ttl`; for how long the kernel may really believe it.
    fn note(&self, parent: u64, last: &[u8], ttl: Duration, now: Duration) -> Duration {
        if ttl <= STALE_TTL {
            return ttl;
        }
        let mut noted = self.0.lock();
        if noted.until.len() >= ABSENT_MAX && noted.look_at <= now {
            noted.until.retain(|_, until| *until > now);
            noted.look_at = now + STALE_TTL;
        }
        if noted.until.len() >= ABSENT_MAX {
            return STALE_TTL;
        }
        noted
            .until
            .insert((parent, last.into()), now.saturating_add(ttl));
        ttl
    }

    fn take(&self) -> impl Iterator<Item = Name> {
        let noted = std::mem::take(&mut *self.0.lock());
        let name = |(parent, last)| Name {
            parent,
            last,
            inode: None,
        };
        noted.until.into_keys().map(name)
    }
}

/// The last component of a name.
pub(super) fn last_of(name: &ObjectName) -> &[u8] {
    let name = name.as_bytes();
    let start = name.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    name.get(start..).unwrap_or_default()
}

impl Vfs {
    /// The answer that a name does not exist. To be called with the table locked, so that the name is either noted when
    /// metadata is forgotten, or found out afterwards.
    pub(super) fn absent(&self, parent: u64, last: &[u8], ttl: Duration) -> Looked {
        Looked::Absent(self.absent.note(parent, last, ttl, self.now()))
    }

    /// Has metadata forgotten; `done` gets the number of names when the kernel has forgotten them.
    pub fn forget_metadata(&self, done: impl FnOnce(usize) + Send + 'static) {
        let names = {
            let mut table = self.table.lock();
            table.forget_all(self.now());
            let mut names: Vec<Name> = table.names().collect();
            names.extend(self.absent.take());
            names
        };
        let _ = self.events.send(Event::Forget(names, Box::new(done)));
    }

    /// Has the kernel drop the pages that it holds of the inode `of`, or of every one; `done` is called when they are gone.
    /// The kernel waits for reads that are filling such a page, and a read may wait for the remote: so this has a thread
    /// of its own, which holds no lock, and the events' thread is not held up.
    pub(super) fn forget_pages(
        self: &Arc<Self>,
        of: Option<u64>,
        done: impl FnOnce() + Send + 'static,
    ) {
        let inodes = match of {
            Some(ino) => vec![ino],
            None => self.table.lock().current_files().collect(),
        };
        for ino in &inodes {
            let cell = self.table.lock().get(*ino).map(|i| Arc::clone(&i.cell));
            if let Some(blob) = cell.as_ref().and_then(|cell| cell.get()) {
                blob.drop_heads();
            }
        }
        let vfs = Arc::clone(self);
        let run = move || {
            if let Some(kernel) = vfs.invalidator.get() {
                inodes.into_iter().for_each(|ino| kernel.forget_pages(ino));
            }
            done();
        };
        // Without a thread nobody is told that the pages are gone: they are not.
        let thread = std::thread::Builder::new().name("larder-pages".into());
        if let Err(error) = thread.spawn(run) {
            tracing::warn!("cannot make the kernel drop pages: {error}");
        }
    }

    /// Tells the kernel to forget names and attributes. Called by the events' thread, under no lock.
    pub(super) fn forget_in_kernel(&self, names: &[Name]) {
        let Some(kernel) = self.invalidator.get() else {
            return;
        };
        for name in names {
            if !name.last.is_empty() {
                let is_dir = matches!(name.inode, Some((_, FileKind::Dir)));
                kernel.forget_name(name.parent, &name.last, is_dir);
            }
            if let Some((ino, _)) = name.inode {
                kernel.forget_attributes(ino);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_names_are_noted_up_to_a_bound() {
        let absent = Absent::default();
        let (minute, now) = (Duration::from_secs(60), Duration::from_secs(100));
        let note = |n: usize, now| absent.note(1, n.to_string().as_bytes(), minute, now);
        assert_eq!(absent.note(1, b"x", Duration::ZERO, now), Duration::ZERO);
        for n in 0..ABSENT_MAX {
            assert_eq!(note(n, now), minute);
        }
        assert_eq!(note(ABSENT_MAX, now), STALE_TTL, "there is no more room");
        let later = now + minute;
        assert_eq!(note(ABSENT_MAX, later), minute, "the kernel has forgotten");
        let names: Vec<Name> = absent.take().collect();
        assert_eq!(names.len(), 1);
        assert_eq!((names[0].parent, names[0].inode.is_none()), (1, true));
        assert_eq!(absent.take().count(), 0);
    }

    #[test]
    fn the_last_component_is_what_follows_the_last_slash() {
        for (name, last) in [("a/b/c", "c"), ("a", "a"), ("", "")] {
            assert_eq!(last_of(&ObjectName::new(name.as_bytes())), last.as_bytes());
        }
    }
}
