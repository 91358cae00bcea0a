//! A door for tests and fuzz targets: what the parser of listings makes of any bytes.

use reqwest::Url;

use super::{Item, Style};
use crate::units::FileKind;

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: Box<[u8]>,
    /// A file or a directory.
    pub kind: FileKind,
    /// Bytes, where the listing is exact.
    pub size: Option<u64>,
    /// Seconds since 1970, where the listing is exact.
    pub mtime: Option<i64>,
}

/// A listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Its entries.
    pub entries: Vec<Listed>,
    /// Whether sizes and times are exact.
    pub is_exact: bool,
    /// What cannot be shown, escaped for a log.
    pub unshowable: Vec<String>,
}

/// What `body` lists, if it is a listing of the directory at `base`.
pub fn parse(base: &Url, content_type: &str, body: &[u8]) -> Option<Listing> {
    let listing = super::parse(base, content_type, body)?;
    let open = |item: Item| Listed {
        name: item.name,
        kind: item.kind,
        size: item.size,
        mtime: item.mtime,
    };
    Some(Listing {
        entries: listing.entries.into_iter().map(open).collect(),
        is_exact: listing.style == Style::Exact,
        unshowable: listing.unshowable,
    })
}

/// The query for the same listing, exactly, that the page hints at.
pub fn json_query(html_body: &[u8]) -> Option<&'static str> {
    super::json_query(html_body)
}
