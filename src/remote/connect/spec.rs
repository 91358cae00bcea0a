//! Which remote, as plain values that can be handed to another process.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::remote::Credentials;
use crate::units::{path_as_bytes, shown};

/// Which remote, and as whom it is asked. What is serialised holds the secrets; what `Debug` and `Display` show does not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RemoteSpec {
    /// A directory: its path, in full.
    Dir(#[serde(with = "path_as_bytes")] PathBuf),
    /// A directory or a file of a web server.
    Web(WebSpec),
}

/// A web server, and as whom it is asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebSpec {
    /// The URL (http or https), without user information, query and fragment.
    pub url: String,
    /// For basic authentication.
    pub credentials: Option<Credentials>,
    /// Sent with every request.
    pub headers: Vec<Header>,
    /// A file of certificates (PEM) that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// One header of a request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value, which may be a secret.
    pub value: Vec<u8>,
}

impl fmt::Debug for WebSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSpec({}, the rest is hidden)", self.url)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({}: hidden)", self.name)
    }
}

/// Why what a user named is no remote. The sentence does not repeat a URL, because that may hold secrets.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct SpecError {
    /// The directory that was meant; `None` where a URL was.
    pub path: Option<PathBuf>,
    /// What is wrong with it.
    pub why: String,
}

impl SpecError {
    pub(super) fn url(why: impl fmt::Display) -> Self {
        Self {
            path: None,
            why: why.to_string(),
        }
    }
}

impl fmt::Display for RemoteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(path) => shown(path).fmt(f),
            Self::Web(web) => web.url.fmt(f),
        }
    }
}

impl RemoteSpec {
    /// As programs are told of it: the source of the mount.
    pub fn source(&self) -> String {
        match self {
            Self::Dir(path) => path.to_string_lossy().into_owned(),
            Self::Web(web) => web.url.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_spec_survives_its_way_to_another_process_and_shows_no_secret() {
        let web = WebSpec {
            url: "https://example.org/".into(),
            credentials: Some(Credentials {
                user: b"ren\xe9".into(),
                password: b"geheim\xff".into(),
            }),
            headers: vec![Header {
                name: "x-key".into(),
                value: b"geheim".into(),
            }],
            ca_file: None,
        };
        let odd = PathBuf::from(OsStr::from_bytes(b"/not utf-8 \xff"));
        for spec in [RemoteSpec::Web(web), RemoteSpec::Dir(odd)] {
            let text = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<RemoteSpec>(&text).unwrap(), spec);
            assert!(!format!("{spec} {spec:?}").contains("geheim"));
        }
    }
}
