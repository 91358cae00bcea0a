//! What a connection that failed means to the user who mounts: a sentence with the way out, and whether to ask again.
//!
//! Invariants: nothing here is sent or read; a sentence has no URL in it, and no proxy's address that holds a password.

use std::error::Error;
use std::io::ErrorKind;

use rustls::{CertificateError, InvalidMessage};

use super::reach::TooNear;

/// What is known of a failure beyond what the libraries say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// The server's certificate is not to be trusted: it will not be in a second either.
    Distrust(String),
    /// What answers does not speak the protocol that the URL names.
    WrongProtocol(&'static str),
    /// A redirect led too near.
    TooNear(TooNear),
    /// No server listens there.
    Refused,
}

/// The first cause of `error` that says something; `None` where nothing more is known than it says itself.
pub(super) fn of(error: &(dyn Error + 'static)) -> Option<Trouble> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(trouble) = of_one(error) {
            return Some(trouble);
        }
        // An I/O error names the cause of what it wraps as its own, and not what it wraps.
        let wrapped = error.downcast_ref::<std::io::Error>();
        next = match wrapped.and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn of_one(error: &(dyn Error + 'static)) -> Option<Trouble> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return match error {
            rustls::Error::InvalidCertificate(why) => Some(Trouble::Distrust(distrust(why))),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(
                Trouble::WrongProtocol("the server does not speak TLS (did you mean http://?)"),
            ),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        // The library tells this kind apart by its text alone; a bad header, say, is a web server's all the same.
        let is_strange = error.is_parse() && error.to_string() == "invalid HTTP version parsed";
        return is_strange.then_some(Trouble::WrongProtocol(
            "the answer does not come from a web server (did you mean https:// or another port?)",
        ));
    }
    if let Some(error) = error.downcast_ref::<TooNear>() {
        return Some(Trouble::TooNear(*error));
    }
    let error = error.downcast_ref::<std::io::Error>()?;
    (error.kind() == ErrorKind::ConnectionRefused).then_some(Trouble::Refused)
}

fn distrust(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "the server's certificate is not trusted: this machine does not know the \
            authority that signed it (--ca-file FILE trusts the authority whose certificate is in FILE)"
            .into(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            match presented.as_slice() {
                [] => format!("the server's certificate names no host, so it is not valid for {expected}"),
                names => {
                    let names: Vec<_> = names.iter().map(|name| bare(name)).collect();
                    let names = names.join(", ");
                    format!("the server's certificate is valid for {names}, not for {expected}")
                }
            }
        }
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server's certificate is not trusted: it is a certificate of an authority (CA:TRUE), not of a server: make \
            one with basicConstraints CA:FALSE (openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE)"
                .into()
        }
        why => format!("the server's certificate is not trusted: {why}"),
    }
}

/// The name in `DnsName("name")`, as the library writes it.
fn bare(presented: &str) -> &str {
    let inner = presented.split_once('(').map(|(_, rest)| rest);
    let inner = inner.and_then(|rest| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

/// What to say besides where a connection is refused and the environment (`value_of` a variable) names a proxy for URLs
/// of this scheme.
pub(super) fn proxy_hint(
    scheme: &str,
    value_of: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let upper = scheme.to_ascii_uppercase();
    let names = [
        format!("{upper}_PROXY"),
        format!("{scheme}_proxy"),
        "ALL_PROXY".into(),
        "all_proxy".into(),
    ];
    let set = names.into_iter().find_map(|name| {
        let value = value_of(&name).filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let (name, value) = set?;
    // What comes before an @ is a user and a password.
    let shown = match value.contains('@') {
        true => name,
        false => format!("{name}={value}"),
    };
    Some(format!(
        "{shown} is set, so it may be the proxy that refuses (no_proxy names hosts to reach without it)"
    ))
}

/// The error and its causes as one sentence, without the URL.
pub(super) fn sentence(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut said: Vec<String> = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = next {
        let text = error.to_string();
        if said.last().is_none_or(|before| !before.ends_with(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    // What the libraries say of themselves tells a user nothing as long as a cause follows.
    let is_idle =
        |text: &String| text == "error sending request" || text.starts_with("client error");
    let idle = said.iter().take_while(|text| is_idle(text)).count();
    said.drain(..idle.min(said.len() - 1));
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;
    use rustls::pki_types::ServerName;

    use super::*;

    /// The sentence for a certificate, from as deep as the libraries bury it.
    fn said(why: CertificateError) -> String {
        let inner = std::io::Error::other(rustls::Error::InvalidCertificate(why));
        match of(&std::io::Error::other(inner)) {
            Some(Trouble::Distrust(said)) => said,
            other => panic!("{other:?}"),
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no")]
    struct CaUsedAsEndEntity;

    #[test]
    fn each_certificate_has_its_way_out() {
        let wrong = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("files.test").unwrap().to_owned(),
            presented: presented.iter().map(|&name| name.into()).collect(),
        };
        assert!(said(CertificateError::UnknownIssuer).contains("--ca-file"));
        let two = said(wrong(&["DnsName(\"a.test\")", "IpAddress(10.0.0.1)"]));
        assert!(
            two.ends_with("is valid for a.test, 10.0.0.1, not for files.test"),
            "{two}"
        );
        assert!(said(wrong(&[])).ends_with("so it is not valid for files.test"));
        let other = CertificateError::Other(OtherError(Arc::new(CaUsedAsEndEntity)));
        assert!(said(other).contains("basicConstraints=critical,CA:FALSE"));
        assert!(said(CertificateError::Revoked).contains("is not trusted"));
    }

    #[test]
    fn what_says_nothing_more_is_no_trouble() {
        assert_eq!(of(&std::io::Error::other("broken")), None);
        let refused = std::io::Error::from(ErrorKind::ConnectionRefused);
        assert_eq!(of(&std::io::Error::other(refused)), Some(Trouble::Refused));
        let tls = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert!(matches!(of(&tls), Some(Trouble::WrongProtocol(why)) if why.contains("http://")));
    }

    #[test]
    fn a_proxy_is_named_without_its_password() {
        let hint = |scheme, name: &'static str, value: &'static str| {
            proxy_hint(scheme, move |asked| {
                (asked == name).then(|| value.to_owned())
            })
        };
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            let said = hint("http", name, "http://proxy.test:1").unwrap();
            assert!(
                said.starts_with(&format!("{name}=http://proxy.test:1 is set")),
                "{said}"
            );
        }
        let said = hint("https", "https_proxy", "http://ann:hidden@proxy.test:1").unwrap();
        assert!(
            said.starts_with("https_proxy is set") && !said.contains("hidden"),
            "{said}"
        );
        assert_eq!(hint("https", "http_proxy", "http://proxy.test:1"), None);
        assert_eq!(hint("http", "http_proxy", ""), None);
    }
}
