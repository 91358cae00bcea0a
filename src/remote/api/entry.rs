//! What a listing says of one name.

use crate::units::{Facts, FileKind};

/// One entry of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name within the directory: no `/`, not `.`, not `..`.
    pub name: Box<[u8]>,
    /// What the listing says of it.
    pub listed: Listed,
}

/// What a listing says of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listed {
    /// All that stat(2) shows.
    Facts(Facts),
    /// Its kind alone: sizes or times that a listing rounds are no facts. `Remote::stat` tells the rest when a program wants
    /// it.
    Kind(FileKind),
}

impl Listed {
    /// What the entry is.
    pub fn kind(&self) -> FileKind {
        match self {
            Self::Facts(facts) => facts.kind,
            Self::Kind(kind) => *kind,
        }
    }

    /// All that stat(2) shows, where the listing says it.
    pub fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Facts(facts) => Some(facts),
            Self::Kind(_) => None,
        }
    }
}
