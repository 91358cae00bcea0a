//! What was given for the server alone: the headers that carry it, and a name for whom the server sees.

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE,
    TRANSFER_ENCODING,
};

use super::settings::{HttpSettings, SettingsError};
use crate::remote::credentials::Credentials;

/// Headers that decide which bytes an answer has: they are larder's own.
const RESERVED: &[HeaderName] = &[
    ACCEPT_ENCODING,
    CONTENT_LENGTH,
    HOST,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    TE,
    TRANSFER_ENCODING,
];

/// The headers of every request to the server itself. A header that was given replaces what the credentials say.
pub(super) fn headers(settings: &HttpSettings) -> Result<HeaderMap, SettingsError> {
    let mut own = HeaderMap::new();
    if let Some(credentials) = &settings.credentials {
        own.insert(AUTHORIZATION, basic(credentials)?);
    }
    for (name, _) in &settings.headers {
        if RESERVED.contains(name) {
            return Err(SettingsError::Url(format!(
                "the header {name} cannot be set with --header, because larder sets it itself: remove it"
            )));
        }
        own.remove(name);
    }
    for (name, value) in &settings.headers {
        let mut value = value.clone();
        value.set_sensitive(true);
        own.append(name, value);
    }
    Ok(own)
}

fn basic(credentials: &Credentials) -> Result<HeaderValue, SettingsError> {
    if credentials.user.contains(&b':') {
        let why = "a user name that contains a colon cannot be used with basic authentication";
        return Err(SettingsError::Url(why.into()));
    }
    let plain = [credentials.user.as_slice(), b":", &credentials.password].concat();
    let mut value = HeaderValue::from_str(&format!("Basic {}", base64(&plain))).map_err(|_| {
        SettingsError::Url(
            "the user name or password contains characters that an HTTP header cannot carry".into(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let digit = (bits >> (18 - 6 * n) & 63) as usize;
            text.push(if n <= group.len() {
                char::from(DIGITS[digit])
            } else {
                '='
            });
        }
    }
    text
}

/// Whom the server sees: the user's name, and a hash of the headers that were given.
pub(super) fn principal(settings: &HttpSettings) -> String {
    let mut parts = Vec::new();
    if let Some(credentials) = &settings.credentials {
        parts.push(match std::str::from_utf8(&credentials.user) {
            Ok(user) => format!("user={user}"),
            // No two users are one, as they would be with the bytes left out that are no text.
            Err(_) => format!("user-bytes={}", credentials.user.escape_ascii()),
        });
    }
    if !settings.headers.is_empty() {
        let mut given: Vec<(&str, &[u8])> = settings
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        // The order of different headers means nothing; that of two with one name does, and is kept.
        given.sort_by_key(|(name, _)| *name);
        let mut hasher = blake3::Hasher::new();
        for part in given
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), value])
        {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        parts.push(format!("headers={}", hasher.finalize().to_hex()));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::remote::http::settings::HttpMemory;

    fn settings(
        user: Option<(&str, &str)>,
        headers: &[(&'static str, &'static str)],
    ) -> HttpSettings {
        HttpSettings {
            headers: headers
                .iter()
                .map(|(name, value)| {
                    (
                        HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect(),
            credentials: user.map(|(user, password)| Credentials {
                user: user.into(),
                password: password.into(),
            }),
            ca_file: None,
            timeout: Duration::from_secs(1),
            memory: HttpMemory::default(),
            uid: 0,
            gid: 0,
        }
    }

    #[test]
    fn credentials_are_encoded_as_the_standard_says() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        let own = headers(&settings(Some(("Aladdin", "open sesame")), &[])).unwrap();
        assert_eq!(own[AUTHORIZATION], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{own:?}").contains("QWxh"), "it shows in a log");
        let mut latin1 = settings(Some(("u", "")), &[]);
        latin1.credentials.as_mut().unwrap().password = vec![0xe9, 0xff];
        assert_eq!(headers(&latin1).unwrap()[AUTHORIZATION], "Basic dTrp/w==");
    }

    #[test]
    fn a_given_header_replaces_ours_and_may_come_twice() {
        let given = [("authorization", "Bearer x"), ("x-a", "1"), ("x-a", "2")];
        let own = headers(&settings(Some(("u", "p")), &given)).unwrap();
        assert_eq!(own.get_all(AUTHORIZATION).iter().count(), 1);
        assert_eq!(own[AUTHORIZATION], "Bearer x");
        assert_eq!(own.get_all("x-a").iter().count(), 2);
        assert!(headers(&settings(None, &[("range", "bytes=0-1")])).is_err());
        assert!(headers(&settings(Some(("a:b", "p")), &[])).is_err());
    }

    #[test]
    fn the_principal_tells_whom_and_no_secret() {
        let with = |user, headers| principal(&settings(user, headers));
        assert_eq!(with(None, &[]), "");
        assert_eq!(with(Some(("ann", "secret")), &[]), "user=ann");
        let of_bytes = |user: &[u8]| {
            let mut settings = settings(Some(("", "")), &[]);
            settings.credentials.as_mut().unwrap().user = user.to_vec();
            principal(&settings)
        };
        assert_ne!(of_bytes(b"ren\xe9"), of_bytes(b"ren\xe8"));
        assert_ne!(of_bytes(b"ren\xe9"), of_bytes(b"ren\\xe9"));
        let (a, b) = (
            with(None, &[("x-key", "s1")]),
            with(None, &[("x-key", "s2")]),
        );
        assert_ne!(a, b);
        assert!(!a.contains("s1"));
        assert_eq!(
            with(None, &[("x-a", "1"), ("x-b", "2")]),
            with(None, &[("x-b", "2"), ("x-a", "1")])
        );
        assert_ne!(with(None, &[("x-a", "1b")]), with(None, &[("x-a1", "b")]));
    }
}
