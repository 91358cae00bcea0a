//! What a request says: its method, its name, the range it wants and the conditions it makes. Pure.

use std::time::UNIX_EPOCH;

use percent_encoding::percent_decode_str;

use crate::units::ByteRange;

/// A method.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
}

/// A request's head.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The path and the query, as they were sent.
    pub(super) target: String,
    /// The path, decoded, without the slash before it.
    pub(super) name: String,
    headers: Vec<(String, String)>,
}

/// What of an object is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    All,
    Part(ByteRange),
    /// The object has nothing of it.
    Nothing,
}

impl Request {
    /// Reads a head, up to its empty line. `None` where it is none, or of another method.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(head).ok()?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let method = match words.next()? {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            _ => return None,
        };
        let target = words.next()?.to_owned();
        let path = target.split('?').next()?.strip_prefix('/')?;
        let name = percent_decode_str(path).decode_utf8().ok()?.into_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self {
            method,
            target,
            name,
            headers,
        })
    }

    /// A header, by its name in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What the Range header wants of an object of `size` bytes. Several ranges count as none.
    pub(super) fn range(&self, size: u64) -> Wanted {
        let Some(spec) = self.header("range").and_then(|r| r.strip_prefix("bytes=")) else {
            return Wanted::All;
        };
        let Some((first, last)) = spec.split_once('-') else {
            return Wanted::All;
        };
        let range = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if last >= first => ByteRange::new(first, last.saturating_add(1)),
            (Ok(first), _) if last.is_empty() => ByteRange::new(first, u64::MAX),
            (_, Ok(suffix)) if first.is_empty() => {
                ByteRange::new(size.saturating_sub(suffix), size)
            }
            _ => return Wanted::All,
        };
        match range.clip(ByteRange::new(0, size)) {
            part if part.is_empty() => Wanted::Nothing,
            part => Wanted::Part(part),
        }
    }
}

/// Whether the conditions of a request hold for an object with this ETag and time; if not, the status to answer with.
pub(super) fn conditions_hold(
    request: &Request,
    etag: Option<&str>,
    modified: Option<u64>,
) -> Result<(), u16> {
    let seconds = |name: &str| {
        let time = httpdate::parse_http_date(request.header(name)?).ok()?;
        Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
    };
    let listed = |list: &str, tag: &str| list.split(',').any(|known| known.trim() == tag);
    if let Some(list) = request.header("if-match") {
        let strong = etag.filter(|tag| !tag.starts_with("W/"));
        if list != "*" && !strong.is_some_and(|tag| listed(list, tag)) {
            return Err(412);
        }
    } else if let (Some(limit), Some(modified)) = (seconds("if-unmodified-since"), modified)
        && modified > limit
    {
        return Err(412);
    }
    if let Some(list) = request.header("if-none-match") {
        let weak = |tag: &str| tag.trim_start_matches("W/").to_owned();
        let list: Vec<_> = list.split(',').map(|known| weak(known.trim())).collect();
        if etag.is_some_and(|tag| list.contains(&weak(tag))) {
            return Err(304);
        }
    } else if let (Some(limit), Some(modified)) = (seconds("if-modified-since"), modified)
        && modified <= limit
    {
        return Err(304);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &str) -> Request {
        let text = format!("GET /a%20b/c%25?json HTTP/1.1\r\n{headers}\r\n\r\n");
        Request::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_head_is_read() {
        let request = request("RANGE:  bytes=1-2 \r\nX: y");
        assert_eq!(request.name, "a b/c%");
        assert_eq!(request.target, "/a%20b/c%25?json");
        assert_eq!(request.header("range"), Some("bytes=1-2"));
        assert!(Request::parse(b"PUT / HTTP/1.1\r\n\r\n").is_none());
        assert!(Request::parse(b"\xff\x00").is_none());
    }

    #[test]
    fn ranges_are_cut_at_the_end() {
        let want = |spec: &str, size| request(&format!("Range: {spec}")).range(size);
        let part = |start, end| Wanted::Part(ByteRange::new(start, end));
        assert_eq!(want("bytes=0-0", 10), part(0, 1));
        assert_eq!(want("bytes=5-99", 10), part(5, 10));
        assert_eq!(want("bytes=5-", 10), part(5, 10));
        assert_eq!(want("bytes=-3", 10), part(7, 10));
        assert_eq!(want("bytes=10-11", 10), Wanted::Nothing);
        assert_eq!(want("bytes=0-0", 0), Wanted::Nothing);
        assert_eq!(want("bytes=3-2", 10), Wanted::All);
        assert_eq!(want("bytes=0-1,4-5", 10), Wanted::All);
        assert_eq!(want("lines=0-1", 10), Wanted::All);
    }

    #[test]
    fn conditions_are_those_of_the_standard() {
        let holds = |headers: &str, etag, time| conditions_hold(&request(headers), etag, time);
        let (strong, weak) = (Some("\"a\""), Some("W/\"a\""));
        assert_eq!(holds("If-Match: \"b\", \"a\"", strong, None), Ok(()));
        assert_eq!(holds("If-Match: \"b\"", strong, None), Err(412));
        assert_eq!(holds("If-Match: W/\"a\"", weak, None), Err(412));
        assert_eq!(holds("If-Match: \"a\"", None, None), Err(412));
        assert_eq!(holds("If-None-Match: \"a\"", weak, None), Err(304));
        assert_eq!(holds("If-None-Match: \"b\"", strong, None), Ok(()));
        let date = super::super::response::http_date(1000);
        let since = format!("If-Unmodified-Since: {date}");
        assert_eq!(holds(&since, None, Some(1000)), Ok(()));
        assert_eq!(holds(&since, None, Some(1001)), Err(412));
        assert_eq!(holds(&since, None, None), Ok(()));
        let since = format!("If-Modified-Since: {date}");
        assert_eq!(holds(&since, None, Some(1000)), Err(304));
        assert_eq!(holds(&since, None, Some(1001)), Ok(()));
    }
}
