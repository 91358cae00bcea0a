//! What the kernel keeps of a mount (names, attributes, pages), and how it is told to drop it.
//!
//! Metadata that a user has expired counts no more, here and in the kernel: the remote is asked when a program next wants
//! it. Open files, what is cached of data and the inodes' numbers stay, and where the remote cannot be asked, what was known
//! is served as ever. When a user has data dropped, the kernel's pages go after what is cached (see `control`).

use std::sync::{Arc, OnceLock};

use super::events::Event;
use super::names::KernelName;
use super::shared::Shared;
use crate::units::FileKind;

/// Tells the kernel that what it knows is outdated. Whatever is open stays open.
pub trait Invalidator: Send + Sync {
    /// The attributes of an inode are to be asked for again; its pages stay.
    fn invalidate_attributes(&self, ino: u64);

    /// A name in the directory `parent` is to be looked up again, whether it led to an inode or not.
    fn invalidate_name(&self, parent: u64, name: &[u8], is_dir: bool);

    /// The pages of an inode are to be read again, mapped ones too. Waits for the reads that are filling some of them.
    fn invalidate_pages(&self, ino: u64);
}

/// The kernel's cache of one mount.
pub(super) struct KernelCache {
    shared: Arc<Shared>,
    invalidator: OnceLock<Box<dyn Invalidator>>,
}

impl KernelCache {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            invalidator: OnceLock::new(),
        }
    }

    /// Sets what tells the kernel. Called once, after the mount.
    pub(super) fn set_invalidator(&self, invalidator: Box<dyn Invalidator>) {
        if self.invalidator.set(invalidator).is_err() {
            tracing::error!("the invalidator was set twice: this is a bug in larder");
        }
    }

    /// Has metadata count no more; `done` gets the number of names when the kernel has dropped them.
    pub(super) fn expire_metadata(&self, done: impl FnOnce(usize) + Send + 'static) {
        let shared = &self.shared;
        let names = {
            let mut inodes = shared.inodes.lock();
            inodes.expire_all(shared.now());
            let mut names: Vec<KernelName> = inodes.names().collect();
            names.extend(shared.absent.take());
            names
        };
        let _ = shared.events.send(Event::DropNames(names, Box::new(done)));
    }

    /// Has the kernel drop the pages that it holds of the inode `of`, or of every one; `done` is called when they are gone.
    /// The kernel waits for reads that are filling such a page, and a read may wait for the remote: so this has a thread
    /// of its own, which holds no lock, and the events' thread is not held up.
    pub(super) fn drop_pages(
        self: &Arc<Self>,
        of: Option<u64>,
        done: impl FnOnce() + Send + 'static,
    ) {
        let inodes = match of {
            Some(ino) => vec![ino],
            None => self.shared.inodes.lock().current_files().collect(),
        };
        for ino in &inodes {
            let state = {
                let inodes = self.shared.inodes.lock();
                inodes.get(*ino).map(|inode| Arc::clone(&inode.state))
            };
            if let Some(state) = state {
                state.drop_heads();
            }
        }
        let cache = Arc::clone(self);
        let run = move || {
            if let Some(kernel) = cache.invalidator.get() {
                inodes
                    .into_iter()
                    .for_each(|ino| kernel.invalidate_pages(ino));
            }
            done();
        };
        // Without a thread the user is not told that the pages are gone: they are not.
        let thread = std::thread::Builder::new().name("larder-pages".into());
        if let Err(error) = thread.spawn(run) {
            tracing::warn!("cannot make the kernel drop pages: {error}");
        }
    }

    /// Has the kernel drop names and attributes. Called by the events' thread, under no lock.
    pub(super) fn drop_names(&self, names: &[KernelName]) {
        let Some(kernel) = self.invalidator.get() else {
            return;
        };
        for name in names {
            if !name.last.is_empty() {
                let is_dir = matches!(name.inode, Some((_, FileKind::Dir)));
                kernel.invalidate_name(name.parent, &name.last, is_dir);
            }
            if let Some((ino, _)) = name.inode {
                kernel.invalidate_attributes(ino);
            }
        }
    }
}
