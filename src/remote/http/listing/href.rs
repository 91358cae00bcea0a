//! Where the link of a listing leads, seen from its directory.
//!
//! References are resolved by RFC 3986 on bytes, and not by the rules of browsers: those read `%2e%2e` as `..` and a
//! backslash as a slash, and drop line breaks, so that some names would come out as others. What a browser and the RFC
//! read differently is an odd name here, or leads elsewhere.

use percent_encoding::percent_decode;
use reqwest::Url;

const AUTHORITY_BYTES_MAX: usize = 512;

/// Where a link leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To what lies directly in the directory: its decoded name, whatever that is, and whether the link ends in a slash.
    Child(Box<[u8]>, bool),
    /// To the directory itself, perhaps in another order: the query, if any.
    Itself(Option<Vec<u8>>),
    /// To the directory above.
    Parent,
    /// Anywhere else.
    Elsewhere,
}

/// A directory, as links are resolved in it.
pub(super) struct Directory<'a> {
    url: &'a Url,
    /// The decoded components of its path.
    path: Vec<Vec<u8>>,
}

impl<'a> Directory<'a> {
    pub(super) fn new(url: &'a Url) -> Self {
        let path = url.path().trim_start_matches('/').trim_end_matches('/');
        let path = match path {
            "" => Vec::new(),
            path => path
                .split('/')
                .map(|part| decode(part.as_bytes()))
                .collect(),
        };
        Self { url, path }
    }

    /// The directory's own name, decoded; none for the root.
    pub(super) fn name(&self) -> Option<&[u8]> {
        self.path.last().map(Vec::as_slice)
    }

    /// Where the value of a `href` leads.
    pub(super) fn resolve(&self, href: &[u8]) -> Target {
        let href = href.trim_ascii();
        // A server that escapes nothing could mean a name with `#` in it, or a place in a page: neither can be asked for.
        if href.contains(&b'#') {
            return Target::Elsewhere;
        }
        let (path, query) = match split_at(href, b'?') {
            Some((path, query)) => (path, Some(query)),
            None => (href, None),
        };
        let Some(path) = self.without_origin(path) else {
            return Target::Elsewhere;
        };
        match (self.locate(path), query) {
            (Target::Itself(_), query) => Target::Itself(query.map(<[u8]>::to_vec)),
            // The links of dufs between its simple pages.
            (target, None | Some(b"noscript")) => target,
            _ => Target::Elsewhere,
        }
    }

    /// The path of a reference to this origin, absolute if it begins with a slash; `None` for another origin.
    fn without_origin<'h>(&self, href: &'h [u8]) -> Option<&'h [u8]> {
        let (scheme, rest) = match split_at(href, b':') {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            _ => (None, href),
        };
        let Some(authority) = rest.strip_prefix(b"//") else {
            // `http:name` means one thing to the RFC and another to browsers.
            return scheme.is_none().then_some(rest);
        };
        let end = authority.iter().position(|byte| *byte == b'/');
        let (authority, path) = authority.split_at(end.unwrap_or(authority.len()));
        // Longer than a name of DNS may be; taking such a thing apart need not be quick.
        if authority.len() > AUTHORITY_BYTES_MAX {
            return None;
        }
        let scheme = scheme.unwrap_or(self.url.scheme().as_bytes());
        let origin = [scheme, b"://", authority].concat();
        let origin = Url::parse(str::from_utf8(&origin).ok()?).ok()?.origin();
        let path = if path.is_empty() { b"/" } else { path };
        (origin == self.url.origin()).then_some(path)
    }

    fn locate(&self, path: &[u8]) -> Target {
        if path.is_empty() {
            return Target::Itself(None);
        }
        let (absolute, relative) = match path.strip_prefix(b"/") {
            Some(path) => (true, path),
            None => (false, path),
        };
        // How many of the components of this directory the link goes on from, and what it adds to them.
        let mut kept = if absolute { 0 } else { self.path.len() };
        let mut added: Vec<&[u8]> = Vec::new();
        let mut slash = false;
        let mut parts = relative.split(|byte| *byte == b'/').peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            slash = part == b"." || part == b".." || is_last && part.is_empty();
            match part {
                b"." => {}
                b".." if added.pop().is_none() => kept = kept.saturating_sub(1),
                b".." => {}
                b"" if is_last => {}
                part => added.push(part),
            }
        }
        self.seen_from_here(kept, &added, slash)
    }

    fn seen_from_here(&self, kept: usize, added: &[&[u8]], slash: bool) -> Target {
        let below = self.path.get(kept..).unwrap_or_default();
        let through = added.len().min(below.len());
        let (own, further) = added.split_at(through);
        let agrees = own.iter().zip(below).all(|(a, b)| decode(a) == *b);
        match (agrees, below.len() - through, further) {
            (true, 0, []) => Target::Itself(None),
            (true, 0, [name]) => Target::Child(decode(name).into(), slash),
            (true, 1, []) => Target::Parent,
            _ => Target::Elsewhere,
        }
    }
}

fn decode(part: &[u8]) -> Vec<u8> {
    percent_decode(part).collect()
}

/// What is before and behind the first `byte`.
fn split_at(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|b| *b == byte)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

fn is_scheme(bytes: &[u8]) -> bool {
    let rest = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.iter().all(rest)
}

#[cfg(test)]
#[path = "href_tests.rs"]
mod href_tests;
