//! What the tests of web servers serve and compare: odd names, and trees as a web server can show them.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use larder::engine::{Clock, SystemClock};
use rustix::fs::{Mode, OFlags};

use super::super::cli::rig::{Rig, wait_until};
use super::super::mounted::content;
use super::super::walk::same_bytes;

/// Names that servers and clients get wrong.
pub(crate) const ODD: [&[u8]; 30] = [
    b"a b",
    b" blank ",
    b"100%",
    b"%2e%2e",
    b"%41",
    b"what?",
    b"x#y",
    b"1+1",
    b"a&b",
    b"a&amp;b",
    b"<b>",
    b"a;b=c",
    b"c:d",
    b"http:",
    b"~t",
    b"@",
    b"-rf",
    b"quo'te\"s",
    b"back\\slash",
    b"$HOME *?[a]",
    b"new\nline",
    b"tab\t",
    b"\x01\x7f",
    b"index.html",
    "\u{3a9}mega \u{1f96b}".as_bytes(),
    // Decomposed, so that nobody may put it together.
    "e\u{301}".as_bytes(),
    b"\xff\xfe not UTF-8 \x80",
    b"...",
    b".hidden",
    &[b'n'; 255],
];

/// Makes a file and a directory of each odd name that the server is able to show.
pub(crate) fn odd_files(root: &Path, is_shown: fn(&[u8]) -> bool) {
    fs::create_dir_all(root.join("odd")).unwrap();
    for (name, seed) in ODD.iter().zip(1..).filter(|(name, _)| is_shown(name)) {
        let name = OsStr::from_bytes(name);
        fs::write(root.join("odd").join(name), content(seed, 1000)).unwrap();
        let dir = root.join("odd-dirs").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("in"), "in").unwrap();
    }
}

/// nginx hides what begins with a dot, in its listings.
pub(crate) fn shown_by_nginx(name: &[u8]) -> bool {
    !name.starts_with(b".")
}

/// dufs shows a name that is not UTF-8 as an empty one.
pub(crate) fn shown_by_dufs(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok()
}

/// The time so many seconds ago.
pub(crate) fn ago(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + SystemClock::default().wall() - Duration::from_secs(seconds)
}

/// Sets a file's time back, so that its bytes may be kept at once.
pub(crate) fn age(path: &Path, seconds: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(ago(seconds)).unwrap();
}

/// Sets the times of all files beneath a directory back.
pub(crate) fn age_all(root: &Path) {
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => age_all(&path),
            false => age(&path, 3600),
        }
    }
}

/// Replaces a file as a careful program does, with this time.
pub(crate) fn replace(path: &Path, bytes: &[u8], modified: SystemTime) {
    let beside = path.with_extension("being-written");
    fs::write(&beside, bytes).unwrap();
    let file = fs::File::options().write(true).open(&beside).unwrap();
    file.set_modified(modified).unwrap();
    drop(file);
    fs::rename(beside, path).unwrap();
}

/// What was compared.
#[derive(Default, Debug)]
pub(crate) struct Compared {
    pub(crate) dirs: usize,
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// Files compared at a time: dufs answers each small one 40 ms late (it does not set TCP_NODELAY).
const AT_ONCE: usize = 32;

/// Compares everything beneath two directories as far as the web can show it: names, kinds, sizes, bytes, and the times
/// of files to the second. Panics at the first difference.
pub(crate) fn same_trees(origin: &Path, mount: &Path) -> Compared {
    let mut compared = Compared::default();
    let mut left = vec![PathBuf::new()];
    let mut files = Vec::new();
    while let Some(path) = left.pop() {
        let (ours, theirs) = (origin.join(&path), mount.join(&path));
        let stat =
            |path: &Path| fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let (a, b) = (stat(&ours), stat(&theirs));
        assert_eq!(b.is_dir(), a.is_dir(), "{path:?}");
        assert_eq!(b.is_file(), a.is_file(), "{path:?}");
        if a.is_dir() {
            compared.dirs += 1;
            let names = names(&ours);
            assert_eq!(self::names(&theirs), names, "{path:?}");
            left.extend(names.iter().rev().map(|name| path.join(name)));
        } else {
            assert_eq!((b.len(), b.mtime()), (a.len(), a.mtime()), "{path:?}");
            compared.files += 1;
            compared.bytes += a.len();
            files.push((ours, theirs));
        }
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((ours, theirs)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    same_bytes(ours, theirs);
                }
            });
        }
    });
    compared
}

/// Which of the names beneath a mount a test holds open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Directories,
    All,
}

/// Opens names, with no question about anything but them. The kernel forgets what nobody has open when memory is short,
/// or when anybody on the machine has it drop its caches, and then larder has to ask the server once more: whoever
/// counts questions holds the names open, and lets go of them before the unmount.
pub(crate) fn hold_open(mount: &Path, which: Names) -> Vec<OwnedFd> {
    let (mut held, mut left) = (Vec::new(), vec![mount.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let is_dir = entry.file_type().unwrap().is_dir();
            if is_dir || which == Names::All {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                held.push(rustix::fs::open(entry.path(), flags, Mode::empty()).unwrap());
            }
            if is_dir {
                left.push(entry.path());
            }
        }
    }
    held
}

/// The names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{dir:?}: {e}"));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// Mounts a URL in the rig's place, with a cache of a gigabyte.
pub(crate) fn mount(rig: &Rig, url: &str, more: &[&str]) {
    rig.mount_other(Path::new(url), "1G", more);
}

/// The value of `user.larder.NAME`.
pub(crate) fn attribute(path: &Path, name: &str) -> String {
    let mut value = vec![0; 4096];
    let name = format!("user.larder.{name}");
    let len = rustix::fs::getxattr(path, &*name, value.as_mut_slice());
    let len = len.unwrap_or_else(|e| panic!("{name} of {path:?}: {e}"));
    String::from_utf8(value[..len].to_vec()).unwrap()
}

/// Whether the daemon logged this so many times; what it says comes to its log a moment later.
pub(crate) fn is_logged(rig: &Rig, text: &str, times: usize) -> bool {
    let path = rig.cache().join("larder.log");
    let count = || {
        let log = fs::read_to_string(&path).unwrap();
        log.lines().filter(|line| line.contains(text)).count()
    };
    wait_until("it is logged", || count() >= times);
    count() == times
}
