//! Whether a file of the origin has a version at all: not while somebody writes it.
//!
//! A write moves mtime and ctime, but with the clock's granularity, and a second store through a writable mapping moves
//! neither. So a file is settled when its times are some seconds old *and* the kernel grants a read lease, which it does
//! only where no descriptor and no mapping can write. Where leases tell nothing, age alone must do.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::facts::Traits;
use crate::units::{Facts, Timestamp};

/// How old the times must be where a lease was granted.
const WITH_LEASE: Duration = Duration::from_secs(2);

/// Whether what is read of the file from now on, while its stat(2) stays the same, is of a version that stays.
/// `now` is the time since 1970; `settle` the age that counts where leases do not tell.
pub(super) fn is_settled(
    fd: BorrowedFd<'_>,
    facts: &Facts,
    traits: Traits,
    now: Duration,
    settle: Duration,
) -> bool {
    if !is_old(facts, now, WITH_LEASE.min(settle)) {
        return false;
    }
    let lease = if traits.leases_tell {
        probe_lease(fd)
    } else {
        Lease::Silent
    };
    match lease {
        Lease::NobodyWrites => is_old(facts, now, WITH_LEASE),
        Lease::SomebodyWrites => false,
        Lease::Silent => is_old(facts, now, settle),
    }
}

/// Whether the last change of the file is `age` ago. A write sets both times, and only mtime can be set by hand: one
/// that lies in the future was, and then ctime alone tells.
fn is_old(facts: &Facts, now: Duration, age: Duration) -> bool {
    let before = now.saturating_sub(age);
    let now = timestamp(now);
    let before = timestamp(before);
    facts.ctime <= before && (facts.mtime <= before || facts.mtime > now)
}

fn timestamp(since_1970: Duration) -> Timestamp {
    Timestamp {
        secs: i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX),
        nanos: since_1970.subsec_nanos(),
    }
}

/// The fcntl(2) command that chooses the signal of a broken lease; the libc crate has no name for it.
const F_SETSIG: libc::c_int = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lease {
    /// It was granted, and given back at once.
    NobodyWrites,
    /// It was refused because of a writer.
    SomebodyWrites,
    /// Leases do not work here, or not for this user.
    Silent,
}

fn probe_lease(fd: BorrowedFd<'_>) -> Lease {
    // A writer that comes while the lease is held makes the kernel signal its holder, by default with SIGIO, which
    // kills. SIGURG is ignored unless a program asks for it.
    let taken =
        fcntl(fd, F_SETSIG, libc::SIGURG).and_then(|()| fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK));
    match taken {
        Ok(()) => match fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) {
            Ok(()) => Lease::NobodyWrites,
            Err(_) => Lease::Silent,
        },
        Err(Errno::AGAIN) => Lease::SomebodyWrites,
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

    use super::*;
    use crate::remote::dir::facts::facts;

    const LOCAL: Traits = Traits {
        keeps_inodes: true,
        leases_tell: true,
    };

    fn at(secs: i64) -> Timestamp {
        Timestamp { secs, nanos: 0 }
    }

    #[test]
    fn both_times_must_be_old() {
        let stat = rustix::fs::stat("/proc/self/exe").unwrap();
        let mut facts = facts(&stat, LOCAL).unwrap();
        let age = Duration::from_secs(2);
        let mut old = |mtime, ctime| {
            (facts.mtime, facts.ctime) = (at(mtime), at(ctime));
            is_old(&facts, Duration::from_secs(1000), age)
        };
        assert!(old(998, 998));
        assert!(!old(999, 998));
        assert!(!old(998, 999));
        assert!(!old(5, 1001));
        // A modification time set into the future by hand hides nothing: ctime tells when.
        assert!(old(5000, 900));
        assert!(!old(5000, 999));
    }

    #[test]
    fn a_writer_or_a_writable_mapping_unsettles() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, [7; 8192]).unwrap();
        let reader = std::fs::File::open(&path).unwrap();
        assert_eq!(probe_lease(reader.as_fd()), Lease::NobodyWrites);

        let writer = std::fs::File::options().write(true).open(&path).unwrap();
        assert_eq!(probe_lease(reader.as_fd()), Lease::SomebodyWrites);
        drop(writer);
        assert_eq!(probe_lease(reader.as_fd()), Lease::NobodyWrites);

        let facts = facts(&rustix::fs::fstat(&reader).unwrap(), LOCAL).unwrap();
        let written = Duration::from_secs(u64::try_from(facts.mtime.secs).unwrap());
        let settled = |traits, seconds| {
            let now = written + Duration::from_secs(seconds);
            is_settled(reader.as_fd(), &facts, traits, now, Duration::from_secs(60))
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
    fn breaking_the_lease_kills_nobody() {
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
