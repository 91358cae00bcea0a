//! What the head of an answer says of the version that its bytes belong to.
//!
//! Invariants: times are whole seconds; the same headers and size always give the same validator; a version whose
//! Last-Modified is less than two seconds older than the server's Date is provisional, whatever its class, because the
//! next change may leave time and size as they are. So a listing, which tells time and size alone, can confirm every
//! version that was ever recorded.

use std::time::UNIX_EPOCH;

use reqwest::header::{DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED};

use crate::units::{Timestamp, Validator};

/// How much older than the answer a version must be, in seconds.
const SETTLES_AFTER: i64 = 2;

/// A time further ahead than this, in seconds, was set by hand, and waiting for it would tell nothing.
const SET_BY_HAND: i64 = 86_400;

/// What an answer says of its version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Version {
    /// What identifies it; `None` where the server says nothing that does.
    pub(super) validator: Option<Validator>,
    /// Last-Modified, or [`Timestamp::UNKNOWN`].
    pub(super) mtime: Timestamp,
    /// Its bytes may be kept.
    pub(super) settled: bool,
}

/// The version of an object of `size` bytes by the head of an answer. The error is a sentence.
pub(super) fn read(headers: &HeaderMap, size: u64) -> Result<Version, String> {
    let modified = single(headers, &LAST_MODIFIED)?.and_then(seconds);
    let date = single(headers, &DATE)?.and_then(seconds);
    let etag = single(headers, &ETAG)?.and_then(|text| entity_tag(text, modified, size));
    let mtime = modified.map_or(Timestamp::UNKNOWN, |secs| Timestamp { secs, nanos: 0 });
    let by_time = || modified.map(|_| Validator::Modified { mtime, size });
    let validator = etag.or_else(by_time);
    let settled = match (modified, date) {
        (Some(modified), Some(date)) => {
            let age = date.saturating_sub(modified);
            !(-SET_BY_HAND..SETTLES_AFTER).contains(&age)
        }
        // Nothing tells how old it is: only what changes with the content proves anything.
        (Some(_), None) => matches!(validator, Some(Validator::Strong(_))),
        (None, _) => true,
    };
    Ok(Version {
        validator,
        mtime,
        settled,
    })
}

/// The value of a header that an answer has once, or more than once with one value.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, String> {
    let mut values = headers
        .get_all(name)
        .iter()
        .map(|value| value.as_bytes().trim_ascii());
    let first = values.next();
    match values.all(|value| Some(value) == first) {
        true => Ok(first),
        false => Err(format!("the server sent two different values of {name}")),
    }
}

/// A date of HTTP in seconds since 1970.
fn seconds(date: &[u8]) -> Option<i64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// Last-Modified of the version, as a condition names it.
pub(super) fn http_date(time: Timestamp) -> Option<String> {
    let since_1970 = std::time::Duration::from_secs(u64::try_from(time.secs).ok()?);
    Some(httpdate::fmt_http_date(UNIX_EPOCH.checked_add(since_1970)?))
}

/// The validator that an ETag is. `None` for an empty one, which any content could have.
fn entity_tag(text: &[u8], modified: Option<i64>, size: u64) -> Option<Validator> {
    let weak = text.strip_prefix(b"W/");
    let opaque = weak
        .unwrap_or(text)
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .filter(|opaque| !opaque.contains(&b'"'));
    match (opaque, weak) {
        (Some(b""), _) => None,
        (Some(opaque), None) if is_time_and_size(opaque, modified, size) => {
            Some(Validator::TimeEtag(opaque.into()))
        }
        (Some(opaque), None) => Some(Validator::Strong(opaque.into())),
        (Some(opaque), Some(_)) => Some(Validator::WeakEtag {
            etag: opaque.into(),
            size,
        }),
        // What is not well-formed cannot be sent back as a condition; it can be compared.
        (None, _) if text.is_empty() => None,
        (None, _) => Some(Validator::WeakEtag {
            etag: text.into(),
            size,
        }),
    }
}

/// Whether an ETag is made of nothing but the size and the time of the last change (and an inode number), as the usual
/// servers make them: nginx and aiohttp (time-size, hexadecimal), Apache (size-time, inode-size-time), dufs (decimal),
/// Caddy (both in base 36, without a separator), lighttpd (a decimal hash of the three). Where Last-Modified is known the
/// time in the ETag alone decides: the class of one ETag must not depend on a size that an answer may have wrong.
fn is_time_and_size(opaque: &[u8], modified: Option<i64>, size: u64) -> bool {
    let Ok(text) = std::str::from_utf8(opaque) else {
        return false;
    };
    let parts: Vec<&str> = text.split('-').collect();
    let pair = |radix| match (parts.as_slice(), modified) {
        ([a, b] | [_, a, b], Some(modified)) => match (number(a, radix), number(b, radix)) {
            (Some(a), Some(b)) => is_time(a, modified) || is_time(b, modified),
            _ => false,
        },
        ([a, b] | [_, a, b], None) => [a, b].map(|part| number(part, radix)).contains(&Some(size)),
        _ => false,
    };
    let is_hash = text.len() >= 6 && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    // Of seconds there are six digits, of nanoseconds twelve, in our days.
    let is_joined = [6, 12].into_iter().any(|digits| {
        let time = text.get(..digits).and_then(|time| number(time, 36));
        time.zip(modified)
            .is_some_and(|(time, modified)| is_time(time, modified))
    });
    pair(16) || pair(10) || is_hash || is_joined
}

fn number(text: &str, radix: u32) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    u64::from_str_radix(text, radix).ok().filter(|_| is_plain)
}

/// Whether `number` is the time `modified`, in seconds or in one of the smaller units.
fn is_time(number: u64, modified: i64) -> bool {
    let units = [1, 1000, 1_000_000, 1_000_000_000];
    units
        .into_iter()
        .any(|unit| i64::try_from(number / unit) == Ok(modified))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;
    use crate::units::ValidatorClass;

    const OLD: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
    const OLD_SECS: i64 = 0x5e0b_e100;
    const DAY: &str = "Thu, 02 Jan 2020 00:00:00 GMT";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    /// As `format-spec.md` says of the validators of a blob record.
    #[test]
    fn a_well_formed_etag_is_kept_without_its_quotes() {
        let kept = |etag: &str| {
            let version = read(&headers(&[("etag", etag)]), 7).unwrap();
            match version.validator.unwrap() {
                Validator::WeakEtag { etag, .. } => ("weak", etag),
                Validator::TimeEtag(etag) => ("time", etag),
                Validator::Strong(etag) => ("strong", etag),
                other => panic!("{other:?}"),
            }
        };
        for (etag, class, bytes) in [
            ("\"abc\"", "strong", "abc"),
            ("\"5e0be100-7\"", "time", "5e0be100-7"),
            ("W/\"abc\"", "weak", "abc"),
            ("abc", "weak", "abc"),
            ("\"a\"b\"", "weak", "\"a\"b\""),
            ("W/abc", "weak", "W/abc"),
        ] {
            assert_eq!(kept(etag), (class, bytes.as_bytes().into()), "{etag}");
        }
    }

    #[test]
    fn an_etag_is_of_the_class_that_it_shows() {
        use ValidatorClass::{Modified, Strong, TimeEtag, WeakEtag};
        let cases = [
            ("\"5e0be100-2dc6c0\"", 3_000_000, TimeEtag),
            ("\"5e0be100-2dc6c1\"", 3_000_000, TimeEtag),
            ("\"5e0be101-2dc6c0\"", 3_000_000, Strong),
            ("\"2dc6c0-59b08c1fa4000\"", 3_000_000, TimeEtag),
            ("\"1f-2dc6c0-59b08c1fa4000\"", 3_000_000, TimeEtag),
            ("\"1577836800000-3000000\"", 3_000_000, TimeEtag),
            ("\"15e59a35b98a0000-2dc6c0\"", 3_000_000, TimeEtag),
            ("\"r3eio01satc\"", 3_000_000, Strong),
            ("\"q3eio01satc\"", 3_000_000, TimeEtag),
            ("\"bzk0gr9x2io01satc\"", 3_000_000, TimeEtag),
            ("\"2847503948\"", 7, TimeEtag),
            ("\"d41d8cd98f00b204e9800998ecf8427e\"", 0, Strong),
            ("\"d41d8cd98f00b204e9800998ecf8427e-3\"", 3, Strong),
            ("W/\"5e0be100-2dc6c0\"", 3_000_000, WeakEtag),
            ("unquoted", 1, WeakEtag),
            ("\"a\"b\"", 1, WeakEtag),
            ("\"\"", 1, Modified),
            ("W/\"\"", 1, Modified),
            ("", 1, Modified),
        ];
        for (etag, size, class) in cases {
            let head = headers(&[("etag", etag), ("last-modified", OLD), ("date", DAY)]);
            let version = read(&head, size).unwrap();
            assert_eq!(version.validator.unwrap().class(), class, "{etag}");
            assert_eq!(version.mtime.secs, OLD_SECS);
            assert!(version.settled);
        }
    }

    #[test]
    fn without_an_etag_time_and_size_are_the_version() {
        let head = headers(&[("last-modified", OLD), ("date", DAY)]);
        let version = read(&head, 5).unwrap();
        let mtime = Timestamp {
            secs: OLD_SECS,
            nanos: 0,
        };
        assert_eq!(
            version.validator,
            Some(Validator::Modified { mtime, size: 5 })
        );
        assert_eq!(http_date(mtime).unwrap(), OLD);
        let undated = |size| {
            read(&headers(&[("etag", "\"5e0be100-5\"")]), size)
                .unwrap()
                .validator
        };
        assert_eq!(undated(5).unwrap().class(), ValidatorClass::TimeEtag);
        assert_eq!(undated(6).unwrap().class(), ValidatorClass::Strong);
        let nothing = read(&headers(&[("date", DAY)]), 5).unwrap();
        assert_eq!(
            (nothing.validator, nothing.mtime),
            (None, Timestamp::UNKNOWN)
        );
        assert!(nothing.settled);
        let broken = read(&headers(&[("last-modified", "yesterday")]), 5).unwrap();
        assert_eq!(broken.validator, None);
    }

    #[test]
    fn a_young_version_is_provisional_whatever_its_class() {
        let cases = [
            ("Wed, 01 Jan 2020 00:00:00 GMT", false),
            ("Wed, 01 Jan 2020 00:00:01 GMT", false),
            ("Wed, 01 Jan 2020 00:00:02 GMT", true),
            ("Tue, 31 Dec 2019 23:59:00 GMT", false),
            ("Mon, 30 Dec 2019 00:00:00 GMT", true),
        ];
        for etag in ["\"strong\"", "W/\"weak\"", "\"5e0be100-1\"", ""] {
            for (date, settled) in cases {
                let head = headers(&[("etag", etag), ("last-modified", OLD), ("date", date)]);
                assert_eq!(read(&head, 1).unwrap().settled, settled, "{etag} {date}");
            }
        }
        let undated = |etag| read(&headers(&[("etag", etag), ("last-modified", OLD)]), 1).unwrap();
        assert!(undated("\"strong\"").settled);
        assert!(!undated("W/\"weak\"").settled);
        assert!(read(&headers(&[("etag", "W/\"w\"")]), 1).unwrap().settled);
    }

    #[test]
    fn two_values_of_one_header_are_refused() {
        let head = headers(&[("etag", "\"a\""), ("etag", "\"b\"")]);
        assert!(read(&head, 1).unwrap_err().contains("etag"));
        let head = headers(&[("etag", "\"a\""), ("etag", "\"a\"")]);
        assert_eq!(
            read(&head, 1).unwrap().validator,
            Some(Validator::Strong(b"a".as_slice().into()))
        );
    }
}
