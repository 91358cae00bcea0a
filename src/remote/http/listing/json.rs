//! Listings as JSON: nginx (`autoindex_format json`) and dufs (`?json`).
//!
//! Names are taken as bytes: nginx writes those that are not UTF-8 as they are, between quotes. A document that differs
//! from both shapes in anything that they always have is no listing.

use std::borrow::Cow;
use std::fmt;
use std::time::UNIX_EPOCH;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::gathered::{Gathered, Item, Listing, Style};
use crate::units::FileKind;

pub(super) fn parse(body: &[u8]) -> Option<Listing> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace())? {
        b'[' => nginx(body),
        b'{' => dufs(body),
        _ => None,
    }
}

/// A string of JSON, whatever its bytes.
struct Name(Box<[u8]>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Name, E> {
                Ok(Name(name.into()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// An entry as nginx writes it: `{ "name":"a", "type":"file", "mtime":"Tue, 14 Nov 2023 22:13:20 GMT", "size":1 }`.
#[derive(Deserialize)]
struct NginxItem<'a> {
    name: Name,
    r#type: NginxType,
    #[serde(borrow)]
    mtime: Cow<'a, str>,
    size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum NginxType {
    File,
    Directory,
    /// A broken link, a pipe and the like: nothing that nginx would serve.
    Other,
}

fn nginx(body: &[u8]) -> Option<Listing> {
    let items: Vec<NginxItem<'_>> = serde_json::from_slice(body).ok()?;
    let mut gathered = Gathered::default();
    for NginxItem {
        name: Name(name),
        r#type,
        mtime,
        size,
    } in items
    {
        let mtime = httpdate::parse_http_date(&mtime)
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_secs()).ok());
        let (kind, size) = match r#type {
            NginxType::File => (FileKind::File, size),
            NginxType::Directory => (FileKind::Dir, None),
            NginxType::Other => {
                gathered.add_other(name);
                continue;
            }
        };
        gathered.add(Item {
            name,
            kind,
            size,
            mtime,
        });
    }
    Some(gathered.listing(Style::Exact))
}

/// What dufs says of a directory. A file that is asked with the same query has no `paths`.
#[derive(Deserialize)]
struct DufsIndex {
    kind: DufsKind,
    paths: Vec<DufsItem>,
}

#[derive(Deserialize)]
enum DufsKind {
    Index,
}

#[derive(Deserialize)]
struct DufsItem {
    path_type: DufsType,
    name: Name,
    /// Milliseconds since 1970.
    mtime: u64,
    /// Bytes of a file; for a directory the number of things in it.
    size: u64,
}

#[derive(Deserialize)]
enum DufsType {
    File,
    SymlinkFile,
    Dir,
    SymlinkDir,
}

fn dufs(body: &[u8]) -> Option<Listing> {
    let index: DufsIndex = serde_json::from_slice(body).ok()?;
    let DufsKind::Index = index.kind;
    let mut gathered = Gathered::default();
    for item in index.paths {
        let (kind, size) = match item.path_type {
            DufsType::File | DufsType::SymlinkFile => (FileKind::File, Some(item.size)),
            DufsType::Dir | DufsType::SymlinkDir => (FileKind::Dir, None),
        };
        gathered.add(Item {
            name: item.name.0,
            kind,
            size,
            mtime: i64::try_from(item.mtime / 1000).ok(),
        });
    }
    Some(gathered.listing(Style::Exact))
}
