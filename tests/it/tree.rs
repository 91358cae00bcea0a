//! The project's own files, as the tests of the house read them.

use std::path::{Path, PathBuf};

/// Folders that no commit holds, or that hold no text of this project.
const SKIPPED: &[&str] = &[
    "target",
    ".git",
    "artifacts",
    "corpus",
    "corpus-local",
    "regressions",
];

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the project, as its path from the root (with `/`) and its text.
pub(crate) fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            // In a worktree `.git` is a file.
            if SKIPPED.iter().any(|skipped| name == **skipped) {
                continue;
            }
            let path = folder.join(&name);
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(root().join(&path)) {
                found.push((path.to_str().unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file of the project.
pub(crate) fn rust_files() -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .collect()
}

/// Rust source without what is not code: comments are gone, string and character literals are empty. Line breaks stay,
/// so that line numbers hold.
pub(crate) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_comment_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'r' if !after_word(bytes, at) && raw_string_hashes(bytes, at).is_some() => {
                raw_string_end(bytes, at)
            }
            b'"' => quoted_end(bytes, at, b'"'),
            b'\'' if is_char_literal(bytes, at) => quoted_end(bytes, at, b'\''),
            byte => {
                out.push(char::from(byte));
                at += 1;
                continue;
            }
        };
        if bytes[at] != b'/' {
            out.push_str("\"\"");
        }
        out.extend(
            source[at..end]
                .chars()
                .filter(|character| *character == '\n'),
        );
        at = end;
    }
    out
}

fn after_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn line_comment_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (0, at);
    loop {
        match bytes.get(end..end + 2) {
            Some(b"/*") => (depth, end) = (depth + 1, end + 2),
            Some(b"*/") => (depth, end) = (depth - 1, end + 2),
            Some(_) => end += 1,
            None => return bytes.len(),
        }
        if depth == 0 {
            return end;
        }
    }
}

fn raw_string_hashes(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_string_end(bytes: &[u8], at: usize) -> usize {
    let hashes = raw_string_hashes(bytes, at).unwrap();
    let close: Vec<u8> = std::iter::once(b'"')
        .chain(std::iter::repeat_n(b'#', hashes))
        .collect();
    let start = at + 2 + hashes;
    bytes[start..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(bytes.len(), |n| start + n + close.len())
}

fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 2,
            byte if byte == quote => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_char_literal(bytes: &[u8], at: usize) -> bool {
    let rest = String::from_utf8_lossy(&bytes[at + 1..bytes.len().min(at + 8)]).into_owned();
    let mut characters = rest.chars();
    matches!(characters.next(), Some('\\')) || matches!(characters.next(), Some('\''))
}

#[test]
fn only_code_is_left() {
    for (source, code) in [
        ("a // todo\nb", "a \nb"),
        ("a /* x /* y */ \n */ b", "a \n b"),
        (
            r#"f("a\"b // c", 'x', '\'', &'a str)"#,
            r#"f("", "", "", &'a str)"#,
        ),
        ("r#\"a\"b\"# c", "\"\" c"),
        ("for r in x {}", "for r in x {}"),
        ("b\"larder\\n\"", "b\"\""),
    ] {
        assert_eq!(code_only(source), code, "{source}");
    }
}
