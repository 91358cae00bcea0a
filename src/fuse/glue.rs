//! fuser's requests, handed to the file system, with the reply moved into its callback.
//!
//! Every handler runs under [`guarded`]: a reply that is dropped by a panic is EIO.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::convert::{attr, errno, file_type, nothing};
use crate::vfs::{DirEntries, Errno, Looked, Vfs, Xattr, guarded};

/// The largest request.
const MAX_WRITE: u32 = 1 << 20;
/// How many readahead requests the kernel may have open at once.
const MAX_BACKGROUND: u16 = 64;
/// An inode number is never reused for another version while the kernel knows it: no generations.
const GENERATION: Generation = Generation(0);

/// The file system as fuser sees it.
pub(super) struct Glue {
    vfs: Arc<Vfs>,
    /// Set where the kernel can look an entry up again without taking it away first.
    can_expire: Arc<AtomicBool>,
}

thread_local! {
    /// Where a cached read is put together before it is written to the kernel.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Glue {
    pub(super) fn new(vfs: Arc<Vfs>, can_expire: Arc<AtomicBool>) -> Self {
        Self { vfs, can_expire }
    }

    fn read_inline_or_later(&self, handle: u64, offset: u64, size: u32, reply: ReplyData) {
        let Some(file) = self.vfs.file(handle) else {
            return reply.error(errno(Errno::BADF));
        };
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        let reply = BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < len {
                buffer.resize(len, 0);
            }
            match file.read_now(offset, &mut buffer[..len]) {
                Some(count) => {
                    reply.data(&buffer[..count]);
                    None
                }
                None => Some(reply),
            }
        });
        if let Some(reply) = reply {
            self.vfs
                .read(&file, offset, size.into(), move |answer| match answer {
                    Ok(bytes) => reply.data(&bytes[..bytes.len().min(len)]),
                    Err(error) => reply.error(errno(error)),
                });
        }
    }
}

/// Answers a readdir with the entries from `offset` on that fit.
fn fill(vfs: &Vfs, entries: &DirEntries, mut offset: u64, mut reply: ReplyDirectory) {
    while let Some(entry) = vfs.entry(entries, offset) {
        let name = OsStr::from_bytes(entry.name);
        if reply.add(INodeNo(entry.ino), entry.next, file_type(entry.kind), name) {
            break;
        }
        offset = entry.next;
    }
    reply.ok();
}

/// As [`fill`], with the attributes of each entry.
fn fill_plus(vfs: &Vfs, entries: &DirEntries, mut offset: u64, mut reply: ReplyDirectoryPlus) {
    while let Some(entry) = vfs.entry(entries, offset) {
        let Some((known, ttl)) = vfs.entry_inode(entries, offset) else {
            break;
        };
        let name = OsStr::from_bytes(entry.name);
        let full = reply.add(
            INodeNo(known.ino),
            entry.next,
            name,
            &ttl,
            &attr(&known),
            GENERATION,
        );
        if full {
            // The kernel does not see this one yet, and counts no lookup on it. On . and .. none was counted.
            if offset > 1 {
                vfs.forget(known.ino, 1);
            }
            break;
        }
        offset = entry.next;
    }
    reply.ok();
}

fn reply_xattr(reply: ReplyXattr, answer: Result<Xattr, Errno>) {
    match answer {
        Ok(Xattr::Length(len)) => reply.size(len),
        Ok(Xattr::Value(value)) => reply.data(&value),
        Err(error) => reply.error(errno(error)),
    }
}

fn reply_entry(reply: ReplyEntry, answer: Result<Looked, Errno>) {
    match answer {
        Ok(Looked::Inode(known, ttl)) => reply.entry(&ttl, &attr(&known), GENERATION),
        // Inode 0 is a negative entry, which the kernel keeps for its time.
        Ok(Looked::Absent(ttl)) if !ttl.is_zero() => reply.entry(&ttl, &nothing(), GENERATION),
        Ok(Looked::Absent(_)) => reply.error(errno(Errno::NOENT)),
        Err(error) => reply.error(errno(error)),
    }
}

/// Requests that would change something; a read-only mount gets none of them, but for the odd kernel.
macro_rules! read_only {
    ($($name:ident($($argument:ty),*) -> $reply:ty;)*) => {$(
        fn $name(&self, _: &Request, $(_: $argument,)* reply: $reply) {
            reply.error(errno(Errno::ROFS));
        }
    )*};
}

impl Filesystem for Glue {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let plus = if self.vfs.lists_facts() {
            InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_READDIRPLUS_AUTO
        } else {
            InitFlags::empty()
        };
        for capability in [
            plus,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_NO_EXPORT_SUPPORT,
        ] {
            // An older kernel goes without.
            let _ = config.add_capabilities(capability);
        }
        let expires = config.add_capabilities(InitFlags::FUSE_HAS_EXPIRE_ONLY);
        self.can_expire.store(expires.is_ok(), Ordering::Relaxed);
        let _ = config.set_max_write(MAX_WRITE);
        let _ = config.set_max_background(MAX_BACKGROUND);
        if let Err(most) = config.set_max_readahead(MAX_WRITE) {
            let _ = config.set_max_readahead(most);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        guarded("lookup", || {
            self.vfs.lookup(parent.0, name.as_bytes(), |answer| {
                reply_entry(reply, answer);
            });
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        guarded("forget", || self.vfs.forget(ino.0, count));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        guarded("getattr", || {
            self.vfs.getattr(ino.0, |answer| match answer {
                Ok((known, ttl)) => reply.attr(&ttl, &attr(&known)),
                Err(error) => reply.error(errno(error)),
            });
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        guarded("readlink", || {
            self.vfs.readlink(ino.0, |answer| match answer {
                Ok(target) => reply.data(&target),
                Err(error) => reply.error(errno(error)),
            });
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        guarded("open", || {
            self.vfs.open(ino.0, flags.0, |answer| match answer {
                Ok(opened) => {
                    let mut flags = FopenFlags::FOPEN_NOFLUSH;
                    flags.set(FopenFlags::FOPEN_KEEP_CACHE, opened.keep_cache);
                    reply.opened(FileHandle(opened.handle), flags);
                }
                Err(error) => reply.error(errno(error)),
            });
        });
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        guarded("read", || {
            self.read_inline_or_later(fh.0, offset, size, reply)
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        guarded("release", || {
            self.vfs.release(fh.0);
            reply.ok();
        });
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        guarded("opendir", || {
            self.vfs.opendir(ino.0, |answer| match answer {
                Ok(opened) => {
                    let mut flags = FopenFlags::empty();
                    flags.set(FopenFlags::FOPEN_CACHE_DIR, opened.cache);
                    flags.set(FopenFlags::FOPEN_KEEP_CACHE, opened.keep_cache);
                    reply.opened(FileHandle(opened.handle), flags);
                }
                Err(error) => reply.error(errno(error)),
            });
        });
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        guarded("readdir", || {
            let vfs = Arc::clone(&self.vfs);
            self.vfs.readdir(fh.0, offset, move |answer| match answer {
                Ok(entries) => fill(&vfs, &entries, offset, reply),
                Err(error) => reply.error(errno(error)),
            });
        });
    }

    fn readdirplus(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        guarded("readdirplus", || {
            let vfs = Arc::clone(&self.vfs);
            self.vfs.readdir(fh.0, offset, move |answer| match answer {
                Ok(entries) => fill_plus(&vfs, &entries, offset, reply),
                Err(error) => reply.error(errno(error)),
            });
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        guarded("releasedir", || {
            self.vfs.releasedir(fh.0);
            reply.ok();
        });
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        guarded("statfs", || {
            self.vfs.statfs(|space| {
                let blocks = |bytes: u64| bytes / 4096;
                let free = blocks(space.free_bytes);
                reply.statfs(
                    blocks(space.total_bytes),
                    free,
                    free,
                    space.total_files,
                    space.free_files,
                    4096,
                    255,
                    4096,
                );
            });
        });
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        guarded("getxattr", || {
            let who = (ino.0, req.uid());
            self.vfs.getxattr(who, name.as_bytes(), size, |answer| {
                reply_xattr(reply, answer)
            });
        });
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        guarded("listxattr", || {
            reply_xattr(reply, self.vfs.listxattr(ino.0, size));
        });
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        guarded("lseek", || match self.vfs.seek(ino.0, offset, whence) {
            Ok(offset) => reply.offset(offset),
            Err(error) => reply.error(errno(error)),
        });
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(errno(Errno::NOTTY));
    }

    read_only! {
        setattr(
            INodeNo, Option<u32>, Option<u32>, Option<u32>, Option<u64>, Option<TimeOrNow>,
            Option<TimeOrNow>, Option<SystemTime>, Option<FileHandle>, Option<SystemTime>,
            Option<SystemTime>, Option<SystemTime>, Option<BsdFileFlags>
        ) -> ReplyAttr;
        mknod(INodeNo, &OsStr, u32, u32, u32) -> ReplyEntry;
        mkdir(INodeNo, &OsStr, u32, u32) -> ReplyEntry;
        unlink(INodeNo, &OsStr) -> ReplyEmpty;
        rmdir(INodeNo, &OsStr) -> ReplyEmpty;
        symlink(INodeNo, &OsStr, &Path) -> ReplyEntry;
        rename(INodeNo, &OsStr, INodeNo, &OsStr, RenameFlags) -> ReplyEmpty;
        link(INodeNo, INodeNo, &OsStr) -> ReplyEntry;
        write(
            INodeNo, FileHandle, u64, &[u8], WriteFlags, OpenFlags, Option<LockOwner>
        ) -> ReplyWrite;
        create(INodeNo, &OsStr, u32, u32, i32) -> ReplyCreate;
        setxattr(INodeNo, &OsStr, &[u8], i32, u32) -> ReplyEmpty;
        removexattr(INodeNo, &OsStr) -> ReplyEmpty;
        fallocate(INodeNo, FileHandle, u64, u64, i32) -> ReplyEmpty;
    }
}
