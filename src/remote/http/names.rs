//! From the name of an object to its URL, and back where one file was named by its URL.
//!
//! Invariants: what the URL of a mount says is kept as it was given; every byte of a name that is not unreserved is
//! percent-encoded, so that a name is never read as syntax (`?`, `#`, `%`, `+`, `;`).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use reqwest::Url;

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The URL of the object `name` (components joined by `/`) beneath `base`, whose path ends in a slash. `None` for what
/// no URL can name: an empty component, `.`, `..`.
pub(super) fn url_of(base: &Url, name: &[u8]) -> Option<Url> {
    if name.is_empty() {
        return Some(base.clone());
    }
    let mut url = base.as_str().to_owned();
    for (n, component) in name.split(|byte| *byte == b'/').enumerate() {
        if !is_name(component) {
            return None;
        }
        if n > 0 {
            url.push('/');
        }
        url.extend(percent_encode(component, RESERVED));
    }
    Url::parse(&url).ok()
}

/// The URL of the same path with a slash at its end.
pub(super) fn with_slash(url: &Url) -> Url {
    let mut url = url.clone();
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

/// Whether `name` can stand in a directory.
pub(super) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0)
}

/// The directory that `url` lies in, and its name there. `None` where the last part of the path is no name.
pub(super) fn split(url: &Url) -> Option<(Url, Box<[u8]>)> {
    let (_, last) = url.path().rsplit_once('/')?;
    let name: Vec<u8> = percent_decode_str(last).collect();
    let parent = url.join("./").ok()?;
    is_name(&name).then(|| (parent, name.into()))
}

/// The canonical spelling of a directory's URL: two spellings of one place are one identity.
pub(super) fn identity(base: &Url) -> String {
    let mut path = String::new();
    for (n, component) in base.path().split('/').enumerate() {
        if n > 0 {
            path.push('/');
        }
        let bytes: Vec<u8> = percent_decode_str(component).collect();
        path.extend(percent_encode(&bytes, RESERVED));
    }
    format!("{}{path}", origin(base))
}

/// `scheme://host`, with the port where it is not the scheme's own.
pub(super) fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// The URL as a sentence may show it: without user information, query and fragment, which may hold secrets.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", origin(url), url.path())
}

/// Whether a redirect from `from` to `to` only adds a slash to the path. Servers behind others name a wrong scheme, host
/// or port in it; what it says is that the path is a directory's.
pub(super) fn adds_slash(from: &Url, to: &Url) -> bool {
    let plain = |path: &str| -> Vec<u8> { percent_decode_str(path).collect() };
    match to.path().strip_suffix('/') {
        Some(path) => !from.path().ends_with('/') && plain(path) == plain(from.path()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn every_byte_of_a_name_is_a_name_on_the_server() {
        let base = url("http://host/a%20b/");
        let cases: &[(&[u8], &str)] = &[
            (b"", "http://host/a%20b/"),
            (b"x", "http://host/a%20b/x"),
            (b"d/e f", "http://host/a%20b/d/e%20f"),
            (
                b"%?#+&;=@:!",
                "http://host/a%20b/%25%3F%23%2B%26%3B%3D%40%3A%21",
            ),
            (b"%2e%2e", "http://host/a%20b/%252e%252e"),
            (b"...", "http://host/a%20b/..."),
            (b".x~-_", "http://host/a%20b/.x~-_"),
            ("é".as_bytes(), "http://host/a%20b/%C3%A9"),
            (b"\xff\\\n", "http://host/a%20b/%FF%5C%0A"),
        ];
        for (name, expected) in cases {
            assert_eq!(url_of(&base, name).unwrap().as_str(), *expected);
        }
        for name in [
            b"..".as_slice(),
            b".",
            b"a/../b",
            b"a//b",
            b"/a",
            b"a/",
            b"a/./b",
        ] {
            assert_eq!(url_of(&base, name), None, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn one_place_has_one_identity() {
        for text in [
            "http://host/a%20b/~x/",
            "http://HOST:80/a b/%7ex/",
            "http://user:secret@host/a%20b/%7Ex/?q#f",
        ] {
            assert_eq!(identity(&url(text)), "http://host/a%20b/~x/");
        }
        assert_eq!(identity(&url("https://h:8443/")), "https://h:8443/");
        assert_ne!(
            identity(&url("http://h/a%2Fb/")),
            identity(&url("http://h/a/b/"))
        );
        assert_eq!(shown(&url("http://u:p@h/x?token=1#f")), "http://h/x");
    }

    #[test]
    fn a_file_is_its_directory_and_a_name() {
        let (parent, name) = split(&url("http://h/d/a%20b%25.bin")).unwrap();
        assert_eq!(
            (parent.as_str(), &*name),
            ("http://h/d/", b"a b%.bin".as_slice())
        );
        assert_eq!(split(&url("http://h/d/")), None);
        assert_eq!(split(&url("http://h/d/a%2Fb")), None);
    }

    #[test]
    fn a_slash_alone_tells_a_directory() {
        let from = url("http://h/d/s%20t");
        let cases = [
            ("http://h/d/s%20t/", true),
            ("http://h/d/s t/", true),
            ("https://other:8080/d/s%20t/", true),
            ("http://h/d/s%20t", false),
            ("http://h/d/other/", false),
            ("http://h/login?next=/d/s%20t/", false),
        ];
        for (to, expected) in cases {
            assert_eq!(adds_slash(&from, &url(to)), expected, "{to}");
        }
        assert!(!adds_slash(&url("http://h/d/"), &url("http://h/d/")));
    }
}
