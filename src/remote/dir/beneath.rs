//! Reaching what lies beneath a directory descriptor.
//!
//! Invariants: no symbolic link is followed in any component (a link in the middle is `ELOOP`, a link at the end is
//! opened itself with `O_PATH`); `..` never leaves the tree; mount points within the tree are crossed. Names are bytes
//! of any length: a path that is longer than the kernel takes at once is walked in pieces.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The longest piece of a path that is given to the kernel at once: below `PATH_MAX` with room to spare.
const PIECE: usize = 3500;

/// Opens what `path` (no leading `/`, empty for the directory itself) names beneath `root`.
pub(super) fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if path.is_empty() {
        return rustix::fs::openat(root, c".", flags, Mode::empty());
    }
    if path
        .split(|&b| b == b'/')
        .any(|c| c == b".." || c.is_empty())
    {
        return Err(Errno::NOENT);
    }
    let one_by_one = NO_OPENAT2.load(Ordering::Relaxed);
    let mut at: Option<OwnedFd> = None;
    let mut rest = path;
    loop {
        let (piece, after) = split(rest, if one_by_one { 0 } else { PIECE });
        let last = after.is_empty();
        let flags = if last { flags } else { WALK };
        let from = at.as_ref().map_or(root, |fd| fd.as_fd());
        let next = open_piece(from, piece, flags, one_by_one)?;
        if last {
            return Ok(next);
        }
        at = Some(next);
        rest = after;
    }
}

/// How the directories on the way are opened.
const WALK: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Set once the kernel (or a sandbox) refused openat2(2): then every component is opened by itself.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

fn open_piece(
    from: BorrowedFd<'_>,
    piece: &[u8],
    flags: OFlags,
    one_by_one: bool,
) -> Result<OwnedFd, Errno> {
    if one_by_one {
        return rustix::fs::openat(from, piece, flags, Mode::empty());
    }
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match rustix::fs::openat2(from, piece, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS) => {
            NO_OPENAT2.store(true, Ordering::Relaxed);
            let after = open_by_components(from, piece, flags)?;
            Ok(after)
        }
        other => other,
    }
}

fn open_by_components(from: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let (first, mut rest) = split(path, 0);
    let step = |from: BorrowedFd<'_>, name: &[u8], last: bool| {
        rustix::fs::openat(from, name, if last { flags } else { WALK }, Mode::empty())
    };
    let mut at = step(from, first, rest.is_empty())?;
    while !rest.is_empty() {
        let (name, after) = split(rest, 0);
        at = step(at.as_fd(), name, after.is_empty())?;
        rest = after;
    }
    Ok(at)
}

/// Cuts a path after as many whole components as fit into `limit` bytes, but at least one.
fn split(path: &[u8], limit: usize) -> (&[u8], &[u8]) {
    if path.len() <= limit {
        return (path, b"");
    }
    let slash = |b: &u8| *b == b'/';
    let within = path[..limit].iter().rposition(slash);
    match within.or_else(|| path.iter().position(slash)) {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_between_components() {
        assert_eq!(split(b"a/bb/c", 0), (&b"a"[..], &b"bb/c"[..]));
        assert_eq!(split(b"a/bb/c", 4), (&b"a"[..], &b"bb/c"[..]));
        assert_eq!(split(b"a/bb/c", 5), (&b"a/bb"[..], &b"c"[..]));
        assert_eq!(split(b"a/bb/c", 6), (&b"a/bb/c"[..], &b""[..]));
        assert_eq!(split(b"abc", 0), (&b"abc"[..], &b""[..]));
    }

    #[test]
    fn links_and_dots_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), b"x").unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("l")).unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        let root = root.as_fd();
        let open = |path: &[u8]| open(root, path, OFlags::RDONLY).map(drop);
        assert_eq!(open(b"d/f"), Ok(()));
        assert_eq!(open(b"l/f"), Err(Errno::LOOP));
        assert_eq!(open(b"../x"), Err(Errno::NOENT));
        assert_eq!(open(b"d/../d/f"), Err(Errno::NOENT));
        assert_eq!(open(b"/etc/passwd"), Err(Errno::NOENT));
        assert_eq!(
            open_by_components(root, b"d/f", OFlags::RDONLY).map(drop),
            Ok(())
        );
        assert_eq!(
            open_by_components(root, b"l/f", OFlags::RDONLY).map(drop),
            Err(Errno::NOTDIR)
        );
    }

    #[test]
    fn paths_longer_than_the_kernel_takes_are_walked() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        let name = [b'n'; 250];
        let mut at: OwnedFd = root.try_clone().unwrap().into();
        let mut path = Vec::new();
        for _ in 0..20 {
            rustix::fs::mkdirat(&at, &name[..], Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, &name[..], WALK, Mode::empty()).unwrap();
            path.extend_from_slice(&name);
            path.push(b'/');
        }
        path.pop();
        assert!(path.len() > 4096);
        assert!(open(root.as_fd(), &path, OFlags::PATH).is_ok());
        // The temporary directory's own cleaning takes no such path: it is taken down from within.
        drop(at);
        let status = std::process::Command::new("rm")
            .arg("-rf")
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}
