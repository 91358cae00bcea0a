//! What the parser makes of the answers of real servers.
//!
//! The answers in `tests/fixtures/listings` were given for one directory, `/odd names/`, and for `empty` in it; its
//! README says how.

use reqwest::Url;

use super::{Item, Listing, Style, json_query, parse};
use crate::units::FileKind;

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// The files of `/odd names/`. Each has the size 97 times its place, and was changed that many minutes after `BEGAN`.
const FILES: &[&[u8]] = &[
    b"plain.txt",
    b"with space",
    b"100%",
    b"%41",
    b"a?b",
    b"a#b",
    b"a+b",
    b"a&b",
    b"a&amp;b",
    b"a;b",
    b"a:b",
    b"a\"b",
    b"a'b",
    b"<b>",
    b"back\\slash",
    b"new\nline",
    b"tab\there",
    "café".as_bytes(),
    "日本".as_bytes(),
    b"bad\xff\xfe",
    b"lat\xe9",
    b"...",
    b".hidden",
    b"~tilde",
    b"[x]",
    b"a=b",
    b"a@b",
    b"a|b",
    b"\x01ctl",
    b"cr\rx",
    b"del\x7f",
    b"http:x",
    b" lead",
    b"trail ",
    &[b'x'; 255],
    b"C=N;O=D",
    b"?C=N;O=D",
    b"javascript:x",
    b"`bt`{}^",
    b"a,b!$()*",
];
/// Changed at `BEGAN`, as is the file `big` of 5,000,000,000 bytes. Besides these there are `link` to `plain.txt`,
/// `linkdir` to `dir`, the broken link `dangling` and the pipe `fifo`.
const DIRS: &[&[u8]] = &[
    b"dir",
    b"dir with space",
    b"d%3F?#",
    b"d:x",
    b"empty",
    b"d\xff",
];
const BEGAN: i64 = 1_700_000_000;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/fixtures/listings/", $name)).as_slice()
    };
}

pub(super) use fixture;

/// What a server shows of the directory: what it leaves out, and what it calls otherwise.
#[derive(Default)]
struct Shows {
    hidden: bool,
    links: bool,
    dangling: bool,
    fifo: bool,
    not_utf8: bool,
    respelled: &'static [(&'static [u8], &'static [u8])],
}

impl Shows {
    fn names(&self) -> Vec<(Vec<u8>, FileKind)> {
        let mut names: Vec<(&[u8], FileKind)> = Vec::new();
        names.extend(FILES.iter().map(|name| (*name, FileKind::File)));
        names.extend(DIRS.iter().map(|name| (*name, FileKind::Dir)));
        names.push((b"big", FileKind::File));
        names.push((b"link", FileKind::File));
        names.push((b"linkdir", FileKind::Dir));
        names.push((b"dangling", FileKind::File));
        names.push((b"fifo", FileKind::File));
        names.retain(|(name, _)| match *name {
            b"link" | b"linkdir" => self.links,
            b"dangling" => self.dangling,
            b"fifo" => self.fifo,
            name if name.starts_with(b".") => self.hidden,
            name => self.not_utf8 || str::from_utf8(name).is_ok(),
        });
        let mut names: Vec<_> = names
            .into_iter()
            .map(|(name, kind)| {
                let respelled = self.respelled.iter().find(|(own, _)| *own == name);
                (respelled.map_or(name, |(_, other)| *other).to_vec(), kind)
            })
            .collect();
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        names
    }
}

pub(super) fn base() -> Url {
    Url::parse("http://localhost:8000/odd%20names/").unwrap()
}

pub(super) fn names(listing: &Listing) -> Vec<(Vec<u8>, FileKind)> {
    let mut names: Vec<_> = listing
        .entries
        .iter()
        .map(|item| (item.name.to_vec(), item.kind))
        .collect();
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    names
}

fn check_html(server: &str, body: &[u8], empty: &[u8], shows: &Shows) {
    let listing = parse(&base(), HTML, body).unwrap_or_else(|| panic!("{server}: no listing"));
    assert_eq!(names(&listing), shows.names(), "{server}");
    assert_eq!(listing.style, Style::Names, "{server}");
    assert_eq!(listing.unshowable, Vec::<String>::new(), "{server}");
    let rounded = |item: &Item| item.size.is_some() || item.mtime.is_some();
    assert!(!listing.entries.iter().any(rounded), "{server}");

    let inner = base().join("empty/").unwrap();
    let listing =
        parse(&inner, HTML, empty).unwrap_or_else(|| panic!("{server}: no empty listing"));
    assert_eq!(names(&listing), [], "{server}");
}

#[test]
fn nginx_html() {
    let shows = Shows {
        links: true,
        dangling: true,
        fifo: true,
        not_utf8: true,
        ..Shows::default()
    };
    check_html(
        "nginx",
        fixture!("nginx.html"),
        fixture!("empty/nginx.html"),
        &shows,
    );
}

#[test]
fn apache_in_its_three_ways() {
    let shows = Shows {
        links: true,
        not_utf8: true,
        ..Shows::default()
    };
    for (way, body, empty) in [
        (
            "plain",
            fixture!("apache-plain.html"),
            fixture!("empty/apache-plain.html"),
        ),
        (
            "fancy",
            fixture!("apache-fancy.html"),
            fixture!("empty/apache-fancy.html"),
        ),
        (
            "table",
            fixture!("apache-table.html"),
            fixture!("empty/apache-table.html"),
        ),
    ] {
        check_html(way, body, empty, &shows);
    }
}

#[test]
fn python_spells_what_is_not_utf8_as_surrogates() {
    // Percent-encoded as they are here, and only so, python finds these files again.
    let respelled: &[(&[u8], &[u8])] = &[
        (b"bad\xff\xfe", b"bad\xed\xb3\xbf\xed\xb3\xbe"),
        (b"lat\xe9", b"lat\xed\xb3\xa9"),
        (b"d\xff", b"d\xed\xb3\xbf"),
    ];
    let shows = Shows {
        hidden: true,
        links: true,
        dangling: true,
        fifo: true,
        not_utf8: true,
        respelled,
    };
    check_html(
        "python",
        fixture!("python.html"),
        fixture!("empty/python.html"),
        &shows,
    );
}

#[test]
fn lighttpd() {
    let shows = Shows {
        hidden: true,
        links: true,
        fifo: true,
        not_utf8: true,
        ..Shows::default()
    };
    check_html(
        "lighttpd",
        fixture!("lighttpd.html"),
        fixture!("empty/lighttpd.html"),
        &shows,
    );
}

#[test]
fn caddy() {
    let shows = Shows {
        hidden: true,
        links: true,
        dangling: true,
        fifo: true,
        not_utf8: true,
        ..Shows::default()
    };
    check_html(
        "caddy",
        fixture!("caddy.html"),
        fixture!("empty/caddy.html"),
        &shows,
    );
}

#[test]
fn rclone_spells_control_characters_as_pictures() {
    const RESPELLED: &[(&[u8], &[u8])] = &[
        (b"new\nline", "new␊line".as_bytes()),
        (b"tab\there", "tab␉here".as_bytes()),
        (b"\x01ctl", "␁ctl".as_bytes()),
        (b"cr\rx", "cr␍x".as_bytes()),
        (b"del\x7f", "del␡".as_bytes()),
    ];
    let shows = Shows {
        hidden: true,
        not_utf8: true,
        respelled: RESPELLED,
        ..Shows::default()
    };
    check_html(
        "rclone",
        fixture!("rclone.html"),
        fixture!("empty/rclone.html"),
        &shows,
    );
}

#[test]
fn the_simple_page_of_dufs() {
    let shows = Shows {
        hidden: true,
        links: true,
        fifo: true,
        ..Shows::default()
    };
    check_html(
        "dufs",
        fixture!("dufs-simple.html"),
        fixture!("empty/dufs-simple.html"),
        &shows,
    );
}

/// The exact listings agree with the directory in every size and time.
fn check_exact(listing: &Listing) {
    assert_eq!(listing.style, Style::Exact);
    let mut compared = 0;
    for item in &listing.entries {
        let place = FILES.iter().position(|name| **name == *item.name);
        let (size, minutes) = match (place, &*item.name) {
            (Some(place), _) => (place as u64 * 97, place as i64),
            (None, b"big") => (5_000_000_000, 0),
            (None, _) => continue,
        };
        assert_eq!(item.size, Some(size), "{:?}", item.name.escape_ascii());
        assert_eq!(item.mtime, Some(BEGAN + minutes * 60));
        compared += 1;
    }
    assert!(compared > 30);
    for item in listing
        .entries
        .iter()
        .filter(|item| DIRS.contains(&&*item.name))
    {
        assert_eq!((item.size, item.mtime), (None, Some(BEGAN)));
    }
}

#[test]
fn nginx_json() {
    let listing = parse(&base(), JSON, fixture!("nginx.json")).unwrap();
    let shows = Shows {
        links: true,
        not_utf8: true,
        ..Shows::default()
    };
    assert_eq!(names(&listing), shows.names());
    assert_eq!(listing.unshowable, ["dangling", "fifo"]);
    check_exact(&listing);
    let empty = parse(&base(), JSON, fixture!("empty/nginx.json")).unwrap();
    assert_eq!((names(&empty), empty.style), (Vec::new(), Style::Exact));
}

#[test]
fn dufs_json() {
    let listing = parse(&base(), JSON, fixture!("dufs.json")).unwrap();
    let shows = Shows {
        hidden: true,
        links: true,
        fifo: true,
        ..Shows::default()
    };
    assert_eq!(names(&listing), shows.names());
    // It gives three names as nothing.
    assert_eq!(listing.unshowable, [""]);
    check_exact(&listing);
    let empty = parse(&base(), JSON, fixture!("empty/dufs.json")).unwrap();
    assert_eq!((names(&empty), empty.style), (Vec::new(), Style::Exact));
}

#[test]
fn the_query_of_dufs_is_seen_in_both_its_pages_and_in_no_other() {
    assert_eq!(json_query(fixture!("dufs-app.html")), Some("json"));
    assert_eq!(json_query(fixture!("dufs-simple.html")), Some("json"));
    assert_eq!(json_query(fixture!("empty/dufs-simple.html")), Some("json"));
    for other in [
        fixture!("nginx.html"),
        fixture!("apache-fancy.html"),
        fixture!("python.html"),
        fixture!("lighttpd.html"),
        fixture!("caddy.html"),
        fixture!("rclone.html"),
        b"",
    ] {
        assert_eq!(json_query(other), None);
    }
    // The page with the program in it has no links: it must not be taken for an empty directory.
    assert!(parse(&base(), HTML, fixture!("dufs-app.html")).is_none());
}
