//! What the parser makes of the answers of real servers, and of hostile ones.
//!
//! The answers in `tests/fixtures/listings` were given for one directory, `/odd names/`, and for `empty` in it; its
//! README says how.

use std::time::{Duration, Instant};

use reqwest::Url;

use super::{Item, Listing, Style, json_query, parse};
use crate::units::FileKind;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

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

fn base() -> Url {
    Url::parse("http://localhost:8000/odd%20names/").unwrap()
}

fn names(listing: &Listing) -> Vec<(Vec<u8>, FileKind)> {
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
    // The page with the program in it has no links: nobody is to take that for an empty directory.
    assert!(parse(&base(), HTML, fixture!("dufs-app.html")).is_none());
}

#[test]
fn bare_pages_of_go() {
    let full = b"<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n\
        <pre>\n<a href=\"a%20b.txt\">a b.txt</a>\n<a href=\"sub/\">sub/</a>\n</pre>\n";
    let expected = [
        (b"a b.txt".to_vec(), FileKind::File),
        (b"sub".to_vec(), FileKind::Dir),
    ];
    assert_eq!(names(&parse(&base(), HTML, full).unwrap()), expected);
    assert_eq!(
        names(&parse(&base(), HTML, b"<pre>\n</pre>\n").unwrap()),
        []
    );
    // Text beside the links, and it is a page.
    assert!(parse(&base(), HTML, b"<pre>see <a href=a>a</a></pre>").is_none());
    assert!(parse(&base(), HTML, b"<pre>\n<a href=a>a</a></pre>bye").is_none());
}

#[test]
fn iis_and_others_with_a_link_to_the_directory_above() {
    let iis = br#"<html><head><title>localhost - /odd names/</title></head><body><H1>localhost - /odd names/</H1><hr>
        <pre><A HREF="/">[To Parent Directory]</A><br><br>
        9/9/2024  1:05 AM  &lt;dir&gt; <A HREF="/odd%20names/in/">in</A><br>
        9/9/2024  1:05 AM   17 <A HREF="/odd%20names/web.config">web.config</A><br></pre><hr></body></html>"#;
    let expected = [
        (b"in".to_vec(), FileKind::Dir),
        (b"web.config".to_vec(), FileKind::File),
    ];
    assert_eq!(names(&parse(&base(), HTML, iis).unwrap()), expected);
    let table = b"<table><tr><td><a href='..'>..</a><tr><td><a href=x>x</a></table>";
    assert_eq!(
        names(&parse(&base(), HTML, table).unwrap()),
        [(b"x".to_vec(), FileKind::File)]
    );
}

#[test]
fn a_page_with_links_is_no_listing() {
    for page in [
        "<title>Welcome to nginx!</title><h1>Welcome to nginx!</h1><p><a href=\"docs/\">docs</a>",
        "<title>Index of refraction</title><h1>Index of refraction</h1><ul><li><a href=\"n\">n</a></ul>",
        "<title>The index of /x</title><a href=a>a</a>",
        "<h1>Products</h1><table><tr><th><a href=\"?sort=name&amp;order=asc\">Name</a><td><a href=a>a</a></table>",
        // Says that it leads up, and does not; leads up, and is navigation.
        "<ul><li><a href=\"up.html\">Parent Directory</a><li><a href=a>a</a></ul>",
        "<p><a href=\"..\">..</a> <a href=a>a</a>",
        "<ul><li><a href=\"../\">Up</a><li><a href=a>a</a></ul>",
        // Marks where nobody sees them.
        "<script>'<title>Index of /</title>'</script><a href=a>a</a>",
        "<!-- <title>Index of /</title> --><a href=a>a</a>",
        "<textarea><h1>Index of /</h1></textarea><a href=a>a</a>",
        // Its links are relative to elsewhere.
        "<base href=\"/elsewhere/\"><title>Index of /</title><a href=a>a</a>",
        "",
        "plain text",
    ] {
        assert!(parse(&base(), HTML, page.as_bytes()).is_none(), "{page}");
    }
}

#[test]
fn json_of_another_shape_is_no_listing() {
    for body in [
        "",
        " ",
        "[",
        "null",
        "\"name\"",
        "[1]",
        "[[]]",
        r#"[{"name":"a"}]"#,
        r#"[{"name":"a","type":"file","size":1}]"#,
        r#"[{"name":"a","type":"folder","mtime":"Tue, 14 Nov 2023 22:13:20 GMT"}]"#,
        r#"[{"name":"a","type":"file","mtime":"Tue, 14 Nov 2023 22:13:20 GMT","size":-1}]"#,
        r#"[{"name":1,"type":"file","mtime":"Tue, 14 Nov 2023 22:13:20 GMT","size":1}]"#,
        r#"{"paths":[]}"#,
        r#"{"kind":"Edit","paths":[]}"#,
        r#"{"path_type":"File","name":"plain.txt","mtime":1700000000500,"size":0}"#,
        r#"{"kind":"Index","paths":[{"path_type":"Odd","name":"a","mtime":1,"size":1}]}"#,
    ] {
        assert!(parse(&base(), JSON, body.as_bytes()).is_none(), "{body}");
    }
    assert!(parse(&base(), JSON, &b"[".repeat(1 << 20)).is_none());
    assert!(parse(&base(), JSON, &br#"{"a":"#.repeat(1 << 18)).is_none());
    for kind in ["", "text/plain", "application/octet-stream", "html"] {
        assert!(parse(&base(), kind, fixture!("nginx.html")).is_none());
        assert!(parse(&base(), kind, fixture!("nginx.json")).is_none());
    }
    assert!(parse(&base(), "TEXT/HTML ;charset=x", fixture!("nginx.html")).is_some());
}

#[test]
fn a_time_that_nginx_cannot_say_is_left_out() {
    let body = br#"[{"name":"a","type":"file","mtime":"soon","size":7}]"#;
    let listing = parse(&base(), JSON, body).unwrap();
    assert_eq!(
        (listing.entries[0].size, listing.entries[0].mtime),
        (Some(7), None)
    );
}

#[test]
fn what_cannot_be_shown_is_told_and_takes_nothing_down() {
    let long = "y".repeat(256);
    let page = format!(
        "<title>Index of /</title><a href=good>g</a><a href=a%2Fb>x</a><a href=%00>x</a><a href=%2e%2E/>x</a>\
         <a href=%2e>x</a><a href='.//'>x</a><a href={long}>x</a><a href=a%2Fb>again</a>"
    );
    let listing = parse(&base(), HTML, page.as_bytes()).unwrap();
    assert_eq!(names(&listing), [(b"good".to_vec(), FileKind::File)]);
    assert_eq!(listing.unshowable, ["a/b", "\\x00", "..", ".", "", &long]);
    let long = format!(
        "<title>Index of /</title><a href={}>x</a>",
        "\u{1}".repeat(5000)
    );
    let listing = parse(&base(), HTML, long.as_bytes()).unwrap();
    assert_eq!(listing.unshowable, ["\\x01".repeat(300) + "..."]);
    let json =
        br#"[{"name":"../etc","type":"file","mtime":"Tue, 14 Nov 2023 22:13:20 GMT","size":1},
        {"name":"ok","type":"file","mtime":"Tue, 14 Nov 2023 22:13:20 GMT","size":1}]"#;
    let listing = parse(&base(), JSON, json).unwrap();
    assert_eq!(listing.unshowable, ["../etc"]);
    assert_eq!(names(&listing), [(b"ok".to_vec(), FileKind::File)]);
}

#[test]
fn each_name_comes_once_and_a_directory_is_one() {
    let page = b"<title>Index of /</title><a href=a><img></a><a href=a>a</a><a href=d>d</a><a href=d/>d</a>\
        <a href=e/>e</a><a href=e>e</a><a href=%61>a</a><a href=./a>a</a>";
    let listing = parse(&base(), HTML, page).unwrap();
    let expected = [
        (b"a", FileKind::File),
        (b"d", FileKind::Dir),
        (b"e", FileKind::Dir),
    ];
    assert_eq!(
        names(&listing),
        expected.map(|(name, kind)| (name.to_vec(), kind))
    );
}

#[test]
fn hostile_pages_cost_no_more_than_their_length() {
    let began = Instant::now();
    let attributes: String = (0..100_000).map(|n| format!(" a{n}=b")).collect();
    let links: String = (0..100_000)
        .map(|n| format!("<a href={n}>{n}</a>"))
        .collect();
    for page in [
        "<".repeat(1 << 20),
        "&".repeat(1 << 20),
        "&#".repeat(1 << 19),
        "<a href=".repeat(1 << 17),
        "<title>".repeat(1 << 17),
        "<title>Index of ".to_owned() + &"/".repeat(1 << 20),
        "<h1>".repeat(1 << 17) + "x",
        "<table><ul><pre>".repeat(1 << 16) + "</pre>",
        "<!--".repeat(1 << 18),
        "<![CDATA[".repeat(1 << 17),
        "<script><!--<script>".repeat(1 << 15),
        "<a href='".to_owned() + &"../".repeat(1 << 18) + "'>..</a>",
        "<a href='".to_owned() + &"/".repeat(1 << 20) + "'>..</a>",
        "<a href='//".to_owned() + &"xn--".repeat(1 << 18) + "/'>..</a>",
        "<a href='".to_owned() + &"%2e".repeat(1 << 18) + "'>..</a>",
        format!("<a {attributes} href=x>x</a>"),
        format!("<title>Index of /</title>{links}"),
        "\0".repeat(1 << 20),
        "\r\n".repeat(1 << 19),
    ] {
        parse(&base(), HTML, page.as_bytes());
        json_query(page.as_bytes());
    }
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
}
