//! What the demo's web server answers to a request: a status, headers and the part of a file that goes with them, as nginx
//! would with `autoindex_format json`. Looks at the disk, sends nothing.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use hyper::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_MATCH,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, LOCATION, RANGE,
};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;

/// An answer, before it is sent.
pub(super) struct Answer {
    /// Status and headers.
    pub response: Response<()>,
    /// What follows.
    pub body: Content,
}

/// A body.
pub(super) enum Content {
    /// These bytes.
    Text(Vec<u8>),
    /// A part of a file.
    Part {
        /// The file.
        file: File,
        /// Its first byte.
        start: u64,
        /// The byte behind its last.
        end: u64,
    },
}

impl Content {
    /// How long it is.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Part { start, end, .. } => end - start,
        }
    }
}

impl Answer {
    fn new(status: StatusCode, headers: &[(HeaderName, &str)], body: Content) -> Self {
        let mut response = Response::new(());
        *response.status_mut() = status;
        for (name, value) in headers {
            // What is put here is made of dates, numbers and escaped paths.
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        Self { response, body }
    }

    fn empty(status: StatusCode, headers: &[(HeaderName, &str)]) -> Self {
        Self::new(status, headers, Content::Text(Vec::new()))
    }
}

/// The answer to a request for something in `root`.
pub(super) fn answer<B>(root: &Path, request: &Request<B>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Answer::empty(StatusCode::METHOD_NOT_ALLOWED, &[]);
    }
    let path = request.uri().path();
    let found = beneath(root, path).ok_or_else(|| io::ErrorKind::NotFound.into());
    let answered = found.and_then(|file| {
        let meta = file.symlink_metadata()?;
        match (meta.is_dir(), path.ends_with('/')) {
            (true, true) => listing(&file),
            (true, false) => {
                let there = format!("{path}/");
                Ok(Answer::empty(
                    StatusCode::MOVED_PERMANENTLY,
                    &[(LOCATION, &there)],
                ))
            }
            (false, false) if meta.is_file() => serve(File::open(&file)?, request.headers()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    });
    answered.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Answer::empty(StatusCode::NOT_FOUND, &[]),
        _ => Answer::empty(StatusCode::INTERNAL_SERVER_ERROR, &[]),
    })
}

/// The file that a URL's path names, if it lies beneath the root.
fn beneath(root: &Path, path: &str) -> Option<PathBuf> {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    let relative = Path::new(std::ffi::OsStr::from_bytes(&decoded))
        .strip_prefix("/")
        .ok()?;
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    relative
        .components()
        .all(plain)
        .then(|| root.join(relative))
}

/// A directory's names, in nginx's form.
fn listing(dir: &Path) -> io::Result<Answer> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let mtime = httpdate::fmt_http_date(meta.modified()?);
        entries.push(match meta.is_dir() {
            true => json!({"name": name, "type": "directory", "mtime": mtime}),
            false => json!({"name": name, "type": "file", "mtime": mtime, "size": meta.len()}),
        });
    }
    let text = serde_json::to_vec(&entries)?;
    let kind = [(CONTENT_TYPE, "application/json")];
    Ok(Answer::new(StatusCode::OK, &kind, Content::Text(text)))
}

/// A file, or a part of it, if it is the version that the request is about.
fn serve(file: File, headers: &HeaderMap) -> io::Result<Answer> {
    let meta = file.metadata()?;
    let etag = etag(&meta)?;
    let modified = httpdate::fmt_http_date(meta.modified()?);
    let len = meta.len();
    let mut about = vec![
        (ETAG, etag.as_str()),
        (LAST_MODIFIED, &modified),
        (ACCEPT_RANGES, "bytes"),
        (CONTENT_TYPE, "application/octet-stream"),
    ];
    let said = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let names = |list: &str| {
        list.split(',')
            .any(|one| matches!(one.trim(), one if one == etag || one == "*"))
    };
    let refuted = match (said(IF_MATCH), said(IF_UNMODIFIED_SINCE)) {
        (Some(list), _) => !names(list),
        (None, Some(date)) => date != modified,
        (None, None) => false,
    };
    if refuted {
        return Ok(Answer::empty(StatusCode::PRECONDITION_FAILED, &about));
    }
    if said(IF_NONE_MATCH).is_some_and(names) {
        return Ok(Answer::empty(StatusCode::NOT_MODIFIED, &about));
    }
    let is_current = |version: &str| version == etag || version == modified;
    let range = said(RANGE).filter(|_| said(IF_RANGE).is_none_or(is_current));
    let Some((start, end)) = range.and_then(|range| parse_range(range, len)) else {
        let body = Content::Part {
            file,
            start: 0,
            end: len,
        };
        return Ok(Answer::new(StatusCode::OK, &about, body));
    };
    if start >= end {
        let none = format!("bytes */{len}");
        about.push((CONTENT_RANGE, &none));
        return Ok(Answer::empty(StatusCode::RANGE_NOT_SATISFIABLE, &about));
    }
    let part = format!("bytes {start}-{}/{len}", end - 1);
    about.push((CONTENT_RANGE, &part));
    let body = Content::Part { file, start, end };
    Ok(Answer::new(StatusCode::PARTIAL_CONTENT, &about, body))
}

/// An ETag as nginx makes it: of seconds and size.
fn etag(meta: &Metadata) -> io::Result<String> {
    let since = meta.modified()?.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_err(io::Error::other)?.as_secs();
    Ok(format!("\"{seconds:x}-{:x}\"", meta.len()))
}

/// The one range that is asked for, of a file of this length: its first byte and the one behind its last, which is not
/// behind the first where there is no such part. `None` for what is no single range.
fn parse_range(text: &str, len: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let suffix: u64 = last.parse().ok()?;
        return Some((len.saturating_sub(suffix), len));
    }
    let first: u64 = first.parse().ok()?;
    let end = match last {
        "" => len,
        last => last.parse::<u64>().ok()?.checked_add(1)?.min(len),
    };
    Some((first, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Asked {
        status: u16,
        headers: HeaderMap,
        len: u64,
        text: String,
    }

    fn ask(root: &Path, path: &str, headers: &[(&str, &str)]) -> Asked {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = answer(root, &request.body(()).unwrap());
        let len = answer.body.len();
        let text = match answer.body {
            Content::Text(text) => String::from_utf8(text).unwrap(),
            Content::Part { start, end, .. } => format!("{start}..{end}"),
        };
        Asked {
            status: answer.response.status().as_u16(),
            headers: answer.response.headers().clone(),
            len,
            text,
        }
    }

    #[test]
    fn a_directory_is_served_as_nginx_would() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir(root.join("a b")).unwrap();
        std::fs::write(root.join("a b/100%?"), "0123456789").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        let list = ask(root, "/a%20b/", &[]);
        assert_eq!(list.status, 200);
        assert!(
            list.text.contains("\"100%?\"") && list.text.contains("\"size\":10"),
            "{}",
            list.text
        );
        let moved = ask(root, "/a%20b", &[]);
        assert_eq!(
            (moved.status, &moved.headers["location"]),
            (301, &"/a%20b/".parse().unwrap())
        );
        for path in [
            "/nothing",
            "/link",
            "/a%20b/../../etc/passwd",
            "/%2e%2e/x",
            "/a%20b/100%25%3F/",
        ] {
            assert_eq!(ask(root, path, &[]).status, 404, "{path}");
        }

        let file = "/a%20b/100%25%3F";
        let whole = ask(root, file, &[]);
        assert_eq!((whole.status, whole.len), (200, 10));
        let etag = whole.headers["etag"].to_str().unwrap();
        let date = whole.headers["last-modified"].to_str().unwrap();
        for (headers, status, part) in [
            (&[("range", "bytes=2-4")][..], 206, "2..5"),
            (&[("range", "bytes=8-99")], 206, "8..10"),
            (&[("range", "bytes=8-")], 206, "8..10"),
            (&[("range", "bytes=-3")], 206, "7..10"),
            (&[("range", "bytes=10-")], 416, ""),
            (&[("range", "bytes=1-2,4-5")], 200, "0..10"),
            (&[("range", "bytes=1-2"), ("if-match", etag)], 206, "1..3"),
            (&[("range", "bytes=1-2"), ("if-match", "\"x\"")], 412, ""),
            (&[("if-unmodified-since", date)], 200, "0..10"),
            (
                &[("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT")],
                412,
                "",
            ),
            (&[("if-none-match", etag)], 304, ""),
            (&[("range", "bytes=1-2"), ("if-range", etag)], 206, "1..3"),
            (
                &[("range", "bytes=1-2"), ("if-range", "\"x\"")],
                200,
                "0..10",
            ),
        ] {
            let answer = ask(root, file, headers);
            assert_eq!(
                (answer.status, answer.text.as_str()),
                (status, part),
                "{headers:?}"
            );
        }
        let range = ask(root, file, &[("range", "bytes=2-4")]);
        assert_eq!(range.headers["content-range"], "bytes 2-4/10");
    }
}
