//! What a request is answered with: a head, and the steps of the body. Pure.
//!
//! The bytes that are sent for a range are always those of the place that Content-Range names, and of one version: what
//! lies is said about them, not in them.

use std::sync::Arc;

use bytes::Bytes;

use super::body::{Part, body};
use super::content::{Content, Version};
use super::request::{Method, Request, Wanted, conditions_hold};
use super::response::{End, Head, Response, Step, http_date};
use super::script::{Fault, RangeLie};
use crate::units::ByteRange;

/// The query of a request that is sent to the other server to be sent back, and of the one that comes back.
pub(super) const BACK: &str = "back";

/// What a name stands for.
pub(super) enum Target {
    /// An object: the version that is there, and the one before it.
    File(Arc<Version>, Option<Arc<Version>>),
    /// A directory's listing, with its media type.
    Listing(Bytes, &'static str),
    /// A directory that was asked for without its slash: where it is.
    Moved(String),
    /// Nothing.
    Missing,
}

/// What an answer depends on besides the request, the target and the fault.
pub(super) struct Circumstances {
    /// The time, in seconds since 1970.
    pub(super) now: u64,
    /// The number of the request.
    pub(super) number: u64,
    /// The URL of the server that redirects lead to (the other one of the two), without a slash at its end.
    pub(super) elsewhere: String,
}

/// An answer without an object in it.
fn short(request: &Request, status: u16, now: u64, headers: &[(&str, &str)]) -> Response {
    let body = Bytes::from(format!("{status}\n"));
    let mut head = Head::new(status, now)
        .with("Content-Type", "text/plain")
        .with("Content-Length", if status == 304 { 0 } else { body.len() });
    for (name, value) in headers {
        head = head.with(name, value);
    }
    let mut steps = vec![head.done()];
    if request.method != Method::Head && status != 304 {
        steps.push(Step::Send(body));
    }
    Response {
        status,
        steps,
        end: End::Keep,
        claimed: None,
    }
}

/// The answer to a client that has not said who it is.
pub(super) fn unauthorized(request: &Request, now: u64) -> Response {
    short(
        request,
        401,
        now,
        &[("WWW-Authenticate", "Basic realm=\"origin\"")],
    )
}

/// The answer to a request.
pub(super) fn respond(
    request: &Request,
    target: &Target,
    fault: Option<&Fault>,
    at: &Circumstances,
) -> Response {
    let head_only = request.method == Method::Head;
    match fault {
        Some(Fault::Silence) => return Response::hang(Vec::new(), 0),
        Some(Fault::Stall { .. }) if head_only => return Response::hang(Vec::new(), 0),
        Some(Fault::Cut { .. } | Fault::Reset { .. }) if head_only => {
            let reset = matches!(fault, Some(Fault::Reset { .. }));
            return Response {
                status: 0,
                steps: Vec::new(),
                end: if reset { End::Reset } else { End::Close },
                claimed: None,
            };
        }
        Some(Fault::Status(status, after)) => {
            let after: Vec<_> = after.iter().map(|after| ("Retry-After", *after)).collect();
            return short(request, *status, at.now, &after);
        }
        Some(Fault::RedirectLoop) => {
            return short(request, 302, at.now, &[("Location", &request.target)]);
        }
        Some(Fault::RedirectElsewhere) => {
            let location = format!("{}{}", at.elsewhere, request.target);
            return short(request, 302, at.now, &[("Location", &location)]);
        }
        Some(Fault::RedirectBack) => {
            let path = request.target.split('?').next().unwrap_or_default();
            let location = format!("{}{path}?{BACK}", at.elsewhere);
            return short(request, 302, at.now, &[("Location", &location)]);
        }
        Some(Fault::RedirectTo(location)) => {
            return short(request, 302, at.now, &[("Location", location)]);
        }
        _ => {}
    }
    match target {
        Target::Missing => short(request, 404, at.now, &[]),
        Target::Moved(location) => short(request, 301, at.now, &[("Location", location)]),
        Target::Listing(bytes, media) => {
            let content = Content::Given(bytes.clone());
            let head = Head::new(200, at.now).with("Content-Type", media);
            let all = ByteRange::new(0, content.size());
            body(
                request,
                Part {
                    status: 200,
                    head,
                    content,
                    range: all,
                    total: None,
                },
                fault,
            )
        }
        Target::File(version, before) => file(request, version, before.as_deref(), fault, at),
    }
}

/// The answer of an object.
fn file(
    request: &Request,
    version: &Version,
    before: Option<&Version>,
    fault: Option<&Fault>,
    at: &Circumstances,
) -> Response {
    let (etag, size) = (version.etag(), version.size());
    let shown = match (fault, &etag) {
        (Some(Fault::NoEtag), _) => None,
        (Some(Fault::WeakEtag), Some(etag)) if !etag.starts_with("W/") => Some(format!("W/{etag}")),
        (Some(Fault::LyingEtag), _) => Some(format!("\"lie-{}\"", at.number)),
        (Some(Fault::HeadLies), _) if request.method == Method::Head => before
            .and_then(Version::etag)
            .or_else(|| Some("\"other\"".into())),
        _ => etag.clone(),
    };
    let modified = http_date(version.modified());
    let mut headers: Vec<(&str, &str)> = vec![("Accept-Ranges", "bytes")];
    headers.extend(shown.iter().map(|etag| ("ETag", etag.as_str())));
    if version.object.tells_modified {
        headers.push(("Last-Modified", &modified));
    }
    let told = version.object.tells_modified.then(|| version.modified());
    if fault != Some(&Fault::NoConditions)
        && let Err(status) = conditions_hold(request, etag.as_deref(), told)
    {
        return short(
            request,
            status,
            at.now,
            if status == 304 { &headers } else { &[] },
        );
    }
    let ranged = version.object.ranges && fault != Some(&Fault::WholeForRange);
    let wanted = if ranged && request.method == Method::Get {
        request.range(size)
    } else {
        Wanted::All
    };
    if !version.object.ranges {
        headers.remove(0);
    }
    let (status, range) = match wanted {
        Wanted::All => (200, ByteRange::new(0, size)),
        Wanted::Part(range) => (206, placed(range, size, fault)),
        Wanted::Nothing => {
            let star = format!("bytes */{size}");
            return short(request, 416, at.now, &[("Content-Range", &star)]);
        }
    };
    let mut head = Head::new(status, at.now);
    for (name, value) in headers {
        head = head.with(name, value);
    }
    let content = version.object.content.clone();
    let total = (status == 206).then_some(size);
    body(
        request,
        Part {
            status,
            head,
            content,
            range,
            total,
        },
        fault,
    )
}

/// Where the bytes come from that are sent for a range.
fn placed(range: ByteRange, size: u64, fault: Option<&Fault>) -> ByteRange {
    let Some(Fault::Range(lie)) = fault else {
        return range;
    };
    match lie {
        RangeLie::Start if range.start > 0 => ByteRange::at(range.start / 2, range.len()),
        RangeLie::Start => ByteRange::new(1, range.end.max(2)).clip(ByteRange::new(0, size)),
        RangeLie::EndBefore => ByteRange::at(range.start, range.len().div_ceil(2)),
        RangeLie::EndAfter => {
            ByteRange::new(range.start, range.end + 1000).clip(ByteRange::new(0, size))
        }
        _ => range,
    }
}
