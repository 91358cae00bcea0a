//! Directories as servers show them. Pure.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::response::http_date;

/// What stays as it is in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What a directory is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listing {
    /// nginx's `autoindex_format json`: names, kinds, sizes and times.
    NginxJson,
    /// A page of plain links.
    Html,
    /// 404: the server does not list.
    Absent,
}

/// One line of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// Size and time of a file; `None` for a directory.
    pub(super) file: Option<(u64, u64)>,
}

/// A path as a URL has it.
pub(super) fn encoded(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// A listing, and its media type.
pub(super) fn write(
    listing: Listing,
    directory: &str,
    rows: &[Row],
) -> Option<(Bytes, &'static str)> {
    match listing {
        Listing::Absent => None,
        Listing::NginxJson => {
            let rows: Vec<_> = rows
                .iter()
                .map(|row| match row.file {
                    Some((size, time)) => {
                        let mtime = http_date(time);
                        json!({"name": row.name, "type": "file", "mtime": mtime, "size": size})
                    }
                    None => json!({"name": row.name, "type": "directory", "mtime": http_date(0)}),
                })
                .collect();
            let text = serde_json::Value::Array(rows).to_string();
            Some((text.into(), "application/json"))
        }
        Listing::Html => {
            let mut text = format!(
                "<html>\n<head><title>Index of /{0}</title></head>\n<body>\n<h1>Index of /{0}</h1><hr><pre>\
                 <a href=\"../\">../</a>\n",
                escaped(directory)
            );
            for row in rows {
                let slash = if row.file.is_some() { "" } else { "/" };
                let (link, name) = (encoded(&row.name), escaped(&row.name));
                text.push_str(&format!("<a href=\"{link}{slash}\">{name}{slash}</a>\n"));
            }
            text.push_str("</pre><hr></body>\n</html>\n");
            Some((text.into(), "text/html"))
        }
    }
}

/// Text as HTML has it.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_so_that_they_can_be_read() {
        let file = |name: &str| Row {
            name: name.into(),
            file: Some((5, 0)),
        };
        let rows = [
            file("a b&<\"#?%.txt"),
            Row {
                name: "dir".into(),
                file: None,
            },
        ];
        let (html, media) = write(Listing::Html, "x/", &rows).unwrap();
        let html = String::from_utf8(html.into()).unwrap();
        let link = "<a href=\"a%20b%26%3C%22%23%3F%25.txt\">a b&amp;&lt;&quot;#?%.txt</a>";
        assert!(
            html.contains(link) && html.contains("<a href=\"dir/\">dir/</a>"),
            "{html}"
        );
        assert_eq!(media, "text/html");
        let (json, _) = write(Listing::NginxJson, "", &rows).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let date = "Thu, 01 Jan 1970 00:00:00 GMT";
        let file = json!({"name": "a b&<\"#?%.txt", "type": "file", "mtime": date, "size": 5});
        assert_eq!(json[0], file);
        assert_eq!(json[1]["type"], "directory");
        assert!(write(Listing::Absent, "", &rows).is_none());
    }
}
