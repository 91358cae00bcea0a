//! One mounted remote: its rooms, put together. Nothing is decided here.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::answer::Answer;
use super::attr::Attr;
use super::control::{Control, Xattr};
use super::dirs::{DirEntries, DirEntry, Dirs, OpenedDir};
use super::events::Event;
use super::events_thread;
use super::files::{Files, OpenFile, Opened};
use super::kernel_cache::{Invalidator, KernelCache};
use super::metadata::{Absent, Questions, Statfs, statfs};
use super::names::{Announced, Inodes, Looked, Names};
use super::options::VfsOptions;
use super::shared::Shared;
use crate::engine::Source;
use crate::remote::{Network, Remote, RemoteError};
use crate::units::{FileKind, ObjectName};

/// A mounted remote. Every answer to a request comes through its callback, on whatever thread has it.
pub struct Vfs {
    shared: Arc<Shared>,
    names: Arc<Names>,
    files: Arc<Files>,
    dirs: Arc<Dirs>,
    control: Arc<Control>,
    kernel: Arc<KernelCache>,
    lists_facts: bool,
}

impl Vfs {
    /// A file system over `source`, which caches `remote`. Waits for the remote's answer about its root, so that a
    /// remote that refuses or does not answer is refused at the mount. Errors with [`RemoteError::WrongKind`] where the root
    /// is no directory.
    pub fn new(
        source: Arc<Source>,
        remote: Arc<dyn Remote>,
        network: Arc<Network>,
        options: VfsOptions,
    ) -> Result<Arc<Self>, RemoteError> {
        let asked = options.clock.monotonic();
        let root = Arc::clone(&remote);
        let facts = network.ask_and_wait(async move { root.stat(&ObjectName::root()).await })?;
        if facts.kind != FileKind::Dir {
            return Err(RemoteError::WrongKind);
        }
        let ttl = options.metadata_ttl.duration();
        let (lists_all, lists_facts) = (remote.lists_all(), remote.lists_facts());
        let (events, inbox) = crossbeam_channel::unbounded();
        let shared = Arc::new(Shared {
            inodes: Mutex::new(Inodes::new(
                facts,
                (asked, ttl),
                lists_all,
                options.listed_max,
            )),
            questions: Arc::new(Questions::new(remote, network, options.clock)),
            owner: options.owner,
            ttl,
            absent: Absent::default(),
            announced: Announced::default(),
            events,
            next_handle: AtomicU64::new(1),
        });
        let kernel = Arc::new(KernelCache::new(&shared));
        events_thread::start(&shared, &kernel, inbox)
            .map_err(|error| RemoteError::Unreachable(format!("cannot start a thread: {error}")))?;
        let names = Arc::new(Names::new(&shared));
        let cache = Arc::clone(source.cache());
        let files = Arc::new(Files::new(&shared, &names, source));
        let parts = (&shared, &files, &kernel);
        let control = Control::new(parts, &cache, options.stats, options.cache_dir);
        Ok(Arc::new(Self {
            dirs: Arc::new(Dirs::new(&shared, lists_facts)),
            control: Arc::new(control),
            shared,
            names,
            files,
            kernel,
            lists_facts,
        }))
    }

    /// Sets what tells the kernel that something has changed. Called once, after the mount.
    pub fn set_invalidator(&self, invalidator: Box<dyn Invalidator>) {
        self.kernel.set_invalidator(invalidator);
    }

    /// Whether every entry of a listing comes with its facts, so that READDIRPLUS can be offered.
    pub fn lists_facts(&self) -> bool {
        self.lists_facts
    }

    /// How many inodes the kernel holds, and how many files are open.
    pub fn held(&self) -> (usize, usize) {
        (self.shared.inodes.lock().len(), self.files.held())
    }

    /// Has metadata count no more; `done` gets the number of names when the kernel has dropped them.
    pub fn expire_metadata(&self, done: impl FnOnce(usize) + Send + 'static) {
        self.kernel.expire_metadata(done);
    }

    /// Looks a name up in a directory.
    pub fn lookup(
        &self,
        parent: u64,
        last: &[u8],
        done: impl FnOnce(Answer<Looked>) + Send + 'static,
    ) {
        self.names.lookup(parent, last, done);
    }

    /// Takes back lookups of the kernel's.
    pub fn forget(&self, ino: u64, count: u64) {
        self.names.forget(ino, count);
    }

    /// The attributes of an inode, and how long they may be kept.
    pub fn getattr(&self, ino: u64, done: impl FnOnce(Answer<(Attr, Duration)>) + Send + 'static) {
        self.names.getattr(ino, done);
    }

    /// The target of a symbolic link.
    pub fn readlink(&self, ino: u64, done: impl FnOnce(Answer<Arc<[u8]>>) + Send + 'static) {
        self.names.readlink(ino, done);
    }

    /// What the remote holds and could hold. Where it cannot say: as much as fits, so that df(1) shows the mount.
    pub fn statfs(&self, done: impl FnOnce(Statfs) + Send + 'static) {
        statfs(&self.shared.questions, done);
    }

    /// Opens a file for reading; `flags` are those of open(2).
    pub fn open(&self, ino: u64, flags: i32, done: impl FnOnce(Answer<Opened>) + Send + 'static) {
        self.files.open(ino, flags, done);
    }

    /// The open file of a handle.
    pub fn file(&self, handle: u64) -> Option<Arc<OpenFile>> {
        self.files.file(handle)
    }

    /// Reads `len` bytes from `offset`; fewer come only at the end of the file.
    pub fn read(
        &self,
        file: &OpenFile,
        offset: u64,
        len: u64,
        done: impl FnOnce(Answer<Bytes>) + Send + 'static,
    ) {
        self.files.read(file, offset, len, done);
    }

    /// Closes the handle of a file.
    pub fn release(&self, handle: u64) {
        self.files.release(handle);
    }

    /// Where the next data or the next hole is, by lseek(2): all is data, with one hole at the end.
    pub fn seek(&self, ino: u64, offset: i64, whence: i32) -> Answer<i64> {
        self.files.seek(ino, offset, whence)
    }

    /// Opens a directory: waits for the first page of its listing, unless one is known that still counts.
    pub fn opendir(&self, ino: u64, done: impl FnOnce(Answer<OpenedDir>) + Send + 'static) {
        self.dirs.opendir(ino, done);
    }

    /// The entries of the directory that is open under `handle`, as soon as the one at `offset` is among them, or there is
    /// none. Errors where the listing broke off before it.
    pub fn readdir(
        &self,
        handle: u64,
        offset: u64,
        done: impl FnOnce(Answer<DirEntries>) + Send + 'static,
    ) {
        self.dirs.readdir(handle, offset, done);
    }

    /// The entry at `offset` (0 for the first), if it has come. `.` and `..` come first.
    pub fn entry<'a>(&self, entries: &'a DirEntries, offset: u64) -> Option<DirEntry<'a>> {
        self.dirs.entry(entries, offset)
    }

    /// The inode of the entry at `offset`, with one lookup counted on it, and how long both may be kept. For `.` and
    /// `..` the attributes alone, with nothing counted. Only where [`Vfs::lists_facts`].
    pub fn entry_inode(&self, entries: &DirEntries, offset: u64) -> Option<(Attr, Duration)> {
        self.dirs.entry_inode(entries, offset)
    }

    /// Closes the handle of a directory.
    pub fn releasedir(&self, handle: u64) {
        self.dirs.releasedir(handle);
    }

    /// The extended attribute `name` of the inode `ino`, for the user `uid` who has a buffer of `size` bytes; 0 asks for the
    /// length of the value. Some names are commands (`control`), which only root and the daemon's own user may give.
    pub fn getxattr(
        &self,
        (ino, uid): (u64, u32),
        name: &[u8],
        size: u32,
        done: impl FnOnce(Answer<Xattr>) + Send + 'static,
    ) {
        self.control.getxattr((ino, uid), name, size, done);
    }

    /// The names of an inode's extended attributes, each ended by a zero byte; `size` as in [`Vfs::getxattr`].
    pub fn listxattr(&self, ino: u64, size: u32) -> Answer<Xattr> {
        self.control.listxattr(ino, size)
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        let _ = self.shared.events.send(Event::Stop);
    }
}
