//! The file ~/.netrc: user names and passwords by machine. A pure parser.

use std::fmt;

/// What the file says of one machine.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Login {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(hidden)")
    }
}

/// The login for `host`, and for the user of this name where one is asked for: of the first entry that fits, be it a
/// `machine` of that name or the `default`.
pub(super) fn find(text: &str, host: &str, user: Option<&str>) -> Option<Login> {
    let mut words = words(text).into_iter();
    let (mut open, mut login) = (false, Login::default());
    let fits = |open: bool, login: &Login| open && user.is_none_or(|user| user == login.user);
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" | "default" => {
                if fits(open, &login) {
                    break;
                }
                let named = |name: String| name.eq_ignore_ascii_case(host);
                open = word == "default" || words.next().is_some_and(named);
                login = Login::default();
            }
            "login" => login.user = words.next().unwrap_or_default(),
            "password" => login.password = words.next().unwrap_or_default(),
            "account" => drop(words.next()),
            _ => {}
        }
    }
    fits(open, &login).then_some(login)
}

/// The words of the file, without comments and macros. A word may stand in quotes, with backslashes in it.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut in_macro) = (Vec::new(), false);
    for line in text.lines() {
        let line = line.trim();
        // A macro ends with an empty line.
        in_macro = in_macro && !line.is_empty();
        if in_macro || line.starts_with('#') {
            continue;
        }
        let mut rest = line;
        while !rest.is_empty() {
            let (word, after) = word(rest);
            if word == "macdef" {
                in_macro = true;
                break;
            }
            words.push(word);
            rest = after.trim_start();
        }
    }
    words
}

/// The first word of a line, and what follows it.
fn word(line: &str) -> (String, &str) {
    let Some(quoted) = line.strip_prefix('"') else {
        let end = line.find(char::is_whitespace).unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        return (word.to_owned(), rest);
    };
    let (mut word, mut escaped) = (String::new(), false);
    for (at, character) in quoted.char_indices() {
        match character {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (word, quoted.get(at + 1..).unwrap_or_default()),
            _ => {
                word.push(match (escaped, character) {
                    (true, 'n') => '\n',
                    (true, 't') => '\t',
                    (true, 'r') => '\r',
                    _ => character,
                });
                escaped = false;
            }
        }
    }
    (word, "")
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

    #[test]
    fn the_first_entry_that_fits_is_found() {
        let found = |host, user| find(FILE, host, user).map(|login| (login.user, login.password));
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(found("one.example", None), login("alice", "a b\"c"));
        assert_eq!(found("ONE.example", None), login("alice", "a b\"c"));
        assert_eq!(found("two.example", None), login("bob", "#hash"));
        assert_eq!(found("two.example", Some("carol")), login("carol", "c"));
        assert_eq!(found("two.example", Some("dave")), None);
        assert_eq!(found("macro.example", None), login("anyone", "any"));
        assert_eq!(found("commented.example", None), login("anyone", "any"));
        assert_eq!(
            find("machine a login b", "a", None).map(|l| l.password),
            Some(String::new())
        );
        assert_eq!(find("machine a login b", "c", None), None);
        assert_eq!(find("machine", "c", None), None);
        assert_eq!(find("", "c", None), None);
        let login = find(FILE, "one.example", None);
        assert!(!format!("{login:?}").contains("alice"));
    }
}
