//! Where links lead: a table.

use reqwest::Url;

use super::{Directory, Target};

fn child(name: &[u8]) -> Target {
    Target::Child(name.into(), false)
}

fn dir(name: &[u8]) -> Target {
    Target::Child(name.into(), true)
}

fn itself(query: &str) -> Target {
    Target::Itself(Some(query.into()))
}

fn check(base: &str, table: &[(&[u8], Target)]) {
    let url = Url::parse(base).unwrap();
    let directory = Directory::new(&url);
    for (href, target) in table {
        let shown = href.escape_ascii();
        assert_eq!(directory.resolve(href), *target, "{shown} in {base}");
    }
}

const BASE: &str = "http://user@Example.org:80/pub/a%20b/?json#x";

#[test]
fn names_come_out_as_they_are() {
    let table: &[(&[u8], Target)] = &[
        (b"x", child(b"x")),
        (b"x/", dir(b"x")),
        (b" x\n", child(b"x")),
        (b"./x", child(b"x")),
        (b"./x/.", dir(b"x")),
        (b"y/../x", child(b"x")),
        (b"x/y/..", dir(b"x")),
        (b"a%3Ab", child(b"a:b")),
        (b"./a:b", child(b"a:b")),
        (b"1:b", child(b"1:b")),
        (b"a%20b%25%3F%23+&", child(b"a b%?#+&")),
        (b"with space", child(b"with space")),
        (b"100%", child(b"100%")),
        (b"%zz%4", child(b"%zz%4")),
        (b"back\\slash", child(b"back\\slash")),
        (b"..\\..", child(b"..\\..")),
        (b"new\nline\ttab", child(b"new\nline\ttab")),
        (b"new%0Aline%5c", child(b"new\nline\\")),
        (b"\xff%FE", child(b"\xff\xfe")),
        ("日本".as_bytes(), child("日本".as_bytes())),
        (b"...", child(b"...")),
        // Odd ones, for the caller to refuse.
        (b"%2e%2E", child(b"..")),
        (b"%2e%2e/", dir(b"..")),
        (b".%2e", child(b"..")),
        (b"a%2Fb", child(b"a/b")),
        (b"%00", child(b"\0")),
        (b".//", dir(b"")),
        (b"/pub/a%20b//", dir(b"")),
    ];
    check(BASE, table);
}

#[test]
fn absolute_addresses_lead_here_too() {
    let table: &[(&[u8], Target)] = &[
        (b"/pub/a%20b/x", child(b"x")),
        (b"/pub/a b/x/", dir(b"x")),
        (b"/%70ub/./a%20b/x", child(b"x")),
        (b"/other/../pub/a%20b/x", child(b"x")),
        (b"../a%20b/x", child(b"x")),
        (b"../../pub/a%20b/x", child(b"x")),
        (b"../../../../pub/a%20b/x", child(b"x")),
        (b"http://example.org/pub/a%20b/x", child(b"x")),
        (b"HTTP://EXAMPLE.ORG:80/pub/a%20b/x", child(b"x")),
        (b"//example.org/pub/a%20b/x/", dir(b"x")),
        (b"/pub/a%20b/", Target::Itself(None)),
        (b"/pub/a%20b", Target::Itself(None)),
        (b"", Target::Itself(None)),
        (b".", Target::Itself(None)),
        (b"./", Target::Itself(None)),
        (b"x/..", Target::Itself(None)),
        (b"?C=N;O=D", itself("C=N;O=D")),
        (b"./?C=N;O=D", itself("C=N;O=D")),
        (b"/pub/a%20b/?a=b", itself("a=b")),
        (b"..", Target::Parent),
        (b"../", Target::Parent),
        (b"/pub/", Target::Parent),
        (b"/pub", Target::Parent),
        (b"http://example.org/pub/", Target::Parent),
        (b"../?noscript", Target::Parent),
        (b"x/?noscript", dir(b"x")),
    ];
    check(BASE, table);
}

#[test]
fn everything_else_leads_elsewhere() {
    let elsewhere: &[&[u8]] = &[
        b"x/y",
        b"x//",
        b"x/%2e%2e/y",
        b"%2e%2e/a%20b/x",
        b"/",
        b"/x",
        b"/pub/x",
        b"/pub/a%20bc/x",
        b"/pub/a%20b/x/y",
        b"/pub//a%20b/x",
        b"/pub%2Fa%20b/x",
        b"../x",
        b"../..",
        b"http://example.org",
        b"http://example.org:81/pub/a%20b/x",
        b"https://example.org/pub/a%20b/x",
        b"http://other.org/pub/a%20b/x",
        b"http://example.org@other.org/pub/a%20b/x",
        b"//other.org/pub/a%20b/x",
        b"///pub/a%20b/x",
        b"http://[/pub/a%20b/x",
        b"http://\xff/pub/a%20b/x",
        b"http:x",
        b"http:/pub/a%20b/x",
        b"a:b",
        b"javascript:x",
        b"mailto:a@example.org",
        b"data:text/html,x",
        b"file:///pub/a%20b/x",
        b"#",
        b"#x",
        b"x#y",
        b"x?y",
        b"x?",
        b"x?noscript=",
        b"x/?C=N;O=D",
        b"../?C=N;O=D",
    ];
    let table: Vec<_> = elsewhere
        .iter()
        .map(|href| (*href, Target::Elsewhere))
        .collect();
    check(BASE, &table);
}

#[test]
fn the_root_is_above_itself() {
    let table: &[(&[u8], Target)] = &[
        (b"/", Target::Itself(None)),
        (b"../", Target::Itself(None)),
        (b"..", Target::Itself(None)),
        (b"/../x", child(b"x")),
        (b"../x/", dir(b"x")),
        (b"/x", child(b"x")),
        (b"x", child(b"x")),
        (b"http://example.org?a", itself("a")),
        (b"/x/y", Target::Elsewhere),
        (b"//x", Target::Elsewhere),
    ];
    check("http://example.org/", table);
    check("http://example.org", table);
}
