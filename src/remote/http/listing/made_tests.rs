//! Pages and documents that no real server gave: what is a listing, what is none, and hostile ones.

use std::time::Duration;

use super::tests::{HTML, JSON, base, fixture, names};
use super::{json_query, parse};
use crate::units::FileKind;

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
        // Marks that a browser does not show.
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

/// What this thread has had of a processor, however many others want one.
fn worked() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The name before may hold blanks; user and system time are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum::<u64>();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

#[test]
fn hostile_pages_cost_no_more_than_their_length() {
    let began = worked();
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
    let took = worked() - began;
    assert!(took < Duration::from_secs(60), "{took:?}");
}
