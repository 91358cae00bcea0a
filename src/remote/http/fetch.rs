//! One fetch: a range, or where that cannot be had the whole object, in one version.
//!
//! Invariants:
//!
//! * A byte is delivered only from an answer that [`answer::judge`] lets through and whose validator is the version
//!   announced; its place in the object is counted from the start that the answer names.
//! * The version is announced once. An answer that breaks off is continued in that version or not at all; an object
//!   without a validator is not continued, because only one single response is a version of it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use reqwest::{Response, Url};

use super::answer::{self, Judgement, Wanted};
use super::client::{Question, Reply, drain};
use super::patience::Patience;
use super::trouble::sentence;
use super::validator::{self, Version};
use super::{facts, web::Web};
use crate::remote::api::{RemoteError, Sink};
use crate::remote::policy::Delivery;
use crate::units::{ByteRange, Facts, ObjectName, Timestamp, Validator};

/// How long a sink that has no room is left alone.
const NO_ROOM: Duration = Duration::from_millis(5);

/// How long the end of an answer of which all bytes came is waited for.
const END: Duration = Duration::from_millis(200);

/// Delivers `range` to `sink`.
pub(super) async fn fetch(
    web: &Web,
    name: &ObjectName,
    range: ByteRange,
    bound: Option<&Validator>,
    sink: &mut dyn Sink,
) -> Result<(), RemoteError> {
    if name.is_root() {
        return Err(RemoteError::WrongKind);
    }
    let url = web.url_of(name)?;
    let mut course = Course {
        web,
        name,
        url,
        range,
        expected: bound.cloned(),
        announced: None,
        delivery: None,
        is_whole: false,
        asks_whole: false,
        at: range.start,
        patience: web.patience(),
    };
    if let Some(current) = course.current() {
        return course.leave_to_other(&current, sink);
    }
    if let Some(Validator::Stamp(stamp)) = bound {
        // The response that had this stamp is over; one that nothing was delivered under yet is still to be had.
        if web.shared.stamps.size_of(*stamp).is_none() {
            return Err(web.changed(facts::stat(web, name).await?));
        }
        course.asks_whole = true;
    }
    if range.is_empty() {
        return course.announce_empty(sink).await;
    }
    while course.attempt(sink).await?.is_continue() {}
    Ok(())
}

/// Where a fetch is.
struct Course<'a> {
    web: &'a Web,
    name: &'a ObjectName,
    url: Url,
    range: ByteRange,
    /// The version that the bytes must be of, once one is known.
    expected: Option<Validator>,
    /// The size that was announced with the version.
    announced: Option<u64>,
    /// Held while an object without validator is delivered.
    delivery: Option<Delivery<'a>>,
    /// The sink takes the whole object: `range` is all of it.
    is_whole: bool,
    /// The object cannot be had in parts.
    asks_whole: bool,
    /// The next byte to deliver.
    at: u64,
    patience: Patience<'a>,
}

/// An answer that has the bytes `span` of an object of `total` bytes.
struct Arrival {
    response: Response,
    span: ByteRange,
    total: u64,
    /// It is the answer of a server that ignores ranges, or of one that was asked for everything.
    is_whole: bool,
}

impl Course<'_> {
    /// One request and its answer. `Continue`: another is needed.
    async fn attempt(&mut self, sink: &mut dyn Sink) -> Result<ControlFlow<()>, RemoteError> {
        let asked = if self.asks_whole {
            Wanted::Whole
        } else {
            Wanted::Part(ByteRange::new(self.at, self.range.end))
        };
        let headers = conditions(asked, self.expected.as_ref());
        let question = Question::get(&self.url, headers);
        let response = match self.patience.ask(&question).await? {
            Reply::Answer(_, response) => *response,
            Reply::Slash => return Err(self.web.changed(self.web.dir(Timestamp::UNKNOWN))),
        };
        if facts::is_page_of_directory(self.web, response.headers()) {
            return Err(self.web.changed(self.web.dir(Timestamp::UNKNOWN)));
        }
        let judgement = answer::judge(asked, response.status(), response.headers());
        let arrival = match (judgement, asked) {
            (Judgement::Part { total }, Wanted::Part(part)) => Arrival {
                response,
                span: ByteRange::new(part.start, part.end.min(total)),
                total,
                is_whole: false,
            },
            (Judgement::Whole { total }, _) => Arrival {
                response,
                span: ByteRange::new(0, total),
                total,
                is_whole: true,
            },
            (Judgement::Refused { .. }, _) => {
                drain(response).await;
                return Err(self.refused().await);
            }
            (judgement, _) => return Err(facts::error_of(judgement)),
        };
        self.receive(arrival, sink).await
    }

    /// Compares the version of an answer with the one expected, announces it, and hands its bytes on.
    async fn receive(
        &mut self,
        arrival: Arrival,
        sink: &mut dyn Sink,
    ) -> Result<ControlFlow<()>, RemoteError> {
        let total = arrival.total;
        let version =
            validator::read(arrival.response.headers(), total).map_err(RemoteError::Untrusted)?;
        if version.validator.is_none()
            && let Some(current) = self.current()
        {
            // Another fetch was quicker with the same question.
            self.leave_to_other(&current, sink)?;
            return Ok(ControlFlow::Break(()));
        }
        let is_complete = arrival.span == ByteRange::new(0, total);
        let Some(facts) = self.compare(total, &version, is_complete)? else {
            // A part of an unknown version: only one response of all of the object is a version.
            self.asks_whole = true;
            return Ok(ControlFlow::Continue(()));
        };
        if self.announced.is_some_and(|announced| announced != total) {
            return Err(self.web.changed(facts));
        }
        if self.announced.is_none() {
            self.announce(&facts, version.settled, sink)?;
            self.range = self.range.clip(ByteRange::new(0, total));
            if arrival.is_whole && self.range != arrival.span {
                self.warn(&version);
                if !sink.whole() {
                    return Ok(ControlFlow::Break(()));
                }
                (self.is_whole, self.asks_whole) = (true, true);
                (self.range, self.at) = (arrival.span, 0);
            }
        }
        self.stream(arrival, sink).await
    }

    /// The facts of an answer of the version that is expected. `None` where the answer is a part of an object without a
    /// validator.
    fn compare(
        &mut self,
        total: u64,
        version: &Version,
        is_complete: bool,
    ) -> Result<Option<Facts>, RemoteError> {
        let mut facts = self.web.file(total, version);
        let stamps = &self.web.shared.stamps;
        match (&facts.validator, &self.expected) {
            (Some(_), None) => self.expected.clone_from(&facts.validator),
            (Some(found), Some(expected)) if found == expected => {}
            (None, Some(Validator::Stamp(stamp)))
                if self.announced.is_none() && stamps.size_of(*stamp) == Some(total) =>
            {
                facts.validator.clone_from(&self.expected);
            }
            (None, None) if is_complete => {
                facts.validator = Some(Validator::Stamp(stamps.mint_for_next(total)));
                self.expected.clone_from(&facts.validator);
            }
            (None, None) => return Ok(None),
            _ => return Err(self.web.changed(facts)),
        }
        Ok(Some(facts))
    }

    fn announce(
        &mut self,
        facts: &Facts,
        settled: bool,
        sink: &mut dyn Sink,
    ) -> Result<(), RemoteError> {
        // Where the receiver is bound to another version it may go over to this one: the stamp is still unused then.
        sink.version(facts, settled)?;
        self.announced = Some(facts.size);
        if let Some(Validator::Stamp(stamp)) = facts.validator {
            self.web.shared.stamps.take(stamp);
            self.delivery = Some(self.web.shared.stamps.deliver(self.name, facts));
        }
        Ok(())
    }

    /// The response without validator that another fetch of the same version, or of no known one, delivers now.
    fn current(&self) -> Option<Facts> {
        let current = self.web.shared.stamps.current(self.name)?;
        let is_same = self.expected.is_none() || self.expected == current.validator;
        (is_same && self.announced.is_none()).then_some(current)
    }

    /// Ends this fetch in favour of one that delivers the whole object already. A sink that does not share that one's
    /// bytes cannot have this version; where it was not bound to it, it may go over to the next response.
    fn leave_to_other(&mut self, current: &Facts, sink: &mut dyn Sink) -> Result<(), RemoteError> {
        sink.version(current, true)?;
        if !sink.whole() {
            return Ok(());
        }
        if self.expected.is_some() {
            let why = "this version consists of one response only, which is being delivered to another reader";
            return Err(RemoteError::Unreachable(why.into()));
        }
        Err(self.web.changed(Facts {
            validator: None,
            ..current.clone()
        }))
    }

    /// Says once per mount what the user should know of this server.
    fn warn(&self, version: &Version) {
        let first = |said: &AtomicBool| !said.swap(true, Ordering::Relaxed);
        let shared = &self.web.shared;
        if version.validator.is_none() {
            if first(&shared.told_of_versions) {
                tracing::warn!(
                    "the server sends neither ETag nor Last-Modified for {}: files without a version are fetched whole",
                    self.name
                );
            }
        } else if first(&shared.told_of_ranges) {
            tracing::warn!(
                "the server ignores range requests (first seen for {}): files are fetched whole",
                self.name
            );
        }
    }

    /// Hands on what of the answer's bytes is still wanted.
    async fn stream(
        &mut self,
        mut arrival: Arrival,
        sink: &mut dyn Sink,
    ) -> Result<ControlFlow<()>, RemoteError> {
        let mut here = arrival.span.start;
        let broke = loop {
            if self.at >= self.range.end && (arrival.is_whole || here == arrival.span.end) {
                break None;
            }
            if self.is_whole && sink.is_enough() {
                break None;
            }
            let chunk = arrival.response.chunk();
            let bytes = match tokio::time::timeout(self.patience.limit(), chunk).await {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => break Some("the answer ended early".to_owned()),
                Ok(Err(error)) => break Some(sentence(error)),
                Err(_) => break Some("the answer stalled".to_owned()),
            };
            let span = ByteRange::at(here, bytes.len() as u64);
            here = span.end;
            if here > arrival.span.end {
                return Err(RemoteError::Untrusted(format!(
                    "the server sent more than the {} that it announced",
                    arrival.span
                )));
            }
            self.hand_on(span, bytes, sink).await;
        };
        match broke {
            None if here < arrival.span.end || is_over(arrival.response).await => {
                Ok(ControlFlow::Break(()))
            }
            None => Err(RemoteError::Untrusted(format!(
                "the server sent more than the {} that it announced",
                arrival.span
            ))),
            Some(why) if matches!(self.expected, Some(Validator::Stamp(_))) => {
                Err(RemoteError::Unreachable(format!(
                    "{why} at byte {here} and cannot be resumed, because the server sends neither ETag nor Last-Modified"
                )))
            }
            Some(why) => {
                self.patience.pause(why).await?;
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    /// Delivers what of `bytes`, which are the object's `span`, was not delivered and is wanted.
    async fn hand_on(&mut self, span: ByteRange, bytes: Bytes, sink: &mut dyn Sink) {
        let wanted = span.clip(ByteRange::new(self.at, self.range.end));
        if wanted.is_empty() {
            return;
        }
        while self.is_whole && !sink.has_room() && !sink.is_enough() {
            tokio::time::sleep(NO_ROOM).await;
        }
        let within = |at: u64| usize::try_from(at - span.start).unwrap_or(bytes.len());
        sink.data(bytes.slice(within(wanted.start)..within(wanted.end)));
        self.at = wanted.end;
        self.patience.progress();
    }

    /// What a 412 or 416 means: the object as it is now tells.
    async fn refused(&mut self) -> RemoteError {
        let now = match facts::stat(self.web, self.name).await {
            Ok(now) => now,
            Err(error) => return error,
        };
        let is_same = now.size >= self.range.end
            && (self.expected.is_none() || now.validator == self.expected);
        match is_same {
            true => RemoteError::Untrusted(
                "the server refuses a range of the object although the object has not changed"
                    .into(),
            ),
            false => self.web.changed(now),
        }
    }

    /// An empty range needs no bytes, and its version all the same.
    async fn announce_empty(&mut self, sink: &mut dyn Sink) -> Result<(), RemoteError> {
        let mut facts = facts::stat(self.web, self.name).await?;
        if facts.validator.is_none() && self.expected.is_none() {
            let stamp = self.web.shared.stamps.mint();
            facts.validator = Some(Validator::Stamp(stamp));
        } else if self.expected.is_some() && facts.validator != self.expected {
            return Err(self.web.changed(facts));
        }
        sink.version(&facts, false)
    }
}

/// Whether nothing follows in the answer. Its end is waited for a moment, so that the connection can be used again.
async fn is_over(mut response: Response) -> bool {
    let end = async {
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(_)) => return false,
                Ok(None) | Err(_) => return true,
            }
        }
    };
    tokio::time::timeout(END, end).await.unwrap_or(true)
}

/// What a request asks for, and under which condition.
fn conditions(asked: Wanted, expected: Option<&Validator>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Wanted::Part(range) = asked {
        let text = format!("bytes={}-{}", range.start, range.end - 1);
        headers.extend(HeaderValue::try_from(text).ok().map(|value| (RANGE, value)));
    }
    let condition = match expected {
        Some(Validator::Strong(etag) | Validator::TimeEtag(etag)) => {
            let quoted = [b"\"".as_slice(), etag, b"\""].concat();
            HeaderValue::from_bytes(&quoted)
                .ok()
                .map(|value| (IF_MATCH, value))
        }
        Some(Validator::Modified { mtime, .. }) => validator::http_date(*mtime)
            .and_then(|date| HeaderValue::try_from(date).ok())
            .map(|value| (IF_UNMODIFIED_SINCE, value)),
        _ => None,
    };
    headers.extend(condition);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_validator_has_its_condition() {
        let part = Wanted::Part(ByteRange::new(10, 20));
        let text = |headers: &HeaderMap, name| {
            headers
                .get(name)
                .map(|value: &HeaderValue| value.to_str().unwrap().to_owned())
        };
        let mtime = Timestamp {
            secs: 86_400,
            nanos: 0,
        };
        let etag: Box<[u8]> = b"a-b".as_slice().into();
        let cases = [
            (None, None, None),
            (Some(Validator::Strong(etag.clone())), Some("\"a-b\""), None),
            (
                Some(Validator::TimeEtag(etag.clone())),
                Some("\"a-b\""),
                None,
            ),
            (Some(Validator::WeakEtag { etag, size: 1 }), None, None),
            (
                Some(Validator::Modified { mtime, size: 1 }),
                None,
                Some("Fri, 02 Jan 1970 00:00:00 GMT"),
            ),
            (Some(Validator::Stamp(1)), None, None),
        ];
        for (expected, if_match, since) in cases {
            let headers = conditions(part, expected.as_ref());
            assert_eq!(text(&headers, &RANGE).as_deref(), Some("bytes=10-19"));
            assert_eq!(text(&headers, &IF_MATCH).as_deref(), if_match);
            assert_eq!(text(&headers, &IF_UNMODIFIED_SINCE).as_deref(), since);
            assert!(!conditions(Wanted::Whole, expected.as_ref()).contains_key(RANGE));
        }
    }
}
