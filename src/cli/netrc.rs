//! The file ~/.netrc: user names and passwords by machine, read as curl reads it. A pure parser.
//!
//! A password is bytes, of whatever encoding: the server is sent those that the file has.

use std::fmt;

use reqwest::Url;

/// What some editors put before the first byte of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the file says of one machine.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Login {
    /// The user name.
    pub user: Vec<u8>,
    /// The password.
    pub password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(hidden)")
    }
}

/// A word in quotes has no closing one: what the file means from there on is not defined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the quotes that open in line {line} are not closed in it")]
pub(super) struct Unclosed {
    line: usize,
}

/// The login for `host` (as a URL has it), and for the user of this name where one is asked for: of the first entry that
/// fits and has a password, be it a `machine` of that name or the `default`; otherwise of the first that fits.
pub(super) fn find(
    file: &[u8],
    host: &str,
    user: Option<&[u8]>,
) -> Result<Option<Login>, Unclosed> {
    let mut words = Words::new(file);
    let mut without_password = None;
    // The entry that is being read, if it is one for this host.
    let mut open: Option<Entry> = None;
    loop {
        let word = words.next()?;
        let keyword = word.as_ref().map(|word| word.to_ascii_lowercase());
        let keyword = keyword.as_deref();
        if matches!(keyword, None | Some(b"machine" | b"default")) {
            match open.take().and_then(|entry| entry.login(user)) {
                Some((login, true)) => return Ok(Some(login)),
                Some((login, false)) => without_password = without_password.or(Some(login)),
                None => {}
            }
        }
        let mut value = || words.next();
        match keyword {
            None => return Ok(without_password),
            Some(b"machine") => {
                let is_host = value()?.is_some_and(|name| is_host(&name, host));
                open = is_host.then(Entry::default);
            }
            Some(b"default") => open = Some(Entry::default()),
            Some(b"macdef") => words.skip_macro(),
            Some(name @ (b"login" | b"password" | b"account")) => {
                let value = value()?;
                match (name, &mut open) {
                    (b"login", Some(entry)) => entry.user = value,
                    (b"password", Some(entry)) => entry.password = value,
                    _ => {}
                }
            }
            Some(_) => {}
        }
    }
}

/// What one entry has.
#[derive(Default)]
struct Entry {
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

impl Entry {
    /// What it says for `user`, and whether that is a password. An entry without a name is for every user.
    fn login(self, user: Option<&[u8]>) -> Option<(Login, bool)> {
        if self.user.is_none() && self.password.is_none() {
            return None;
        }
        let fits = match (user, &self.user) {
            (Some(asked), Some(named)) => asked == named.as_slice(),
            _ => true,
        };
        let has_password = self.password.is_some();
        let login = Login {
            user: self.user.or(user.map(Into::into)).unwrap_or_default(),
            password: self.password.unwrap_or_default(),
        };
        fits.then_some((login, has_password))
    }
}

/// Whether a `machine` of this name is the host of a URL: in whatever case, an IPv6 address without its brackets, a name
/// with letters that are not ASCII in the form in which it is looked up.
fn is_host(name: &[u8], host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if name.eq_ignore_ascii_case(host.as_bytes()) || name.eq_ignore_ascii_case(bare.as_bytes()) {
        return true;
    }
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    let url = match (name.is_ascii(), name.contains(':')) {
        (false, _) => format!("http://{name}/"),
        (true, true) => format!("http://[{name}]/"),
        (true, false) => return false,
    };
    let is_bare =
        |url: &Url| url.path() == "/" && url.username().is_empty() && url.port().is_none();
    Url::parse(&url).is_ok_and(|url| is_bare(&url) && url.host_str() == Some(host))
}

/// The words of the file, without comments and macros.
struct Words<'a> {
    rest: &'a [u8],
    line: usize,
    /// Nothing but blanks came in this line so far.
    is_start: bool,
}

impl<'a> Words<'a> {
    fn new(file: &'a [u8]) -> Self {
        Self {
            rest: file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file),
            line: 1,
            is_start: true,
        }
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        if *first == b'\n' {
            self.line += 1;
            self.is_start = true;
        }
        Some(*first)
    }

    /// The next word. One may stand in quotes, with backslashes in it.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Unclosed> {
        loop {
            match self.rest.first() {
                None => return Ok(None),
                Some(b'#') if self.is_start => _ = self.rest_of_line(),
                Some(byte) if *byte <= b' ' => _ = self.take(),
                Some(_) => break,
            }
        }
        self.is_start = false;
        if let Some(quoted) = self.rest.strip_prefix(b"\"") {
            self.rest = quoted;
            return self.quoted().map(Some);
        }
        let end = self.rest.iter().position(|byte| *byte <= b' ');
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        Ok(Some(word.to_vec()))
    }

    /// What stands before the closing quote.
    fn quoted(&mut self) -> Result<Vec<u8>, Unclosed> {
        let unclosed = Unclosed { line: self.line };
        let mut word = Vec::new();
        loop {
            let byte = match self.take() {
                Some(b'"') => return Ok(word),
                Some(b'\\') => match self.take() {
                    Some(b'n') => b'\n',
                    Some(b't') => b'\t',
                    Some(b'r') => b'\r',
                    Some(b'\n') | None => return Err(unclosed),
                    Some(byte) => byte,
                },
                Some(b'\n') | None => return Err(unclosed),
                Some(byte) => byte,
            };
            word.push(byte);
        }
    }

    /// Passes what is left of this line, and returns it.
    fn rest_of_line(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        self.take();
        line
    }

    /// Passes a macro: its name and all to the next empty line.
    fn skip_macro(&mut self) {
        self.rest_of_line();
        while !self.rest.is_empty() && !self.rest_of_line().trim_ascii().is_empty() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# machine commented.example login a password b\n\
        machine one.example login alice password \"a b\\\"c\"\n\
        machine two.example\n\tlogin bob\n\taccount x\n\tpassword #hash\n\
        macdef init\nmachine macro.example login m password m\n\n\
        machine two.example login carol password c\n\
        default login anyone password any\n";

    fn found(file: impl AsRef<[u8]>, host: &str, user: Option<&str>) -> Option<(Vec<u8>, Vec<u8>)> {
        let found = find(file.as_ref(), host, user.map(str::as_bytes)).unwrap();
        found.map(|login| (login.user, login.password))
    }

    fn login(user: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Option<(Vec<u8>, Vec<u8>)> {
        Some((user.into(), password.into()))
    }

    #[test]
    fn the_first_entry_that_fits_is_found() {
        let found = |host, user| found(FILE, host, user);
        assert_eq!(found("one.example", None), login("alice", "a b\"c"));
        assert_eq!(found("ONE.example", None), login("alice", "a b\"c"));
        assert_eq!(found("two.example", None), login("bob", "#hash"));
        assert_eq!(found("two.example", Some("carol")), login("carol", "c"));
        assert_eq!(found("two.example", Some("dave")), None);
        assert_eq!(found("macro.example", None), login("anyone", "any"));
        assert_eq!(found("commented.example", None), login("anyone", "any"));
        let login = find(FILE.as_bytes(), "one.example", None);
        assert!(!format!("{login:?}").contains("alice"));
    }

    #[test]
    fn passwords_are_bytes_and_a_byte_order_mark_is_no_word() {
        let latin1 = b"machine h login ren\xe9 password gr\xfc\xdfe\xa0x\r\n";
        let expected = login(*b"ren\xe9", *b"gr\xfc\xdfe\xa0x");
        assert_eq!(found(latin1, "h", None), expected);
        assert_eq!(
            found([BYTE_ORDER_MARK, latin1].concat(), "h", None),
            expected
        );
        let quoted = b"\xef\xbb\xbf# x\r\nmachine h\r\nlogin u\r\npassword \"\xff \\\\\xfe\"\r\n";
        assert_eq!(found(quoted, "h", None), login("u", *b"\xff \\\xfe"));
        // A blank is a blank in ASCII: those of Unicode belong to the word.
        let blank = "machine h login u password a\u{a0}b\u{2003}c";
        assert_eq!(found(blank, "h", None), login("u", "a\u{a0}b\u{2003}c"));
    }

    #[test]
    fn entries_are_read_as_curl_reads_them() {
        for (file, user, expected) in [
            // Keywords are keywords in any case, and what follows one is its value.
            ("MACHINE h Login u PassWord p", None, login("u", "p")),
            (
                "machine h login macdef password default",
                None,
                login("macdef", "default"),
            ),
            ("machine h password p login u", None, login("u", "p")),
            // Only in quotes does a backslash mean anything.
            (
                r#"machine h login u password a\nb"c"#,
                None,
                login("u", r#"a\nb"c"#),
            ),
            (
                r#"machine h login "" password "\t\r\n\x\"""#,
                None,
                login("", "\t\r\nx\""),
            ),
            // An entry without a name is for every user.
            ("machine h password p", Some("u"), login("u", "p")),
            ("machine h password p", None, login("", "p")),
            ("default password p", Some("u"), login("u", "p")),
            // An entry without a password is used where none has one.
            ("machine h login u", None, login("u", "")),
            (
                "machine h login u machine h login v password p",
                None,
                login("v", "p"),
            ),
            (
                "machine h login u machine h login v password p",
                Some("u"),
                login("u", ""),
            ),
            (
                "machine h default login u password p",
                None,
                login("u", "p"),
            ),
            ("machine h", None, None),
            ("machine", None, None),
            ("", None, None),
            ("\u{feff}", None, None),
            ("machine other login u password p", None, None),
            (
                "default login a password b machine h login u password p",
                None,
                login("a", "b"),
            ),
            // A comment begins a line; a macro ends with an empty one, or with the file.
            (
                "machine h # c\n # password x\nlogin u password p",
                None,
                login("u", "p"),
            ),
            (
                "macdef m\r\nmachine h login x\r\n \r\nmachine h login u password p",
                None,
                login("u", "p"),
            ),
            (
                "machine h login u password p\nmacdef m\nlogin x\npassword y",
                None,
                login("u", "p"),
            ),
        ] {
            assert_eq!(found(file, "h", user), expected, "{file:?}");
        }
    }

    #[test]
    fn a_machine_is_a_host_whatever_its_port() {
        for (name, host, is) in [
            ("H.example", "h.example", true),
            ("h.example", "www.h.example", false),
            ("h.example:8080", "h.example", false),
            ("::1", "[::1]", true),
            ("0:0::1", "[::1]", true),
            ("[::1]", "[::1]", true),
            ("FE80::A", "[fe80::a]", true),
            ("::2", "[::1]", false),
            ("b\u{fc}cher.example", "xn--bcher-kva.example", true),
            ("\u{fc}@h", "h", false),
            ("\u{fc}/h", "h", false),
            ("", "h", false),
        ] {
            assert_eq!(is_host(name.as_bytes(), host), is, "{name}");
        }
        assert!(!is_host(b"h\xff", "h"));
    }

    #[test]
    fn quotes_that_do_not_close_are_told_of_unless_the_login_was_found_before() {
        let file = b"\nmachine h login u\npassword \"p\nmachine g login \"v\" password q\n";
        assert_eq!(find(file, "h", None), Err(Unclosed { line: 3 }));
        assert_eq!(find(file, "g", None), Err(Unclosed { line: 3 }));
        let file = b"machine h login u password p\nmachine \"g\\";
        assert_eq!(found(file, "h", None), login("u", "p"));
        let sentence = find(file, "g", None).unwrap_err().to_string();
        assert!(sentence.contains("line 2"), "{sentence}");
    }
}
