//! What must not be seen: passwords and header values on a command line. Pure functions.
//!
//! Masking never makes an argument longer, so that the masked command line fits where the real one was.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use reqwest::Url;

use crate::units::shown;

/// What stands where a secret stood.
const MASK: &[u8] = b"***";

/// A value from the command line that may hold a secret: it can be looked at on purpose only.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hidden(OsString);

impl Hidden {
    /// The value itself.
    pub(super) fn reveal(&self) -> &OsStr {
        &self.0
    }
}

impl From<OsString> for Hidden {
    fn from(value: OsString) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A command line as every user may see it.
pub(super) struct Masked {
    /// The arguments, each at most as long as it was.
    pub shown: Vec<OsString>,
    secrets: Vec<Vec<u8>>,
}

impl Masked {
    /// Masks the user information and the query of every URL, and the value of every `--header`.
    pub(super) fn new(args: &[OsString]) -> Self {
        let mut masked = Self {
            shown: Vec::with_capacity(args.len()),
            secrets: Vec::new(),
        };
        let mut header_follows = false;
        for arg in args {
            let bytes = arg.as_bytes();
            let shown = match bytes.strip_prefix(b"--header=") {
                _ if header_follows => masked.header(bytes),
                Some(value) => [b"--header=", masked.header(value).as_slice()].concat(),
                None => masked.url(bytes),
            };
            header_follows = !header_follows && bytes == b"--header";
            masked.shown.push(OsString::from_vec(shown));
        }
        masked
    }

    /// Whether anything is masked.
    pub(super) fn hides(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// The text without the secrets that the command line had.
    pub(super) fn clean(&self, mut text: String) -> String {
        for secret in &self.secrets {
            let secret = String::from_utf8_lossy(secret);
            text = text.replace(secret.as_ref(), "***");
        }
        text
    }

    fn hide(&mut self, secret: &[u8]) -> &'static [u8] {
        if !secret.is_empty() {
            self.secrets.push(secret.to_vec());
        }
        &MASK[..secret.len().min(MASK.len())]
    }

    /// The name of a header says what is meant; its value is secret.
    fn header(&mut self, bytes: &[u8]) -> Vec<u8> {
        let colon = bytes.iter().position(|b| *b == b':').map_or(0, |at| at + 1);
        let (name, value) = bytes.split_at(colon);
        let space = value.iter().take_while(|b| **b == b' ').count();
        let (space, value) = value.split_at(space);
        [name, space, self.hide(value)].concat()
    }

    fn url(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(at) = bytes.windows(3).position(|w| w == b"://") else {
            return bytes.to_vec();
        };
        let (scheme, rest) = bytes.split_at(at + 3);
        let end = rest.iter().position(|b| b"/?#\\".contains(b));
        let (authority, _) = rest.split_at(end.unwrap_or(rest.len()));
        // A password with a slash in it makes a URL that is none: there, all before the last @ may be the password.
        let text = String::from_utf8_lossy(bytes);
        let place = if Url::parse(&text).is_ok() {
            authority
        } else {
            rest
        };
        let user = place.iter().rposition(|b| *b == b'@').unwrap_or(0);
        let (user, rest) = rest.split_at(user);
        let query = rest
            .iter()
            .position(|b| b"?#".contains(b))
            .filter(|_| scheme.starts_with(b"http"))
            .map_or(rest.len(), |at| at + 1);
        let (rest, query) = rest.split_at(query);
        let user = self.hide(user);
        let query = self.hide(query);
        [scheme, user, rest, query].concat()
    }
}

/// One value as every user may see it.
pub(super) fn masked(value: &OsStr) -> String {
    let masked = Masked::new(&[value.to_owned()]);
    masked
        .shown
        .first()
        .map(|masked| shown(masked).to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(args: &[&str]) -> String {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        let masked = Masked::new(&args);
        for (shown, arg) in masked.shown.iter().zip(&args) {
            assert!(shown.len() <= arg.len(), "{shown:?} is longer than {arg:?}");
        }
        masked.shown.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn secrets_are_masked_and_the_rest_can_be_read() {
        for (args, shown) in [
            (&["https://u:p@h/a@b", "/mnt"][..], "https://***@h/a@b /mnt"),
            (&["https://h/a@b", "-f"], "https://h/a@b -f"),
            (&["https://user:pa/ss@h/a"], "https://***@h/a"),
            (&["https://u@h?token=1234"], "https://*@h?***"),
            (&["--header", "X-Key: 1234", "-f"], "--header X-Key: *** -f"),
            (&["--header=X-Key:1234"], "--header=X-Key:***"),
            (&["--header", "--header", "1234"], "--header *** 1234"),
            (&["--header", "1234"], "--header ***"),
            (
                &["-o", "fsname=s3://key:secret@h/b"],
                "-o fsname=s3://***@h/b",
            ),
            (&["file:///a?b#c"], "file:///a?b#c"),
            (&["/plain/dir", "a@b"], "/plain/dir a@b"),
        ] {
            assert_eq!(masked(args), shown);
        }
        let secret = Hidden::from(OsString::from("geheim"));
        assert!(!format!("{secret:?}").contains("geheim"));
    }

    #[test]
    fn sentences_are_cleaned() {
        let args = ["https://u:geheim@h/", "--header=A: b c"].map(OsString::from);
        let masked = Masked::new(&args);
        assert!(masked.hides());
        let clean = masked.clean("unexpected argument 'https://u:geheim@h/', 'A: b c'".into());
        assert_eq!(clean, "unexpected argument 'https://***@h/', 'A: ***'");
        assert_eq!(
            super::masked(OsStr::new("https://u:geheim@h/x")),
            "https://***@h/x"
        );
        assert!(!Masked::new(&["/a".into()]).hides());
    }
}
