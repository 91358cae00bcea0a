//! The entries of a listing, as they are gathered from a server's answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::units::FileKind;

/// The longest name that Linux lets a directory hold.
const NAME_BYTES_MAX: usize = 255;
/// A log gets this much of a name that cannot be shown.
const LOGGED_BYTES_MAX: usize = 300;

/// What is in a directory.
#[derive(Debug)]
pub(in crate::remote::http) struct Listing {
    /// Every entry that can be shown, in the server's order.
    pub(in crate::remote::http) entries: Vec<Item>,
    /// What the entries say besides names.
    pub(in crate::remote::http) style: Style,
    /// The entries that cannot be shown, escaped for a log; each once.
    pub(in crate::remote::http) unshowable: Vec<String>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::remote::http) struct Item {
    /// The name: the very bytes that, percent-encoded, ask the server for it.
    pub(in crate::remote::http) name: Box<[u8]>,
    /// A file or a directory; servers follow links.
    pub(in crate::remote::http) kind: FileKind,
    /// Bytes, where the server says exactly; never of a directory.
    pub(in crate::remote::http) size: Option<u64>,
    /// Seconds since 1970, where the server says exactly.
    pub(in crate::remote::http) mtime: Option<i64>,
}

/// What the entries of a listing say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::remote::http) enum Style {
    /// Sizes and times as they are (those that are there).
    Exact,
    /// Names and kinds alone.
    Names,
}

/// Gathers entries: sorts out what cannot be shown and what came before.
#[derive(Default)]
pub(super) struct Gathered {
    entries: Vec<Item>,
    unshowable: Vec<String>,
    /// The place of every name that came so far; `None` for one that cannot be shown.
    seen: HashMap<Box<[u8]>, Option<usize>>,
}

impl Gathered {
    /// Takes an entry. Of two with one name the first counts; but what is once called a directory is one.
    pub(super) fn add(&mut self, item: Item) {
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
    pub(super) fn add_other(&mut self, name: Box<[u8]>) {
        if let Entry::Vacant(unseen) = self.seen.entry(name) {
            self.unshowable.push(for_log(unseen.key()));
            unseen.insert(None);
        }
    }

    pub(super) fn listing(self, style: Style) -> Listing {
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
