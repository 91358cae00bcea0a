//! The target `answer`: what the heads of a web server's answers are to the remote.
//!
//! Held here: no head makes the judge panic; what lets bytes through says which bytes they are, and they lie within the
//! object and within what was asked for; the same head says the same again; and a validator survives being recorded.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::format::{decode_validator, encode_validator};
use crate::remote::answer_probe::judge_answer;
use crate::units::ByteRange;

/// The target. Two bytes are the status, two the range that was asked for (0: the whole object), and the rest are lines of
/// headers.
pub fn answer(data: &[u8]) {
    let Some(([status, more, start, len], text)) = data.split_first_chunk() else {
        return;
    };
    let status = match status {
        0 => 200,
        1 => 206,
        _ => u16::from_le_bytes([*status, *more]),
    };
    let range = (*len > 0).then(|| ByteRange::at(u64::from(*start) << 8, u64::from(*len)));
    let headers = headers(text);
    let first = judge_answer(range, status, &headers);
    assert_eq!(
        first,
        judge_answer(range, status, &headers),
        "one head, two verdicts"
    );
    let Some(passed) = first else { return };
    assert!(status == 200 || status == 206);
    assert!(passed.range.end <= passed.total);
    if let Some(asked) = range.filter(|_| status == 206) {
        assert_eq!(passed.range, asked.clip(ByteRange::new(0, passed.total)));
        assert!(!passed.range.is_empty());
    }
    if let Some(validator) = passed.validator {
        let recorded = encode_validator(&validator);
        assert_eq!(decode_validator(&recorded), Some(validator));
    }
}

fn headers(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    headers
}
