//! What a web server says is in a directory: its answer's bytes become names.
//!
//! Pure: bytes in, names out; no server is asked here. Invariants:
//!
//! * A page that is not surely a listing is none: an ordinary page with links never becomes a directory.
//! * Every name that comes out can be an entry: not empty, not `.` or `..`, no `/`, no NUL, at most 255 bytes, each once.
//!   What cannot be one is told for the log and takes nothing else down.
//! * Sizes and times come out only where the server gives them exactly.
//! * Whatever the bytes are, the work is linear in their number, and nothing panics.

mod gathered;
mod href;
mod html;
mod json;
#[cfg(test)]
mod made_tests;
#[cfg(feature = "testing")]
pub mod probe;
#[cfg(test)]
mod tests;

use reqwest::Url;

pub(super) use gathered::{Item, Listing, Style};

/// What `body` lists, if it is the listing of the directory at `base` (taken to end in a slash; its query does not
/// matter). `None`: it is something else.
pub(super) fn parse(base: &Url, content_type: &str, body: &[u8]) -> Option<Listing> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/json" | "text/json" => json::parse(body),
        "text/html" | "application/xhtml+xml" => html::parse(base, body),
        _ => None,
    }
}

/// The query with which the server that wrote this page gives the same listing exactly, if it is known to have one.
///
/// dufs answers `GET DIR/?json` with JSON. Without the query it gives a page: to most clients a program without a single
/// link, whose style sheet lies in `/__dufs_v0.47.0__/`; to those that it takes for simple, a table whose first link is
/// always `../?noscript`. One of the two is looked for. It is a hint: a caller tries the query once, at the root, and goes
/// on with pages where what comes is no listing. (HEAD is of no use there: its Content-Length is not that of GET.)
pub(super) fn json_query(html_body: &[u8]) -> Option<&'static str> {
    let has = |mark: &[u8]| html_body.windows(mark.len()).any(|window| window == mark);
    (has(b"/__dufs_v") || has(b"<a href=\"../?noscript\">")).then_some("json")
}
