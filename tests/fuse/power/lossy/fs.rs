//! The lossy disk as fuser sees it: glue over the state, nothing is decided here.

use std::ffi::{OsStr, OsString};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use larder::engine::{Clock, SystemClock};
use rustix::io::Errno;

use super::pages::{LossyFile, PAGE, PAGE_U32};
use super::{LossyDisk, Node, State};

/// Nobody but the kernel changes anything.
const FOREVER: Duration = Duration::from_secs(3600);
/// The size that the disk claims to have.
const BLOCKS: u64 = (8 << 30) / PAGE as u64;
const FILES: u64 = 1 << 20;

pub(super) struct LossyFs {
    disk: LossyDisk,
    /// One process has one identity.
    owner: (u32, u32),
}

impl LossyFs {
    pub(super) fn new(disk: LossyDisk) -> Self {
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        Self {
            disk,
            owner: (uid.as_raw(), gid.as_raw()),
        }
    }

    fn attr(&self, ino: u64, node: &Node) -> FileAttr {
        let (kind, size, allocated, nlink) = match &node.file {
            Some(file) => (FileType::RegularFile, file.len(), file.allocated(), 1),
            None => (FileType::Directory, 0, 0, 2),
        };
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: allocated / 512,
            atime: node.mtime,
            mtime: node.mtime,
            ctime: node.mtime,
            crtime: node.mtime,
            kind,
            perm: node.mode,
            nlink,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: PAGE_U32,
            flags: 0,
        }
    }

    fn make(&self, dir: u64, name: &OsStr, mode: u32, file: Option<LossyFile>) -> Made {
        if let Some(error) = self.disk.answer(|trouble| trouble.writes) {
            return Err(error);
        }
        let state = &mut *self.disk.state.lock();
        if state.names.get(dir, name).is_some() {
            return Err(Errno::EXIST);
        }
        let ino = state.next;
        state.next += 1;
        let node = Node {
            file,
            mode: u16::try_from(mode & 0o7777).unwrap(),
            mtime: now(),
        };
        let attr = self.attr(ino, &node);
        state.nodes.insert(ino, node);
        state.names.link((dir, name.to_owned()), ino);
        Ok(attr)
    }

    fn remove(&self, dir: u64, name: &OsStr, is_dir: bool) -> Result<(), Errno> {
        if let Some(error) = self.disk.answer(|trouble| trouble.writes) {
            return Err(error);
        }
        let state = &mut *self.disk.state.lock();
        let ino = state.names.get(dir, name).ok_or(Errno::NOENT)?;
        match (is_dir, state.is_dir(ino)) {
            (true, false) => return Err(Errno::NOTDIR),
            (false, true) => return Err(Errno::ISDIR),
            _ => {}
        }
        if is_dir && state.names.list(ino).next().is_some() {
            return Err(Errno::NOTEMPTY);
        }
        state.names.unlink((dir, name.to_owned()), ino);
        Ok(())
    }

    fn rename(
        &self,
        from: (u64, OsString),
        to: (u64, OsString),
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        if let Some(error) = self.disk.answer(|trouble| trouble.writes) {
            return Err(error);
        }
        let state = &mut *self.disk.state.lock();
        let ino = state.names.get(from.0, &from.1).ok_or(Errno::NOENT)?;
        let taken = state.names.get(to.0, &to.1).is_some();
        if flags == RenameFlags::RENAME_NOREPLACE && taken {
            return Err(Errno::EXIST);
        }
        if flags != RenameFlags::empty() && flags != RenameFlags::RENAME_NOREPLACE {
            return Err(Errno::INVAL);
        }
        state.names.rename(from, to, ino);
        Ok(())
    }

    /// Does something with a file, unless such requests are in trouble.
    fn with_file<T>(
        &self,
        ino: INodeNo,
        of: fn(&super::Trouble) -> super::Answer,
        work: impl FnOnce(&mut LossyFile) -> T,
    ) -> Result<T, Errno> {
        if let Some(error) = self.disk.answer(of) {
            return Err(error);
        }
        let state = &mut *self.disk.state.lock();
        let node = state.nodes.get_mut(&ino.0).ok_or(Errno::NOENT)?;
        node.file.as_mut().map(work).ok_or(Errno::ISDIR)
    }

    fn write(&self, ino: INodeNo, work: impl FnOnce(&mut LossyFile)) -> Result<(), Errno> {
        self.with_file(ino, |trouble| trouble.writes, work)?;
        if let Some(node) = self.disk.state.lock().nodes.get_mut(&ino.0) {
            node.mtime = now();
        }
        Ok(())
    }
}

type Made = Result<FileAttr, Errno>;

impl State {
    fn is_dir(&self, ino: u64) -> bool {
        self.nodes.get(&ino).is_some_and(|node| node.file.is_none())
    }

    fn sync_node(&mut self, ino: u64) {
        self.names.sync_node(ino);
        let file = self.nodes.get_mut(&ino).and_then(|node| node.file.as_mut());
        if let Some(file) = file {
            file.sync();
        }
    }
}

pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + SystemClock::default().wall()
}

fn errno(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

fn done(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn entry(reply: ReplyEntry, result: Made) {
    match result {
        Ok(attr) => reply.entry(&FOREVER, &attr, Generation(0)),
        Err(error) => reply.error(errno(error)),
    }
}

impl Filesystem for LossyFs {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let state = self.disk.state.lock();
        let found = state.names.get(parent.0, name);
        let node = found.and_then(|ino| Some((ino, state.nodes.get(&ino)?)));
        entry(
            reply,
            node.map(|(ino, node)| self.attr(ino, node))
                .ok_or(Errno::NOENT),
        );
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.disk.state.lock().nodes.get(&ino.0) {
            Some(node) => reply.attr(&FOREVER, &self.attr(ino.0, node)),
            None => reply.error(fuser::Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Some(size) = size
            && let Err(error) = self.write(ino, |file| file.set_len(size))
        {
            return reply.error(errno(error));
        }
        match self.disk.state.lock().nodes.get_mut(&ino.0) {
            Some(node) => {
                if let Some(mode) = mode {
                    node.mode = u16::try_from(mode & 0o7777).unwrap();
                }
                reply.attr(&FOREVER, &self.attr(ino.0, node));
            }
            None => reply.error(fuser::Errno::ENOENT),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        entry(reply, self.make(parent.0, name, mode & !umask, None));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.make(parent.0, name, mode & !umask, Some(LossyFile::default())) {
            Ok(attr) => reply.created(
                &FOREVER,
                &attr,
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.remove(parent.0, name, false));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.remove(parent.0, name, true));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = (
            (parent.0, name.to_owned()),
            (newparent.0, newname.to_owned()),
        );
        done(reply, Self::rename(self, from, to, flags));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: fuser::ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.with_file(
            ino,
            |trouble| trouble.reads,
            |file| file.read(offset, size as usize),
        );
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match Self::write(self, ino, |file| file.write(offset, data)) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap()),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if let Some(error) = self.disk.answer(|trouble| trouble.writes) {
            return reply.error(errno(error));
        }
        self.disk.state.lock().sync_node(ino.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if let Some(error) = self.disk.answer(|trouble| trouble.writes) {
            return reply.error(errno(error));
        }
        let state = &mut *self.disk.state.lock();
        state.names.sync_dir(ino.0);
        state.names.sync_node(ino.0);
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let state = self.disk.state.lock();
        let dots = [".", ".."].map(|name| (OsStr::new(name), ino.0));
        let entries = dots.into_iter().chain(state.names.list(ino.0));
        for ((name, node), next) in entries.zip(1..).skip(usize::try_from(offset).unwrap()) {
            let kind = match state.is_dir(node) {
                true => FileType::Directory,
                false => FileType::RegularFile,
            };
            if reply.add(INodeNo(node), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        // Space is reserved nowhere; only the size shows. Holes cannot be punched.
        let result = match mode {
            0 => Self::write(self, ino, |file| {
                file.set_len(file.len().max(offset + length))
            }),
            libc::FALLOC_FL_KEEP_SIZE => Ok(()),
            _ => Err(Errno::OPNOTSUPP),
        };
        done(reply, result);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let page = PAGE_U32;
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, FILES, FILES, page, 255, page);
    }
}
