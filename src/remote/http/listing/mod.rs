//! What a web server says is in a directory: its answer's bytes become names.
//!
//! Pure: bytes in, names out; nothing is asked of anybody here. Invariants:
//!
//! * A page that is not surely a listing is none: an ordinary page with links never becomes a directory.
//! * Every name that comes out can be an entry: not empty, not `.` or `..`, no `/`, no NUL, at most 255 bytes, each once.
//!   What cannot be one is told for the log and takes nothing else down.
//! * Sizes and times come out only where the server gives them exactly.
//! * Whatever the bytes are, the work is linear in their number, and nothing panics.

mod href;
mod html;
mod json;
#[cfg(test)]
mod made_tests;
#[cfg(feature = "testing")]
pub mod probe;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use reqwest::Url;

use crate::units::FileKind;

/// The longest name that Linux lets a directory hold.
const NAME_BYTES_MAX: usize = 255;
/// A log gets this much of a name that cannot be shown.
const LOGGED_BYTES_MAX: usize = 300;

/// What is in a directory.
#[derive(Debug)]
pub(super) struct Listing {
    /// Every entry that can be shown, in the server's order.
    pub(super) entries: Vec<Item>,
    /// What the entries say besides names.
    pub(super) style: Style,
    /// The entries that cannot be shown, escaped for a log; each once.
    pub(super) unshowable: Vec<String>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// The name: the very bytes that, percent-encoded, ask the server for it.
    pub(super) name: Box<[u8]>,
    /// A file or a directory; servers follow links.
    pub(super) kind: FileKind,
    /// Bytes, where the server says exactly; never of a directory.
    pub(super) size: Option<u64>,
    /// Seconds since 1970, where the server says exactly.
    pub(super) mtime: Option<i64>,
}

/// What the entries of a listing say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Sizes and times as they are (those that are there).
    Exact,
    /// Names and kinds alone.
    Names,
}

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

/// Gathers entries: sorts out what cannot be shown and what came before.
#[derive(Default)]
struct Gathered {
    entries: Vec<Item>,
    unshowable: Vec<String>,
    /// The place of every name that came so far; `None` for one that cannot be shown.
    seen: HashMap<Box<[u8]>, Option<usize>>,
}

impl Gathered {
    /// Takes an entry. Of two with one name the first counts; but what is once called a directory is one.
    fn add(&mut self, item: Item) {
        match self.seen.entry(item.name.clone()) {
            Entry::Occupied(seen) => {
                let first = seen.get().and_then(|place| self.entries.get_mut(place));
                if let Some(first) = first
                    && item.kind == FileKind::Dir
                    && first.kind != FileKind::Dir
                {
                    *first = item;
                }
            }
            Entry::Vacant(unseen) if is_showable(&item.name) => {
                unseen.insert(Some(self.entries.len()));
                self.entries.push(item);
            }
            Entry::Vacant(unseen) => {
                self.unshowable.push(for_log(&item.name));
                unseen.insert(None);
            }
        }
    }

    /// Takes note of an entry that is neither a file nor a directory.
    fn add_other(&mut self, name: Box<[u8]>) {
        if let Entry::Vacant(unseen) = self.seen.entry(name) {
            self.unshowable.push(for_log(unseen.key()));
            unseen.insert(None);
        }
    }

    fn listing(self, style: Style) -> Listing {
        Listing {
            entries: self.entries,
            style,
            unshowable: self.unshowable,
        }
    }
}

fn is_showable(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= NAME_BYTES_MAX
        && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

fn for_log(name: &[u8]) -> String {
    let (shown, rest) = name.split_at(name.len().min(LOGGED_BYTES_MAX));
    let more = if rest.is_empty() { "" } else { "..." };
    format!("{}{more}", shown.escape_ascii())
}
