//! SEMANTICS.md, sentence by sentence: each has a test whose comment quotes it, and this file sees to that.

mod failure;
mod names;
mod power;
mod sick;
mod surprises;
mod versions;
mod web;

use std::fs;
use std::path::Path;
use std::time::Duration;

use larder::vfs::MetadataTtl;

use super::mounted::{Mounted, Stage, Wish};

/// A mount that asks at every use.
fn asking(stage: &Stage) -> Mounted {
    with_ttl(stage, MetadataTtl::Minimal)
}

fn with_ttl(stage: &Stage, ttl: MetadataTtl) -> Mounted {
    stage.mount(Wish {
        ttl,
        ..Wish::default()
    })
}

/// Replaces a file as a careful program does.
fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, path).unwrap();
}

fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Words with single blanks between, for comparing texts that are broken into lines differently.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The numbered sentences of SEMANTICS.md, as "V1. One inode ...".
fn sentences(text: &str) -> Vec<String> {
    let (mut found, mut open): (Vec<String>, bool) = (Vec::new(), false);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("- **") {
            found.push(rest.replacen("**", "", 1));
            open = true;
        } else if open && line.starts_with("  ") {
            let last = found.last_mut().unwrap();
            last.push(' ');
            last.push_str(line);
        } else {
            open = false;
        }
    }
    let numbered = |text: &String| text.starts_with(|c: char| c.is_ascii_uppercase());
    let sentences = found.iter().map(|text| words(text));
    sentences
        .filter(numbered)
        .filter(|text| text[1..].starts_with(|c: char| c.is_ascii_digit()))
        .collect()
}

/// The comments right above the tests of one file.
fn test_comments(code: &str) -> Vec<String> {
    let (mut found, mut comment) = (Vec::new(), String::new());
    for line in code.lines() {
        match line.strip_prefix("///") {
            Some(text) => comment += &format!(" {text}"),
            None if line == "#[test]" => found.push(words(&std::mem::take(&mut comment))),
            None => comment.clear(),
        }
    }
    found
}

#[test]
fn each_sentence_is_quoted_by_a_test_and_each_quote_is_a_sentence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sentences = sentences(&fs::read_to_string(root.join("SEMANTICS.md")).unwrap());
    assert!(sentences.len() > 30, "SEMANTICS.md is not read as written");
    let folder = fs::read_dir(root.join("tests/fuse/semantics")).unwrap();
    let quotes: Vec<String> = folder
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .flat_map(|code| test_comments(&code))
        .filter(|comment| !comment.is_empty())
        .collect();
    for sentence in &sentences {
        assert!(quotes.contains(sentence), "no test quotes: {sentence}");
    }
    for quote in &quotes {
        assert!(sentences.contains(quote), "not in SEMANTICS.md: {quote}");
    }
}
