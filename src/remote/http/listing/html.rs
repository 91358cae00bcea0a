//! Listings as HTML: nginx, Apache, `python3 -m http.server`, lighttpd, Caddy, rclone, Go, and whatever resembles them.
//!
//! What is a listing is decided by marks that its makers leave and other pages do not have ([`Marks`]). Names are
//! taken from the addresses of its links and never from their texts, which some servers shorten. Sizes and times are
//! rounded by all of them: they are not looked at.

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use reqwest::Url;

use super::gathered::{Gathered, Item, Listing, Style};
use super::href::{Directory, Target};
use crate::units::FileKind;

/// The texts of titles and of links are kept up to here; those that matter are shorter, or matter by their beginning.
const TEXT_BYTES_MAX: usize = 1024;

/// How titles of listings begin; what follows is the directory.
const TITLES: &[&[u8]] = &[
    b"index of ",              // nginx, Apache, lighttpd, dufs, WEBrick, many more
    b"directory listing for ", // python, Tomcat
    b"directory listing of ",
    b"directory: ",        // Jetty
    b"listing directory ", // serve-index
    b"files within ",      // serve
];

/// What is written on links to the directory above, without case, brackets and slashes.
const PARENTS: &[&[u8]] = &[b"..", b"parent directory", b"to parent directory"];

pub(super) fn parse(base: &Url, body: &[u8]) -> Option<Listing> {
    let directory = Directory::new(base);
    let page = Page::read(body);
    let moved = |href: &Vec<u8>| directory.resolve(href) != Target::Itself(None);
    if page.base.as_ref().is_some_and(moved) {
        return None;
    }
    let mut marks = Marks {
        title: page.titles.iter().any(|t| is_title(t, &directory)),
        bare: page.is_bare(),
        ..Marks::default()
    };
    let mut gathered = Gathered::default();
    for link in page.links {
        let target = directory.resolve(&link.href);
        marks.look_at(&link, &target);
        if let Target::Child(name, slash) = target {
            gathered.add(Item {
                name,
                kind: if slash { FileKind::Dir } else { FileKind::File },
                size: None,
                mtime: None,
            });
        }
    }
    marks.any().then(|| gathered.listing(Style::Names))
}

/// What tells a listing from a page; one is enough.
#[derive(Default)]
struct Marks {
    /// A title or heading names it a listing of this directory.
    title: bool,
    /// Links that sort it, as Apache (`?C=N;O=D`) or Caddy and rclone (`?sort=namedirfirst&order=asc`) write them.
    sorting: bool,
    /// A link in a list, a table or preformatted text says that it leads to the directory above, and does.
    parent: bool,
    /// Nothing but preformatted links, as Go writes them.
    bare: bool,
}

impl Marks {
    fn look_at(&mut self, link: &Link, target: &Target) {
        match target {
            Target::Itself(Some(query)) if is_sorting(query) => self.sorting = true,
            // At the root the way up leads to the root.
            Target::Parent | Target::Itself(None) if link.is_in_list => {
                let text = link.text.to_ascii_lowercase();
                let ornament = |b: &u8| matches!(b, b'[' | b']' | b'/') || b.is_ascii_whitespace();
                let bare: Vec<u8> = strip(&text, ornament).to_vec();
                self.parent |= PARENTS.contains(&bare.as_slice());
            }
            _ => {}
        }
    }

    fn any(&self) -> bool {
        self.title || self.sorting || self.parent || self.bare
    }
}

fn is_sorting(query: &[u8]) -> bool {
    let apache = matches!(
        query,
        [
            b'C',
            b'=',
            b'N' | b'M' | b'S' | b'D',
            b';' | b'&',
            b'O',
            b'=',
            b'A' | b'D'
        ]
    );
    apache || query.starts_with(b"sort=namedirfirst&order=")
}

/// Whether a title is that of a listing of this directory: "Index of /pub/", and not "Index of refraction".
fn is_title(text: &[u8], directory: &Directory<'_>) -> bool {
    let text = text.trim_ascii();
    TITLES.iter().any(|prefix| {
        let (start, rest) = text.split_at(text.len().min(prefix.len()));
        let rest = rest.trim_ascii();
        let rest = rest.strip_prefix(b"[").unwrap_or(rest);
        let named = || directory.name() == Some(strip(rest, |b| *b == b'/'));
        start.eq_ignore_ascii_case(prefix) && (rest.starts_with(b"/") || named())
    })
}

/// `text` without the bytes at both ends that `is_ornament` names.
fn strip(text: &[u8], is_ornament: impl Fn(&u8) -> bool) -> &[u8] {
    let start = text.iter().position(|b| !is_ornament(b));
    let end = text.iter().rposition(|b| !is_ornament(b));
    match (start, end) {
        (Some(start), Some(end)) => text.get(start..=end).unwrap_or_default(),
        _ => &[],
    }
}

/// A link of a page.
#[derive(Default)]
struct Link {
    href: Vec<u8>,
    text: Vec<u8>,
    /// Whether it stands in a list, a table or preformatted text.
    is_in_list: bool,
}

/// What of a page matters here.
#[derive(Default)]
struct Page {
    links: Vec<Link>,
    /// Its title and first-level headings.
    titles: Vec<Vec<u8>>,
    /// The address that its links are relative to, where it names one.
    base: Option<Vec<u8>>,
    /// How many preformatted texts it has.
    pres: usize,
    /// Whether there is text outside links, or an element that a bare listing does not have.
    has_more: bool,
    lists_open: usize,
    is_in_link: bool,
    is_in_title: bool,
}

impl Page {
    fn read(body: &[u8]) -> Self {
        let mut emitter = DefaultEmitter::default();
        // What stands in scripts and comments is no link.
        emitter.naively_switch_states(true);
        let mut page = Self::default();
        for Ok(token) in Tokenizer::new_with_emitter(body, emitter) {
            match token {
                Token::StartTag(tag) => page.start(tag),
                Token::EndTag(tag) => page.end(&tag.name),
                Token::String(text) => page.text(&text),
                Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
            }
        }
        page
    }

    fn start(&mut self, mut tag: StartTag<()>) {
        let mut href = || {
            Some(std::mem::take(
                &mut tag.attributes.get_mut(b"href".as_slice())?.value.0,
            ))
        };
        match tag.name.as_slice() {
            b"a" => {
                self.is_in_link = false;
                if let Some(href) = href() {
                    self.is_in_link = true;
                    self.links.push(Link {
                        href,
                        text: Vec::new(),
                        is_in_list: self.lists_open > 0,
                    });
                }
            }
            b"base" => {
                self.has_more = true;
                self.base = self.base.take().or_else(href);
            }
            b"title" | b"h1" => {
                self.has_more = true;
                self.is_in_title = true;
                self.titles.push(Vec::new());
            }
            b"pre" => {
                self.pres += 1;
                self.lists_open += 1;
            }
            b"table" | b"ul" => {
                self.has_more = true;
                self.lists_open += 1;
            }
            b"html" | b"head" | b"body" | b"meta" => {}
            _ => self.has_more = true,
        }
    }

    fn end(&mut self, name: &[u8]) {
        match name {
            b"a" => self.is_in_link = false,
            b"title" | b"h1" => self.is_in_title = false,
            b"pre" | b"table" | b"ul" => self.lists_open = self.lists_open.saturating_sub(1),
            _ => {}
        }
    }

    fn text(&mut self, text: &[u8]) {
        let title = self.titles.last_mut().filter(|_| self.is_in_title);
        let link = self.links.last_mut().filter(|_| self.is_in_link);
        self.has_more |= link.is_none() && !text.trim_ascii().is_empty();
        for kept in title.into_iter().chain(link.map(|link| &mut link.text)) {
            let room = TEXT_BYTES_MAX.saturating_sub(kept.len());
            kept.extend(text.iter().take(room));
        }
    }

    /// Whether the page is one preformatted text of links and has nothing else at all.
    fn is_bare(&self) -> bool {
        self.pres == 1 && !self.has_more && self.links.iter().all(|link| link.is_in_list)
    }
}
