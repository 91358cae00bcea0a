//! Opening what lies below the cache directory, and never anything else.
//!
//! No symbolic link is followed on the way (Linux 5.6 and later; before, none in the last part of the path), and a pipe
//! that lies in the place of a file is never waited for.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens `path` below `dir` if nothing but what the kernel has in memory is needed for that; errs with `AGAIN` otherwise,
/// and with `INVAL` or `NOSYS` where the kernel cannot (before Linux 5.12).
pub(super) fn open_at_cached(dir: impl AsFd, path: &str, flags: OFlags) -> Result<File, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
    rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve).map(File::from)
}

/// Opens `path` below `dir`; what is made has its owner's permissions alone. Errors with `LOOP` at a symbolic link.
pub(in crate::storage) fn open_at(
    dir: impl AsFd,
    path: &str,
    flags: OFlags,
) -> Result<File, rustix::io::Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = if flags.contains(OFlags::CREATE) {
        Mode::RUSR | Mode::WUSR
    } else {
        Mode::empty()
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(&dir, path, flags, mode, resolve) {
        // Older kernels do not know the call, and some sandboxes forbid what they do not know.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(&dir, path, flags, mode),
        other => other,
    }
    .map(File::from)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_and_ways_out_are_refused_and_pipes_are_not_waited_for() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        fs::create_dir_all(at("dir/below")).unwrap();
        fs::create_dir(at("outside")).unwrap();
        fs::write(at("outside/file"), "precious").unwrap();
        symlink(at("outside"), at("dir/link")).unwrap();
        symlink("../../outside/file", at("dir/below/file")).unwrap();
        let pipe = at("dir/pipe");
        let made = std::process::Command::new("mkfifo").arg(pipe).status();
        assert!(made.unwrap().success());
        let dir = File::open(at("dir")).unwrap();
        let open = |path: &str| open_at(&dir, path, OFlags::RDONLY).map(drop);
        for link in ["link/file", "below/file", "link"] {
            assert_eq!(open(link), Err(Errno::LOOP), "{link}");
        }
        assert_eq!(open("../outside/file"), Err(Errno::XDEV));
        assert_eq!(open("pipe"), Ok(()));
        let new = open_at(&dir, "below/new", OFlags::RDWR | OFlags::CREATE).unwrap();
        assert!(new.metadata().unwrap().is_file());
        let through = open_at(&dir, "link/new", OFlags::RDWR | OFlags::CREATE);
        assert_eq!(through.map(drop), Err(Errno::LOOP));
        assert!(!at("outside/new").exists());
    }
}
