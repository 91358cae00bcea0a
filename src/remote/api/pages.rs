//! A listing, page by page.
//!
//! A store or a directory may hold a million names, and a reader must not wait for the last of them. So a listing is read
//! as a file is: opened ([`Remote::list`](super::Remote::list)), then asked for one page after the other
//! ([`Pages::next`]). What lies between two pages is the remote's own: a descriptor, the token with which a store
//! continues, the rest of an answer's body. The invariants, for every remote:
//!
//! * Each page is a question of its own, with its own deadline. Nothing is asked ahead: who drops the pages has ended the
//!   listing.
//! * All pages together hold each name once, and every name that was there all the time; a page may be empty.
//! * After an error no page follows. Without [`Page::is_last`] the listing is not complete: a name that it lacks may exist.
//! * A page brings the room that its entries take. A remote takes room before it has the entries, so that listings
//!   together never take more than there is (see [`Growth`](super::Growth)).

use std::ops::Deref;

use super::{BoxFuture, Entry, Growth, Held, RemoteError};

/// The pages of one directory, in the remote's order.
pub trait Pages: Send {
    /// Asks for the next page. Not to be called after the last page, nor after an error.
    fn next(&mut self) -> BoxFuture<'_, Result<Page, RemoteError>>;
}

/// One page of a listing.
#[derive(Debug, Default)]
pub struct Page {
    /// What it lists.
    pub entries: Entries,
    /// Whether the listing is complete with it.
    pub is_last: bool,
}

/// Entries of a directory, with the room that they take.
#[derive(Debug, Default)]
pub struct Entries {
    entries: Vec<Entry>,
    held: Vec<Held>,
}

impl Entries {
    /// Entries that hold room; what they do not need of it is given back.
    pub(in crate::remote) fn new(entries: Vec<Entry>, mut held: Held, growth: &mut Growth) -> Self {
        growth.shrink(&mut held, entries.iter().map(cost).sum());
        Self {
            entries,
            held: vec![held],
        }
    }

    /// Adds what follows them.
    pub(super) fn extend(&mut self, more: Self) {
        self.entries.extend(more.entries);
        self.held.extend(more.held);
    }

    /// The entries, and what is to be kept as long as they are.
    pub fn into_parts(self) -> (Vec<Entry>, Vec<Held>) {
        (self.entries, self.held)
    }
}

/// What an entry takes, in bytes, with its place in an index of names.
pub(in crate::remote) fn cost(entry: &Entry) -> u64 {
    (size_of::<Entry>() + size_of::<u32>() + entry.name.len().next_multiple_of(16) + 16) as u64
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Self {
        Self {
            entries,
            held: Vec::new(),
        }
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}
