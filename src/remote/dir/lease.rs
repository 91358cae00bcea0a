//! Asking the kernel, through a read lease, whether a program may write a file.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::facts::Traits;
use crate::remote::policy::Lease;

/// The fcntl(2) command that chooses the signal of a broken lease; the libc crate has no name for it.
const F_SETSIG: libc::c_int = 10;

/// What a lease on the file tells, where leases tell anything.
pub(super) fn lease(fd: BorrowedFd<'_>, traits: Traits) -> Lease {
    if traits.leases_tell {
        probe_lease(fd)
    } else {
        Lease::Silent
    }
}

fn probe_lease(fd: BorrowedFd<'_>) -> Lease {
    // A writer that comes while the lease is held makes the kernel signal its holder, by default with SIGIO, which
    // kills. SIGURG is ignored unless a program asks for it.
    let taken =
        fcntl(fd, F_SETSIG, libc::SIGURG).and_then(|()| fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK));
    match taken {
        Ok(()) => match fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) {
            Ok(()) => Lease::NoWriter,
            Err(_) => Lease::Silent,
        },
        Err(Errno::AGAIN) => Lease::Writer,
        Err(_) => Lease::Silent,
    }
}

#[expect(
    unsafe_code,
    reason = "rustix has neither F_SETLEASE nor F_SETSIG; this is the whole of it"
)]
fn fcntl(fd: BorrowedFd<'_>, command: libc::c_int, argument: libc::c_int) -> Result<(), Errno> {
    // SAFETY: F_SETSIG and F_SETLEASE take an integer and touch no memory of this process; `fd` is open while borrowed.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    if result >= 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;
    use crate::remote::dir::facts::facts;
    use crate::remote::policy::is_settled;

    const LOCAL: Traits = Traits {
        keeps_inodes: true,
        leases_tell: true,
    };

    #[test]
    fn a_writer_or_a_writable_mapping_unsettles() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, [7; 8192]).unwrap();
        let reader = std::fs::File::open(&path).unwrap();
        assert_eq!(probe_lease(reader.as_fd()), Lease::NoWriter);

        let writer = std::fs::File::options().write(true).open(&path).unwrap();
        assert_eq!(probe_lease(reader.as_fd()), Lease::Writer);
        drop(writer);
        assert_eq!(probe_lease(reader.as_fd()), Lease::NoWriter);

        let facts = facts(&rustix::fs::fstat(&reader).unwrap(), LOCAL).unwrap();
        let written = Duration::from_secs(u64::try_from(facts.mtime.secs).unwrap());
        let settled = |traits, seconds| {
            let now = written + Duration::from_secs(seconds);
            let lease = || lease(reader.as_fd(), traits);
            is_settled(&facts, lease, now, Duration::from_secs(60))
        };
        assert!(!settled(LOCAL, 1));
        assert!(settled(LOCAL, 4));
        let network = Traits {
            leases_tell: false,
            ..LOCAL
        };
        assert!(!settled(network, 59));
        assert!(settled(network, 62));
    }

    #[test]
    fn breaking_the_lease_kills_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"x").unwrap();
        let reader = std::fs::File::open(&path).unwrap();
        fcntl(reader.as_fd(), F_SETSIG, libc::SIGURG).unwrap();
        fcntl(reader.as_fd(), libc::F_SETLEASE, libc::F_RDLCK).unwrap();
        let writer = std::thread::spawn(move || {
            let file = std::fs::File::options().write(true).open(&path);
            file.map(drop)
        });
        std::thread::sleep(Duration::from_millis(100));
        fcntl(reader.as_fd(), libc::F_SETLEASE, libc::F_UNLCK).unwrap();
        writer.join().unwrap().unwrap();
    }
}
