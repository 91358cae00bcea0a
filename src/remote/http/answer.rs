//! Judges the head of an answer against what was asked, before a byte of its body is looked at.
//!
//! Invariants: a judgement that lets bytes through ([`Judgement::Part`], [`Judgement::Whole`]) says exactly which bytes of
//! the object they are and how long the object is; whatever leaves that open is [`Judgement::Lies`].

use reqwest::StatusCode;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING,
};

use super::validator::single;
use crate::units::ByteRange;

/// What a GET asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// These bytes; not none.
    Part(ByteRange),
    /// The whole object: the request had no Range.
    Whole,
}

/// What an answer is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Judgement {
    /// The asked range of an object of `total` bytes, cut where the object ends.
    Part {
        /// The object's size.
        total: u64,
    },
    /// The whole object, from its first byte.
    Whole {
        /// The object's size.
        total: u64,
    },
    /// 412 or 416: the condition does not hold, or the range lies outside.
    Refused {
        /// The object's size, where the answer tells it.
        total: Option<u64>,
    },
    /// There is no such object.
    NotFound,
    /// The credentials, or their lack.
    Forbidden,
    /// The server refuses for a reason that another request does not mend; the sentence names the status.
    Fails(String),
    /// An answer that cannot be; the sentence says what.
    Lies(String),
}

/// What the answer to a HEAD is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum HeadJudgement {
    /// An object of this size.
    Length(u64),
    /// Nothing that helps: a GET must be asked.
    AskGet,
    /// As for a GET; never one that lets bytes through.
    No(Judgement),
}

/// The judgement on the answer to a GET.
pub(super) fn judge(asked: Wanted, status: StatusCode, headers: &HeaderMap) -> Judgement {
    let judgement = match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            encoding(headers).and_then(|()| match (asked, status) {
                (Wanted::Part(range), StatusCode::PARTIAL_CONTENT) => part(range, headers),
                (Wanted::Whole, StatusCode::PARTIAL_CONTENT) => {
                    Err("the server answered 206 to a request without a range".into())
                }
                _ => whole(headers),
            })
        }
        StatusCode::PRECONDITION_FAILED => Ok(Judgement::Refused { total: None }),
        StatusCode::RANGE_NOT_SATISFIABLE => Ok(Judgement::Refused {
            total: unsatisfied(headers),
        }),
        _ => Ok(refusal(status)),
    };
    judgement.unwrap_or_else(Judgement::Lies)
}

/// The judgement on the answer to a HEAD.
pub(super) fn judge_head(status: StatusCode, headers: &HeaderMap) -> HeadJudgement {
    match status {
        StatusCode::OK => match encoding(headers).and_then(|()| length(headers)) {
            // Some servers say 0 in every answer to a HEAD: an empty file is shown as one only when a GET says so too.
            Ok(Some(0) | None) | Err(_) => HeadJudgement::AskGet,
            Ok(Some(length)) => HeadJudgement::Length(length),
        },
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => HeadJudgement::AskGet,
        _ => HeadJudgement::No(refusal(status)),
    }
}

/// What a status without content says.
fn refusal(status: StatusCode) -> Judgement {
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Judgement::NotFound,
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Judgement::Forbidden,
        _ if status.is_client_error() || status.is_server_error() => {
            Judgement::Fails(format!("the server answered {status}"))
        }
        _ => Judgement::Lies(format!(
            "the server answered {status} to a plain GET or HEAD request"
        )),
    }
}

/// Whether the body is the object's own bytes.
fn encoding(headers: &HeaderMap) -> Result<(), String> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = value.as_bytes().trim_ascii();
        if !value.is_empty() && !value.eq_ignore_ascii_case(b"identity") {
            let shown = value.escape_ascii();
            return Err(format!(
                "the server applied Content-Encoding {shown}, which larder had ruled out"
            ));
        }
    }
    for value in headers.get_all(TRANSFER_ENCODING) {
        let value = value.as_bytes().trim_ascii();
        if !value.eq_ignore_ascii_case(b"chunked") && !value.eq_ignore_ascii_case(b"identity") {
            let shown = value.escape_ascii();
            return Err(format!(
                "the server applied Transfer-Encoding {shown}, which larder had ruled out"
            ));
        }
    }
    Ok(())
}

fn length(headers: &HeaderMap) -> Result<Option<u64>, String> {
    match single(headers, &CONTENT_LENGTH)? {
        None => Ok(None),
        Some(text) => match number(text) {
            Some(length) => Ok(Some(length)),
            None => Err(format!(
                "the server sent an invalid Content-Length: {}",
                text.escape_ascii()
            )),
        },
    }
}

fn whole(headers: &HeaderMap) -> Result<Judgement, String> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err("the server answered 200 with a Content-Range".into());
    }
    match length(headers)? {
        Some(total) => Ok(Judgement::Whole { total }),
        None => Err("the server did not send the length of the object".into()),
    }
}

fn part(asked: ByteRange, headers: &HeaderMap) -> Result<Judgement, String> {
    let kind = single(headers, &CONTENT_TYPE)?.unwrap_or_default();
    let multipart = b"multipart/byteranges";
    if kind.len() >= multipart.len() && kind[..multipart.len()].eq_ignore_ascii_case(multipart) {
        return Err("the server answered a request for one range with multipart/byteranges".into());
    }
    let Some(text) = single(headers, &CONTENT_RANGE)? else {
        return Err("the server answered 206 without a Content-Range".into());
    };
    let Some((range, total)) = content_range(text) else {
        return Err(format!(
            "the server sent an invalid Content-Range: {}",
            text.escape_ascii()
        ));
    };
    if range != ByteRange::new(asked.start, asked.end.min(total)) {
        let shown = text.escape_ascii();
        return Err(format!(
            "the server sent {shown} when {asked} was requested"
        ));
    }
    match length(headers)? {
        Some(length) if length != range.len() => Err(format!(
            "the server sent a Content-Length of {length} for {} bytes",
            range.len()
        )),
        _ => Ok(Judgement::Part { total }),
    }
}

/// The range and the total of `bytes a-b/total`; only where the range lies within.
fn content_range(text: &[u8]) -> Option<(ByteRange, u64)> {
    let (range, total) = split_once(bytes_unit(text)?, b'/')?;
    let (first, last) = split_once(range, b'-')?;
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (first <= last && last < total).then(|| (ByteRange::new(first, last + 1), total))
}

/// The total of `bytes */total`.
fn unsatisfied(headers: &HeaderMap) -> Option<u64> {
    let text = single(headers, &CONTENT_RANGE).ok()??;
    number(bytes_unit(text)?.strip_prefix(b"*/")?)
}

fn bytes_unit(text: &[u8]) -> Option<&[u8]> {
    let (unit, rest) = split_once(text, b' ')?;
    unit.eq_ignore_ascii_case(b"bytes")
        .then(|| rest.trim_ascii())
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let n = text.iter().position(|byte| *byte == at)?;
    Some((&text[..n], &text[n + 1..]))
}

/// A decimal number, of digits alone.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn judged(asked: Wanted, status: u16, pairs: &[(&'static str, &str)]) -> Judgement {
        judge(
            asked,
            StatusCode::from_u16(status).unwrap(),
            &headers(pairs),
        )
    }

    fn lies(judgement: &Judgement) -> bool {
        matches!(judgement, Judgement::Lies(_))
    }

    const ASKED: Wanted = Wanted::Part(ByteRange { start: 10, end: 20 });
    const LENGTH: &str = "content-length";
    const RANGE: &str = "content-range";

    #[test]
    fn a_part_is_exactly_what_was_asked_for() {
        let good: &[(&[(&str, &str)], u64)] = &[
            (&[(RANGE, "bytes 10-19/100")], 100),
            (&[(RANGE, "bytes 10-19/100"), (LENGTH, "10")], 100),
            (&[(RANGE, "bytes 10-19/20"), (LENGTH, "10")], 20),
            (&[(RANGE, "bytes 10-14/15"), (LENGTH, "5")], 15),
            (
                &[(RANGE, "BYTES 10-19/100"), ("content-encoding", "identity")],
                100,
            ),
        ];
        for (pairs, total) in good {
            let judgement = judged(ASKED, 206, pairs);
            assert_eq!(judgement, Judgement::Part { total: *total }, "{pairs:?}");
        }
        let bad: &[&[(&str, &str)]] = &[
            &[],
            &[(LENGTH, "10")],
            &[(RANGE, "bytes 10-19/*")],
            &[(RANGE, "bytes */100")],
            &[(RANGE, "bytes 0-9/100")],
            &[(RANGE, "bytes 10-18/100")],
            &[(RANGE, "bytes 10-20/100")],
            &[(RANGE, "bytes 9-19/100")],
            &[(RANGE, "bytes 10-19/19")],
            &[(RANGE, "bytes 19-10/100")],
            &[(RANGE, "bytes 10-19/+100")],
            &[(RANGE, "bytes 10-19/99999999999999999999")],
            &[(RANGE, "items 10-19/100")],
            &[(RANGE, "bytes 10-19")],
            &[(RANGE, "bytes 10-19/100"), (RANGE, "bytes 0-9/100")],
            &[(RANGE, "bytes 10-19/100"), (LENGTH, "11")],
            &[(RANGE, "bytes 10-19/100"), (LENGTH, "-1")],
            &[(RANGE, "bytes 10-19/100"), ("content-encoding", "gzip")],
            &[
                (RANGE, "bytes 10-19/100"),
                ("transfer-encoding", "gzip, chunked"),
            ],
            &[
                (RANGE, "bytes 10-19/100"),
                ("content-type", "Multipart/ByteRanges; boundary=x"),
            ],
        ];
        for pairs in bad {
            assert!(lies(&judged(ASKED, 206, pairs)), "{pairs:?}");
        }
        assert!(lies(&judged(
            Wanted::Whole,
            206,
            &[(RANGE, "bytes 0-9/10")]
        )));
    }

    #[test]
    fn a_whole_object_has_a_length() {
        for asked in [ASKED, Wanted::Whole] {
            assert_eq!(
                judged(asked, 200, &[(LENGTH, "7")]),
                Judgement::Whole { total: 7 }
            );
            assert!(lies(&judged(asked, 200, &[])));
            assert!(lies(&judged(asked, 200, &[(LENGTH, "7"), (LENGTH, "8")])));
            assert!(lies(&judged(
                asked,
                200,
                &[(LENGTH, "7"), ("content-encoding", "br")]
            )));
            assert!(lies(&judged(
                asked,
                200,
                &[(LENGTH, "7"), (RANGE, "bytes 0-6/7")]
            )));
        }
    }

    #[test]
    fn each_refusal_is_what_it_says() {
        for status in [404, 410] {
            assert_eq!(judged(ASKED, status, &[]), Judgement::NotFound);
        }
        for status in [401, 403, 407] {
            assert_eq!(judged(ASKED, status, &[]), Judgement::Forbidden);
        }
        assert_eq!(judged(ASKED, 412, &[]), Judgement::Refused { total: None });
        let outside = judged(ASKED, 416, &[(RANGE, "bytes */5")]);
        assert_eq!(outside, Judgement::Refused { total: Some(5) });
        assert_eq!(judged(ASKED, 416, &[]), Judgement::Refused { total: None });
        for status in [400, 414, 451, 500] {
            let judgement = judged(ASKED, status, &[]);
            assert!(
                matches!(&judgement, Judgement::Fails(why) if why.contains(&status.to_string()))
            );
        }
        for status in [201, 204, 226, 304] {
            assert!(lies(&judged(ASKED, status, &[])), "{status}");
        }
    }

    #[test]
    fn a_head_tells_a_length_or_nothing() {
        let head = |status, pairs: &[(&'static str, &str)]| {
            judge_head(StatusCode::from_u16(status).unwrap(), &headers(pairs))
        };
        assert_eq!(head(200, &[(LENGTH, "7")]), HeadJudgement::Length(7));
        for (status, pairs) in [
            (200, [(LENGTH, "0")].as_slice()),
            (200, &[]),
            (200, &[(LENGTH, "x")]),
            (200, &[(LENGTH, "7"), ("content-encoding", "gzip")]),
            (405, &[]),
            (501, &[]),
        ] {
            assert_eq!(
                head(status, pairs),
                HeadJudgement::AskGet,
                "{status} {pairs:?}"
            );
        }
        assert_eq!(head(404, &[]), HeadJudgement::No(Judgement::NotFound));
        assert!(matches!(
            head(206, &[]),
            HeadJudgement::No(Judgement::Lies(_))
        ));
    }
}
