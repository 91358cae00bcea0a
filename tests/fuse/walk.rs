//! Two trees compared, as strictly as a reader can: names, types, modes, owners, sizes, times, link targets, bytes.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What was compared.
#[derive(Default, Debug)]
pub(crate) struct Compared {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// Compares everything beneath two directories, themselves included. Panics at the first difference.
pub(crate) fn same_trees(origin: &Path, mount: &Path) -> Compared {
    same_front(origin, mount, u64::MAX, u64::MAX)
}

/// The same, until so many entries or bytes are compared.
pub(crate) fn same_front(origin: &Path, mount: &Path, entries: u64, bytes: u64) -> Compared {
    let mut compared = Compared::default();
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        let (ours, theirs) = (origin.join(&path), mount.join(&path));
        let facts = Facts::of(&ours);
        assert_eq!(Facts::of(&theirs), facts, "{path:?}");
        compared.entries += 1;
        match facts.kind {
            Kind::Dir => {
                let names = names(&ours);
                assert_eq!(self::names(&theirs), names, "{path:?}");
                left.extend(names.iter().rev().map(|name| path.join(name)));
            }
            Kind::File => {
                same_bytes(&ours, &theirs);
                compared.bytes += facts.size;
            }
            Kind::Link => assert_eq!(
                fs::read_link(&theirs).unwrap(),
                fs::read_link(&ours).unwrap(),
                "{path:?}"
            ),
            Kind::Other(_) => {}
        }
        if compared.entries >= entries || compared.bytes >= bytes {
            break;
        }
    }
    compared
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}

/// Compares the bytes of two files.
pub(crate) fn same_bytes(ours: &Path, theirs: &Path) {
    let open = |path: &Path| File::open(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let (mut one, mut other) = (open(ours), open(theirs));
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    loop {
        let n = fill(&mut one, &mut a);
        let m = fill(&mut other, &mut b);
        assert!(a[..n] == b[..m], "{theirs:?} differs beyond byte {at}");
        at += n;
        if n == 0 {
            return;
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buf: &mut [u8]) -> usize {
    let mut len = 0;
    while len < buf.len() {
        match file.read(&mut buf[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => panic!("{file:?} at {len}: {e}"),
        }
    }
    len
}

#[derive(PartialEq, Eq, Debug)]
enum Kind {
    Dir,
    File,
    Link,
    Other(&'static str),
}

/// What stat(2) shows and the mount must show as well. A directory's size is its file system's own affair.
#[derive(PartialEq, Eq, Debug)]
struct Facts {
    kind: Kind,
    size: u64,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    ctime: (i64, i64),
    rdev: u64,
}

impl Facts {
    fn of(path: &Path) -> Self {
        let meta = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let kind = match meta.file_type() {
            t if t.is_dir() => Kind::Dir,
            t if t.is_file() => Kind::File,
            t if t.is_symlink() => Kind::Link,
            t if t.is_fifo() => Kind::Other("fifo"),
            t if t.is_socket() => Kind::Other("socket"),
            t if t.is_char_device() => Kind::Other("character device"),
            _ => Kind::Other("block device"),
        };
        Self {
            size: if kind == Kind::Dir { 0 } else { meta.size() },
            kind,
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
            rdev: meta.rdev(),
        }
    }
}
