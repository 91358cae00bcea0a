//! Names as people read them: the one place where a name from elsewhere is made fit for a terminal, a log or a sentence.
//!
//! A server, or a user who writes into a directory, chooses names freely: an escape sequence in one would reach the
//! terminal, a newline would forge a line of a log. Ordinary names, in whatever script, are shown as they are. Two
//! names that differ are never shown alike: a backslash is doubled, and what is escaped says which byte or character it
//! is.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// A name, to be written with `{}`.
#[derive(Clone, Copy)]
pub struct Shown<'a>(&'a [u8]);

/// A path, a name or a text as people read it.
pub fn shown<N: AsRef<OsStr> + ?Sized>(name: &N) -> Shown<'_> {
    shown_bytes(name.as_ref().as_bytes())
}

/// As [`shown`], for a name that is bytes.
pub fn shown_bytes(name: &[u8]) -> Shown<'_> {
    Shown(name)
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    c if acts(c) => write!(f, "{}", c.escape_unicode())?,
                    c => f.write_char(c)?,
                }
            }
            let mut bytes = chunk.invalid().iter();
            bytes.try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// Whether a character does something to what stands around it: controls, ends of lines, changes of direction, and what
/// cannot be seen.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ordinary_names_are_shown_as_they_are() {
        for name in [
            "",
            "a b.txt",
            "Überraschung/日本語",
            "it's \"quoted\"",
            "100%",
            "🦀",
        ] {
            assert_eq!(shown(name).to_string(), name);
        }
    }

    #[test]
    fn what_acts_on_a_terminal_or_a_log_is_escaped() {
        for (name, text) in [
            (&b"\x1b[31mred\x07"[..], "\\u{1b}[31mred\\u{7}"),
            (b"a\nb\tc\r", "a\\nb\\tc\\r"),
            (b"back\\slash", "back\\\\slash"),
            (b"\xff\xc3", "\\xff\\xc3"),
            ("\u{202e}txt\u{9b}".as_bytes(), "\\u{202e}txt\\u{9b}"),
            (b"\0\x7f", "\\u{0}\\u{7f}"),
        ] {
            assert_eq!(shown_bytes(name).to_string(), text);
        }
    }

    #[test]
    fn names_that_differ_are_shown_differently() {
        let alphabet = [
            &b"\\"[..],
            b"n",
            b"\n",
            b"x",
            b"f",
            b"\xff",
            b"u",
            b"{",
            b"1",
            b"b",
            b"}",
            b"\x1b",
        ];
        let mut all: Vec<Vec<u8>> = vec![Vec::new()];
        for len in 0..4 {
            let longer: Vec<Vec<u8>> = all
                .iter()
                .filter(|name| name.len() == len)
                .flat_map(|name| alphabet.iter().map(|more| [name, *more].concat()))
                .collect();
            all.extend(longer);
        }
        let texts: HashSet<String> = all.iter().map(|n| shown_bytes(n).to_string()).collect();
        assert_eq!(texts.len(), all.len());
    }
}
