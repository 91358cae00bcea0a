//! What is sent for a request, and how the connection ends: the steps, in order.

use std::time::Duration;

use bytes::Bytes;

use super::content::Content;
use crate::units::ByteRange;

/// What is done to answer a request.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
    /// The size that the answer claims for the object, where that is not its size.
    pub(super) claimed: Option<u64>,
}

/// One thing that is done.
#[derive(Debug)]
pub(super) enum Step {
    /// These bytes are sent; they are no part of an object.
    Send(Bytes),
    /// These bytes of a content are sent.
    Body(Content, ByteRange),
    /// The same in pieces of so many bytes, with so long between them.
    Drip(Content, ByteRange, usize, Duration),
    /// Nothing is done any more until the client leaves.
    Hang,
}

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Keep,
    Close,
    Reset,
}

impl Response {
    pub(super) fn hang(mut steps: Vec<Step>, status: u16) -> Self {
        steps.push(Step::Hang);
        Self {
            status,
            steps,
            end: End::Close,
            claimed: None,
        }
    }
}

/// A head under construction.
pub(super) struct Head(String);

impl Head {
    pub(super) fn new(status: u16, now: u64) -> Self {
        let date = http_date(now);
        Self(format!(
            "HTTP/1.1 {status} {}\r\nDate: {date}\r\n",
            reason(status)
        ))
    }

    pub(super) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.0.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(super) fn done(self) -> Step {
        Step::Send(Bytes::from(self.0 + "\r\n"))
    }
}

/// A time as HTTP writes it.
pub(super) fn http_date(secs: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(secs))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        _ => "As It Is",
    }
}
