//! The body of an answer and the lines of the head that speak of it, with the faults that lie there. Pure.

use bytes::Bytes;

use super::content::{Content, gzip};
use super::request::{Method, Request};
use super::response::{End, Head, Response, Step};
use super::script::{Fault, LengthLie, RangeLie};
use crate::units::ByteRange;

/// What is sent of a content.
pub(super) struct Part {
    pub(super) status: u16,
    pub(super) head: Head,
    pub(super) content: Content,
    pub(super) range: ByteRange,
    /// The size of the object, where only a range of it is sent.
    pub(super) total: Option<u64>,
}

/// What Content-Range says, where it is there.
fn content_range(range: ByteRange, total: u64, fault: Option<&Fault>) -> (Option<String>, u64) {
    let place = format!("bytes {}-{}", range.start, range.end.saturating_sub(1));
    let lie = match fault {
        Some(Fault::Range(lie)) => Some(lie),
        _ => None,
    };
    let claimed = match lie {
        Some(RangeLie::TotalMore) => total + 7,
        Some(RangeLie::TotalLess) => (total / 2).max(range.end),
        _ => total,
    };
    let said = match lie {
        Some(RangeLie::Missing) => None,
        Some(RangeLie::Garbage) => Some("bytes of some kind".to_owned()),
        Some(RangeLie::TotalUnknown) => Some(format!("{place}/*")),
        _ => Some(format!("{place}/{claimed}")),
    };
    (said, claimed)
}

/// The head's last lines and the body, with the faults that lie there.
pub(super) fn body(request: &Request, part: Part, fault: Option<&Fault>) -> Response {
    let Part {
        status,
        mut head,
        content,
        range,
        total,
    } = part;
    let mut claimed = None;
    if let Some(total) = total {
        if fault == Some(&Fault::Multipart) {
            return multipart(head, content, range, total);
        }
        let (said, size) = content_range(range, total, fault);
        claimed = (size != total).then_some(size);
        if let Some(said) = said {
            head = head.with("Content-Range", said);
        }
    }
    let mut sent = Sent {
        content,
        range,
        extra: Bytes::new(),
        end: End::Keep,
    };
    let Some((lines, said)) = framed(fault, &mut sent) else {
        return chunked(request, status, head, sent);
    };
    if fault == Some(&Fault::Gzip) {
        head = head.with("Content-Encoding", "gzip");
    }
    for line in lines {
        head = head.with("Content-Length", line);
    }
    // What a whole answer says of its length is the size of the object.
    claimed = claimed.or(said.filter(|_| total.is_none()));
    let mut steps = vec![head.done()];
    if request.method == Method::Head {
        let end = if fault == Some(&Fault::EarlyClose) {
            End::Close
        } else {
            End::Keep
        };
        return Response {
            status,
            steps,
            end,
            claimed,
        };
    }
    let stopped = steps_of(&mut steps, sent, fault);
    Response {
        status,
        steps,
        end: stopped,
        claimed,
    }
}

/// What is sent as a body, and what follows.
struct Sent {
    content: Content,
    range: ByteRange,
    extra: Bytes,
    end: End,
}

/// Puts together what is really sent. Returns the lines of its Content-Length and the number that they say, where it is
/// not the right one; `None` for a chunked body.
fn framed(fault: Option<&Fault>, sent: &mut Sent) -> Option<(Vec<String>, Option<u64>)> {
    let (range, len) = (sent.range, sent.range.len());
    match fault {
        Some(Fault::Gzip) => {
            let packed = gzip(&sent.content.bytes(range));
            sent.range = ByteRange::new(0, packed.len() as u64);
            sent.content = Content::Given(packed);
            Some((vec![sent.range.len().to_string()], None))
        }
        Some(Fault::ChunkedFewer(by)) => {
            sent.range = ByteRange::at(range.start, len.saturating_sub(*by));
            None
        }
        Some(Fault::ChunkedMore(by)) => {
            let more = ByteRange::new(range.end, range.end + by);
            let noise = Content::Seeded {
                seed: 1,
                len: more.end,
            };
            sent.extra = noise.bytes(more);
            None
        }
        Some(Fault::Length(lie)) => {
            if matches!(lie, LengthLie::Larger(_) | LengthLie::Two) {
                sent.end = End::Close;
            }
            Some(length_lines(*lie, len))
        }
        _ => Some((vec![len.to_string()], None)),
    }
}

/// The steps of a body that may not come to its end.
fn steps_of(steps: &mut Vec<Step>, sent: Sent, fault: Option<&Fault>) -> End {
    let Sent {
        content,
        range,
        end,
        ..
    } = sent;
    let upto = |at: &u16| ByteRange::at(range.start, range.len() * u64::from(*at) / 256);
    match fault {
        Some(Fault::Cut { at }) => {
            steps.push(Step::Body(content, upto(at)));
            End::Close
        }
        Some(Fault::Reset { at }) => {
            steps.push(Step::Body(content, upto(at)));
            End::Reset
        }
        Some(Fault::Stall { at }) => {
            steps.push(Step::Body(content, upto(at)));
            steps.push(Step::Hang);
            End::Close
        }
        Some(Fault::Truncate { by }) => {
            let less = ByteRange::at(range.start, range.len().saturating_sub(*by));
            steps.push(Step::Body(content, less));
            End::Close
        }
        Some(Fault::Drip { piece, pause }) => {
            steps.push(Step::Drip(content, range, (*piece).max(1), *pause));
            end
        }
        _ => {
            steps.push(Step::Body(content, range));
            if fault == Some(&Fault::EarlyClose) {
                End::Close
            } else {
                end
            }
        }
    }
}

/// The lines of a Content-Length that lies about `len` bytes, and the number that it says.
fn length_lines(lie: LengthLie, len: u64) -> (Vec<String>, Option<u64>) {
    let said = match lie {
        LengthLie::Larger(by) => len + by,
        LengthLie::Smaller(by) => len.saturating_sub(by),
        LengthLie::Garbage => return (vec![format!("{len} or so")], None),
        LengthLie::Two => return (vec![len.to_string(), (len + 1).to_string()], Some(len + 1)),
    };
    (vec![said.to_string()], Some(said))
}

/// A chunked body: what is to be sent, and the extra bytes, in one chunk each.
fn chunked(request: &Request, status: u16, head: Head, sent: Sent) -> Response {
    let mut steps = vec![head.with("Transfer-Encoding", "chunked").done()];
    if request.method != Method::Head {
        let open = |len: u64| Step::Send(Bytes::from(format!("{len:x}\r\n")));
        if !sent.range.is_empty() {
            steps.push(open(sent.range.len()));
            steps.push(Step::Body(sent.content, sent.range));
            steps.push(Step::Send(Bytes::from_static(b"\r\n")));
        }
        if !sent.extra.is_empty() {
            steps.push(open(sent.extra.len() as u64));
            steps.push(Step::Send(sent.extra));
            steps.push(Step::Send(Bytes::from_static(b"\r\n")));
        }
        steps.push(Step::Send(Bytes::from_static(b"0\r\n\r\n")));
    }
    Response {
        status,
        steps,
        end: End::Keep,
        claimed: None,
    }
}

/// The range as the only part of a multipart/byteranges, which is for several.
fn multipart(head: Head, content: Content, range: ByteRange, total: u64) -> Response {
    let (said, _) = content_range(range, total, None);
    let open = format!(
        "--PART\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
        said.unwrap_or_default()
    );
    let close = "\r\n--PART--\r\n";
    let len = open.len() as u64 + range.len() + close.len() as u64;
    let head = head
        .with("Content-Type", "multipart/byteranges; boundary=PART")
        .with("Content-Length", len);
    Response {
        status: 206,
        steps: vec![
            head.done(),
            Step::Send(open.into()),
            Step::Body(content, range),
            Step::Send(close.into()),
        ],
        end: End::Keep,
        claimed: None,
    }
}
