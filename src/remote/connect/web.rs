//! The URL of a web server, the headers that it is sent, and the remote that they make.

use std::ffi::OsStr;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::{ConnectError, ConnectSettings, Header, SpecError, WebSpec};
use crate::remote::{Credentials, HttpMemory, HttpRemote, HttpSettings, SettingsError};
use crate::units::shown_bytes;

/// Headers that are larder's own: with another value no answer could be trusted.
const OWN_HEADERS: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "te",
    "transfer-encoding",
];

/// The URL without its user information, and that as credentials.
pub(super) fn parse(remote: &OsStr) -> Result<WebSpec, SpecError> {
    let text = remote
        .to_str()
        .ok_or_else(|| SpecError::url("a URL is ASCII: write %XX for other bytes"))?;
    let mut url = Url::parse(text)
        .map_err(|error| SpecError::url(format_args!("it is not a valid URL ({error})")))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(SpecError::url(
            "the URL of a directory must not contain ? or #: leave them out (in a name they are %3F and %23; \
             a token belongs in a --header)",
        ));
    }
    // Bytes of any encoding: the server is sent what they are decoded to.
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let credentials = match (url.username(), url.password()) {
        ("", None) => None,
        (user, password) => Some(Credentials {
            user: decoded(user),
            password: password.map(decoded).unwrap_or_default(),
        }),
    };
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err(SpecError::url("it names no server"));
    }
    Ok(WebSpec {
        url: url.into(),
        credentials,
        headers: Vec::new(),
        ca_file: None,
    })
}

impl WebSpec {
    /// The host that the URL names.
    pub fn host(&self) -> String {
        let url = Url::parse(&self.url).ok();
        url.and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// Why a header cannot be sent. No variant holds the header's value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// There is no colon in it.
    #[error("a header is written 'Name: value', and one that was given has no colon")]
    NoColon,
    /// It is one that larder sets itself.
    #[error("the header '{0}' cannot be given: larder sets it itself")]
    Own(&'static str),
    /// This can be no header's name.
    #[error("'{0}' is not a valid name of a header")]
    Name(String),
    /// The value of the header with this name has bytes that no header may contain.
    #[error("the header '{0}': its value has bytes that no header may contain")]
    Value(String),
}

impl Header {
    /// Reads `Name: value`.
    pub fn parse(given: &[u8]) -> Result<Self, HeaderError> {
        let colon = given.iter().position(|b| *b == b':');
        let (name, value) = given.split_at(colon.ok_or(HeaderError::NoColon)?);
        let own = OWN_HEADERS
            .iter()
            .find(|own| own.as_bytes().eq_ignore_ascii_case(name));
        if let Some(own) = own {
            return Err(HeaderError::Own(own));
        }
        let shown = || shown_bytes(name).to_string();
        let parsed = HeaderName::from_bytes(name).map_err(|_| HeaderError::Name(shown()))?;
        let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
        HeaderValue::from_bytes(value).map_err(|_| HeaderError::Value(shown()))?;
        Ok(Self {
            name: parsed.as_str().to_owned(),
            value: value.to_vec(),
        })
    }

    /// As the HTTP library takes it.
    fn parsed(&self) -> Result<(HeaderName, HeaderValue), SettingsError> {
        let wrong = || SettingsError::Header(self.name.clone());
        let name = HeaderName::from_bytes(self.name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_bytes(&self.value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

/// The remote. Nothing is asked yet.
pub(super) fn open(web: &WebSpec, settings: &ConnectSettings) -> Result<HttpRemote, ConnectError> {
    let url = Url::parse(&web.url).map_err(|error| SettingsError::Url(error.to_string()))?;
    let headers = web.headers.iter().map(Header::parsed);
    let settings = HttpSettings {
        headers: headers.collect::<Result<_, _>>()?,
        credentials: web.credentials.clone(),
        ca_file: web.ca_file.clone(),
        timeout: settings.timeout,
        // A web server names no owners: its files are shown as those of the user who mounts.
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        memory: HttpMemory {
            listings: settings.listings.clone(),
            in_flight: settings.in_flight,
        },
    };
    Ok(HttpRemote::new(&url, settings)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_leaves_the_url() {
        let parsed = |text: &str| {
            let web = parse(OsStr::new(text)).unwrap();
            let user = web.credentials.map(|c| (c.user, c.password));
            (web.url, user)
        };
        let user = |user: &str, password: &str| Some((user.into(), password.into()));
        assert_eq!(
            parsed("https://h:81/a%20b/"),
            ("https://h:81/a%20b/".into(), None)
        );
        assert_eq!(
            parsed("http://u%40x:p%2Fw@h"),
            ("http://h/".into(), user("u@x", "p/w"))
        );
        // A password that is not there and an empty one are the same to a URL.
        for text in ["http://u@h/", "http://u:@h/"] {
            assert_eq!(parsed(text), ("http://h/".into(), user("u", "")));
        }
        assert_eq!(parsed("http://:p@h/"), ("http://h/".into(), user("", "p")));
        let latin1 = Some((b"ren\xe9".to_vec(), vec![0xff]));
        assert_eq!(parsed("http://ren%e9:%ff@h/").1, latin1);
    }

    #[test]
    fn what_is_no_url_of_a_directory_is_refused_without_its_secrets() {
        for (remote, word) in [
            ("https://u:geheim@h/a?x=geheim", "%3F"),
            ("https://u:geheim@h/a#x", "%23"),
            ("https://u:gehe/im@h/", "not a valid URL"),
            ("https://", "not a valid URL"),
        ] {
            let error = parse(OsStr::new(remote)).unwrap_err();
            assert!(error.why.contains(word), "{error}");
            assert!(!format!("{error:?}").contains("gehe"), "{error}");
        }
    }

    #[test]
    fn headers_have_a_name_and_a_value_that_is_never_shown() {
        let header = Header::parse(b"X-Key:  geheim ").unwrap();
        assert_eq!(
            (header.name.as_str(), &*header.value),
            ("x-key", &b"geheim"[..])
        );
        let (_, value) = header.parsed().unwrap();
        assert!(!format!("{header:?} {value:?}").contains("geheim"));
        assert!(Header::parse(b"A: geheim\n").is_ok());
        for (text, error) in [
            (&b"geheim"[..], HeaderError::NoColon),
            (b"a b: geheim", HeaderError::Name("a b".into())),
            (b"A: geh\neim", HeaderError::Value("A".into())),
            (b"Range: geheim", HeaderError::Own("range")),
        ] {
            let refused = Header::parse(text).unwrap_err();
            assert_eq!(refused, error);
            assert!(!format!("{refused} {refused:?}").contains("geheim"));
        }
    }
}
