//! Whether what is recorded of an object is believed on the word of facts that name no version.

use crate::units::{Timestamp, Validator};

/// Whether facts without a validator, of an object whose size is that of the record, confirm the record's version by
/// their time. A version of which the remote tells no time was not confirmed; only a stamp is believed without.
pub(super) fn confirms(recorded: &Validator, recorded_mtime: Timestamp, mtime: Timestamp) -> bool {
    if recorded_mtime == Timestamp::UNKNOWN || mtime == Timestamp::UNKNOWN {
        matches!(recorded, Validator::Stamp(_))
    } else {
        recorded_mtime == mtime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_confirms_and_its_absence_does_not() {
        let (told, other) = ([1, 2].map(|secs| Timestamp { secs, nanos: 0 })).into();
        let strong = Validator::Strong(b"v".as_slice().into());
        assert!(confirms(&strong, told, told));
        assert!(!confirms(&strong, told, other));
        for (recorded, mtime) in [
            (Timestamp::UNKNOWN, Timestamp::UNKNOWN),
            (Timestamp::UNKNOWN, told),
            (told, Timestamp::UNKNOWN),
        ] {
            assert!(
                !confirms(&strong, recorded, mtime),
                "{recorded:?} {mtime:?}"
            );
            assert!(confirms(&Validator::Stamp(1), recorded, mtime));
        }
    }
}
