//! The target `listing`: what any bytes are to the parsers of web servers' listings.
//!
//! Held here: no bytes make a parser panic; every name that comes out can be an entry of a directory, and comes out once;
//! JSON is exact and HTML is not; and whatever a name is, a page that links to it gives it back.

use std::collections::HashSet;

use reqwest::Url;

use crate::remote::listing_probe::{Listing, json_query, parse};
use crate::units::FileKind;

/// The target. The first byte chooses between HTML and JSON; the rest is the answer of a server, and a name.
pub fn listing(data: &[u8]) {
    let base = Url::parse("http://localhost/pub/odd%20names/").expect("a URL as it should be");
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let is_json = first & 1 == 1;
    let kind = if is_json {
        "application/json"
    } else {
        "text/html"
    };
    json_query(rest);
    if let Some(listing) = parse(&base, kind, rest) {
        judge(&listing, is_json);
    }
    comes_back(&base, rest);
}

fn judge(listing: &Listing, is_json: bool) {
    assert_eq!(listing.is_exact, is_json);
    let mut names = HashSet::new();
    for entry in &listing.entries {
        let name = &entry.name;
        let shown = name.escape_ascii();
        assert!(can_be_shown(name), "{shown} cannot be a name");
        assert!(names.insert(name), "{shown} comes twice");
        assert!(matches!(entry.kind, FileKind::File | FileKind::Dir));
        let says_more = entry.size.is_some() || entry.mtime.is_some();
        assert!(is_json || !says_more, "{shown}: a page is never exact");
        assert!(entry.kind == FileKind::File || entry.size.is_none());
    }
    for name in &listing.unshowable {
        assert!(name.is_ascii() && name.len() < 2000, "not fit for a log");
    }
}

/// A name, percent-encoded in a page as careful servers do it, and once more with only those bytes encoded that would
/// mean something else, is what the page lists.
fn comes_back(base: &Url, name: &[u8]) {
    let name = name.get(..name.len().min(300)).unwrap_or_default();
    let all: String = name.iter().map(|byte| format!("%{byte:02x}")).collect();
    let mut few = b"./".to_vec();
    for byte in name {
        match byte {
            b'%' | b'?' | b'#' | b'/' | b'&' | b'"' | b'\r' | 0 => {
                few.extend(format!("%{byte:02X}").bytes())
            }
            // Space at either end of an address does not count.
            byte if byte.is_ascii_whitespace() => few.extend(format!("%{byte:02X}").bytes()),
            byte => few.push(*byte),
        }
    }
    // A dot that is not encoded is no name to begin with.
    let plain = if matches!(name, b"" | b"." | b"..") {
        all.as_bytes()
    } else {
        &few
    };
    for href in [all.as_bytes(), plain] {
        let page = [b"<title>Index of /</title><a href=\"", href, b"/\">x</a>"].concat();
        let listing = parse(base, "text/html", &page).expect("the title says so");
        let found: Vec<&[u8]> = listing.entries.iter().map(|entry| &*entry.name).collect();
        if can_be_shown(name) {
            assert_eq!(found, [name], "{}", page.escape_ascii());
        } else {
            assert!(found.is_empty(), "{}", page.escape_ascii());
        }
    }
}

fn can_be_shown(name: &[u8]) -> bool {
    let sane = !name.contains(&b'/') && !name.contains(&0);
    sane && (1..=255).contains(&name.len()) && name != b"." && name != b".."
}
