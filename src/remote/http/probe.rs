//! A door for tests and fuzz targets: what the head of any answer is judged to be.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::answer::{Judgement, Wanted, judge, judge_head};
use super::{retry, validator};
use crate::units::{ByteRange, Validator};

/// What the head of an answer lets through: bytes of an object, in a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Let {
    /// The bytes of the object that the body is.
    pub range: ByteRange,
    /// The object's size.
    pub total: u64,
    /// The version's validator, where the answer has one.
    pub validator: Option<Validator>,
    /// Whether the bytes may be kept.
    pub settled: bool,
}

/// What comes of an answer to a GET of `range`, or of the whole object; `None` where no byte of it is looked at.
pub fn judge_answer(range: Option<ByteRange>, status: u16, headers: &HeaderMap) -> Option<Let> {
    let status = StatusCode::from_u16(status).ok()?;
    judge_head(status, headers);
    for value in headers.get_all(reqwest::header::RETRY_AFTER) {
        retry::retry_after(value.to_str().unwrap_or_default(), None);
    }
    let asked = range.map_or(Wanted::Whole, Wanted::Part);
    let (range, total) = match (judge(asked, status, headers), asked) {
        (Judgement::Part { total }, Wanted::Part(range)) => {
            (range.clip(ByteRange::new(0, total)), total)
        }
        (Judgement::Whole { total }, _) => (ByteRange::new(0, total), total),
        _ => return None,
    };
    let version = validator::read(headers, total).ok()?;
    Some(Let {
        range,
        total,
        validator: version.validator,
        settled: version.settled,
    })
}
