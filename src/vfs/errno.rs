//! Where errors become error numbers: the one place.

use rustix::io::Errno;

use crate::engine::ReadError;
use crate::remote::RemoteError;

/// What a program sees when a question about a name or its facts fails.
pub(super) fn of_question(error: &RemoteError) -> Errno {
    match error {
        RemoteError::NotFound => Errno::NOENT,
        RemoteError::Forbidden => Errno::ACCESS,
        // The kernel looks the name up again.
        RemoteError::Changed(_) | RemoteError::WrongKind => Errno::STALE,
        RemoteError::Unreachable(_)
        | RemoteError::Untrusted(_)
        | RemoteError::TimedOut
        | RemoteError::NoDescriptor => Errno::IO,
        RemoteError::NoMemory(_) => Errno::NOMEM,
        RemoteError::Unlistable(_) => Errno::OPNOTSUPP,
    }
}

/// What a reader of a directory sees where its listing breaks off in the middle: there is no error number for "these were
/// not all".
pub(super) fn of_later_page(error: &RemoteError) -> Errno {
    match error {
        RemoteError::NoMemory(_) => Errno::NOMEM,
        _ => Errno::IO,
    }
}

/// What a program sees when a read of an open file fails. An object that is gone from the remote is a version that is
/// no longer to be had.
pub(super) fn of_read(error: &ReadError) -> Errno {
    match error {
        ReadError::Stale | ReadError::NotFound => Errno::STALE,
        ReadError::Forbidden => Errno::ACCESS,
        ReadError::TimedOut | ReadError::Remote(_) | ReadError::Closed => Errno::IO,
    }
}

/// Whether the remote could not be asked, so that what was known of the object still stands.
pub(super) fn says_nothing(error: &RemoteError) -> bool {
    matches!(
        error,
        RemoteError::Unreachable(_)
            | RemoteError::Untrusted(_)
            | RemoteError::TimedOut
            | RemoteError::NoDescriptor
            | RemoteError::NoMemory(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_found_forbidden_and_unreachable_are_three_things() {
        let unreachable = RemoteError::Unreachable("no route".into());
        assert_eq!(of_question(&RemoteError::NotFound), Errno::NOENT);
        assert_eq!(of_question(&RemoteError::Forbidden), Errno::ACCESS);
        assert_eq!(of_question(&unreachable), Errno::IO);
        assert_eq!(of_question(&RemoteError::WrongKind), Errno::STALE);
        assert_eq!(of_later_page(&RemoteError::NotFound), Errno::IO);
        let large = RemoteError::NoMemory("more than there is".into());
        assert_eq!(of_question(&large), Errno::NOMEM);
        assert_eq!(of_later_page(&large), Errno::NOMEM);
        assert_eq!(of_question(&RemoteError::NoDescriptor), Errno::IO);
        assert!(says_nothing(&large) && says_nothing(&RemoteError::NoDescriptor));
        assert!(says_nothing(&unreachable) && says_nothing(&RemoteError::TimedOut));
        assert!(!says_nothing(&RemoteError::NotFound) && !says_nothing(&RemoteError::Forbidden));
        assert_eq!(of_read(&ReadError::Stale), Errno::STALE);
        assert_eq!(of_read(&ReadError::TimedOut), Errno::IO);
        assert_eq!(of_read(&ReadError::Forbidden), Errno::ACCESS);
    }
}
