//! A web server that is to be mounted: its URL, and what it is to be told about who asks.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use crate::cli::args::MountArgs;
use crate::cli::error::{Exit, Failure};
use crate::cli::given::variable;
use crate::cli::netrc;
use crate::cli::secret::{Hidden, masked};
use crate::remote::Credentials;
use crate::units::{shown, shown_bytes};
use crate::vfs::Owner;

/// A web server, and whom it is asked as.
pub(super) struct WebOrigin {
    /// Without user information.
    pub url: Url,
    /// For basic authentication.
    pub credentials: Option<Credentials>,
    /// Sent with every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Certificates that are trusted beside the system's, in full.
    pub ca_file: Option<PathBuf>,
}

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

impl WebOrigin {
    /// Resolves what the command line says of the server. `notes` gets what the user should know of it.
    pub(super) fn new(
        remote: &OsStr,
        args: &MountArgs,
        notes: &mut Vec<String>,
    ) -> Result<Self, Failure> {
        let (url, user) = parse(remote)?;
        let headers = args.header.iter().map(header).collect::<Result<_, _>>()?;
        let ca_file = args.ca_file.as_ref().map(std::path::absolute).transpose()?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let credentials = match user {
            Some((user, Some(password))) => Some(Credentials { user, password }),
            Some((user, None)) => {
                let login = netrc_login(&host, Some(&user), notes)?;
                let password = login.map(|login| login.password).unwrap_or_default();
                Some(Credentials { user, password })
            }
            None => netrc_login(&host, None, notes)?.map(|login| Credentials {
                user: login.user,
                password: login.password,
            }),
        };
        Ok(Self {
            url,
            credentials,
            headers,
            ca_file,
        })
    }

    /// Whom the mount's files belong to, where nobody says: a web server does not.
    pub(super) fn owner(owner: Owner) -> (u32, u32) {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        (
            owner.uid.unwrap_or(uid.as_raw()),
            owner.gid.unwrap_or(gid.as_raw()),
        )
    }
}

/// A user name, and a password where there is one.
type User = (Vec<u8>, Option<Vec<u8>>);

/// The URL without its user information, and that.
fn parse(remote: &OsStr) -> Result<(Url, Option<User>), Failure> {
    let refuse = |why: &dyn std::fmt::Display| {
        let sentence = format!("cannot mount the remote {}: {why}", masked(remote));
        Failure::new(Exit::Remote, sentence)
    };
    let text = remote
        .to_str()
        .ok_or_else(|| refuse(&"a URL is ASCII: write %XX for other bytes"))?;
    let mut url =
        Url::parse(text).map_err(|error| refuse(&format_args!("it is no URL ({error})")))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse(
            &"a directory's URL has no ? and no #: leave them out (in a name they are %3F and %23; \
              a token belongs into a --header)",
        ));
    }
    // Bytes of whatever encoding: the server is sent what they are decoded to.
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let user = match (url.username(), url.password()) {
        ("", None) => None,
        (user, password) => Some((decoded(user), password.map(decoded))),
    };
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err(refuse(&"it names no server"));
    }
    Ok((url, user))
}

/// Reads `Name: value`. The value is in no sentence.
fn header(given: &Hidden) -> Result<(HeaderName, HeaderValue), Failure> {
    let refuse = |sentence: String| Failure::new(Exit::Usage, sentence);
    let bytes = given.reveal().as_bytes();
    let colon = bytes.iter().position(|b| *b == b':').ok_or_else(|| {
        refuse("--header takes 'Name: value', and one that was given has no colon".into())
    })?;
    let (name, value) = bytes.split_at(colon);
    let shown = shown_bytes(name);
    let own = OWN_HEADERS
        .iter()
        .find(|own| own.as_bytes().eq_ignore_ascii_case(name));
    if let Some(own) = own {
        return Err(refuse(format!(
            "--header '{own}' cannot be given: larder sets it itself"
        )));
    }
    let parsed = HeaderName::from_bytes(name)
        .map_err(|_| refuse(format!("--header: '{shown}' is no name of a header")))?;
    let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
    let mut value = HeaderValue::from_bytes(value).map_err(|_| {
        refuse(format!(
            "--header '{shown}': its value has bytes that none can have"
        ))
    })?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

/// What the netrc file says of a host: that of $NETRC, or ~/.netrc.
fn netrc_login(
    host: &str,
    user: Option<&[u8]>,
    notes: &mut Vec<String>,
) -> Result<Option<netrc::Login>, Failure> {
    let home = || variable("HOME").map(|home| Path::new(&home).join(".netrc"));
    let named = variable("NETRC").map(PathBuf::from);
    let is_named = named.is_some();
    let Some(path) = named.or_else(home) else {
        return Ok(None);
    };
    let shown = shown(&path);
    let file = match std::fs::read(&path) {
        Ok(file) => file,
        Err(e) if !is_named && e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            notes.push(format!(
                "note: {shown} cannot be read ({e}): no password is taken from it"
            ));
            return Ok(None);
        }
    };
    let login = netrc::find(&file, host, user).map_err(|e| {
        let sentence = format!(
            "cannot take a password from {shown}: {e} (a quote within quotes is written \\\")"
        );
        Failure::new(Exit::Remote, sentence)
    })?;
    if login.is_some() && readable_by_others(&path) {
        notes.push(format!(
            "note: other users can read the passwords in {shown}: `chmod 600 {shown}`"
        ));
    }
    Ok(login)
}

/// Whether others than the owner can read a file.
pub(super) fn readable_by_others(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.mode() & 0o044 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(remote: &str) -> Failure {
        parse(OsStr::new(remote)).map(drop).unwrap_err()
    }

    #[test]
    fn user_information_leaves_the_url() {
        let parsed = |text: &str| {
            let (url, user) = parse(OsStr::new(text)).unwrap();
            (url.to_string(), user)
        };
        let user = |user: &str, password: Option<&str>| {
            Some((
                user.into(),
                password.map(|password| password.as_bytes().to_vec()),
            ))
        };
        assert_eq!(
            parsed("https://h:81/a%20b/"),
            ("https://h:81/a%20b/".into(), None)
        );
        assert_eq!(
            parsed("http://u%40x:p%2Fw@h"),
            ("http://h/".into(), user("u@x", Some("p/w")))
        );
        assert_eq!(parsed("http://u@h/"), ("http://h/".into(), user("u", None)));
        assert_eq!(
            parsed("http://:p@h/"),
            ("http://h/".into(), user("", Some("p")))
        );
        let latin1 = Some((b"ren\xe9".to_vec(), Some(vec![0xff])));
        assert_eq!(parsed("http://ren%e9:%ff@h/").1, latin1);
    }

    #[test]
    fn what_is_no_url_of_a_directory_is_refused_without_its_secrets() {
        for (remote, word) in [
            ("https://u:geheim@h/a?x=geheim", "%3F"),
            ("https://u:geheim@h/a#x", "%23"),
            ("https://u:gehe/im@h/", "no URL"),
            ("https://", "no URL"),
        ] {
            let failure = refused(remote);
            assert_eq!(failure.exit, Exit::Remote);
            assert!(failure.sentence.contains(word), "{failure}");
            assert!(!failure.sentence.contains("gehe"), "{failure}");
        }
    }

    #[test]
    fn headers_have_a_name_and_a_value_that_nobody_sees() {
        let read = |text: &str| header(&Hidden::from(std::ffi::OsString::from(text)));
        let (name, value) = read("X-Key:  geheim ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-key", &b"geheim"[..]));
        assert!(!format!("{value:?}").contains("geheim"));
        for (text, word) in [
            ("geheim", "no colon"),
            ("a b: geheim", "'a b'"),
            ("A: geheim\n", ""),
            ("A: geh\neim", "'A'"),
            ("Range: geheim", "range"),
        ] {
            match read(text) {
                Err(failure) => {
                    assert_eq!(failure.exit, Exit::Usage);
                    assert!(failure.sentence.contains(word), "{failure}");
                    assert!(!failure.sentence.contains("geheim"), "{failure}");
                }
                Ok(_) => assert_eq!(word, "", "{text:?} was taken"),
            }
        }
    }
}
