//! Whether a file of a directory has a version at all: not while a program writes it.
//!
//! A write moves mtime and ctime, but with the clock's granularity, and a second store through a writable mapping moves
//! neither. So a file is settled when its times are some seconds old *and* the kernel grants a read lease, which it does
//! only where no descriptor and no mapping can write. Where leases tell nothing, age alone must do. Pure.

use std::time::Duration;

use crate::units::{Facts, Timestamp};

/// How old the times must be where a lease was granted.
const WITH_LEASE: Duration = Duration::from_secs(2);

/// What a read lease tells of the programs that may write a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::remote) enum Lease {
    /// It was granted, and given back at once.
    NoWriter,
    /// It was refused because of a writer.
    Writer,
    /// Leases do not work here, or not for this user.
    Silent,
}

/// Whether what is read of a file with these facts from now on, while its stat(2) stays the same, is of a version that
/// stays. `lease` asks for a lease, where the file's age makes it worth while. `now` is the time since 1970; `settle` the
/// age that counts where leases do not tell.
pub(in crate::remote) fn is_settled(
    facts: &Facts,
    lease: impl FnOnce() -> Lease,
    now: Duration,
    settle: Duration,
) -> bool {
    if !is_old(facts, now, WITH_LEASE.min(settle)) {
        return false;
    }
    match lease() {
        Lease::NoWriter => is_old(facts, now, WITH_LEASE),
        Lease::Writer => false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::FileKind;

    fn at(secs: i64) -> Timestamp {
        Timestamp { secs, nanos: 0 }
    }

    #[test]
    fn both_times_must_be_old() {
        let mut facts = Facts::unknown(FileKind::File);
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
}
