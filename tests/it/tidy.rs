//! The rules of the house, as tests.
//!
//! The floors and everything else about the arrows between modules is in `house`. What rustfmt and clippy hold is not
//! repeated here.

use std::collections::BTreeSet;

use crate::tree::{code_only, files, root, rust_files};

/// Crates that only these folders may name: a kernel's types, a mapping that may die with its disk, a terminal, a library
/// for HTTP that the cache does without.
const CONFINED_CRATES: &[(&str, &[&str])] = &[
    ("fuser", &["fuse"]),
    ("memmap2", &[]),
    ("clap", &["cli", "bin"]),
    ("indicatif", &["cli", "bin"]),
    ("reqwest", &["remote", "cli", "testing"]),
];

/// What the pure floors do without: no disk, no network, no clock, no threads.
const PURE_FLOORS: &[&str] = &["units", "format"];
const IMPURE: &[&str] = &["std::fs", "std::io", "std::net", "std::time", "std::thread"];

const FILE_LINES_MAX: usize = 500;
/// Comments and code; what stands in a string may be longer, as a sentence for the user must not be broken.
const LINE_WIDTH_MAX: usize = 125;
const MARKDOWN_WIDTH_MAX: usize = 400;

/// The folder of `src/` that a file belongs to, if it does.
fn folder_of(path: &str) -> Option<&str> {
    path.strip_prefix("src/")?
        .split_once('/')
        .map(|(folder, _)| folder)
}

/// Whether `text` ends or begins within a word at this byte.
fn is_word(byte: Option<u8>) -> bool {
    byte.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The positions of `word` in `code` where it is a whole word (`word` may end in punctuation).
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let bytes = code.as_bytes();
            let before = at.checked_sub(1).map(|n| bytes[n]);
            let goes_on =
                is_word(word.bytes().last()) && is_word(bytes.get(at + word.len()).copied());
            !goes_on && !is_word(before)
        })
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn report(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn each_confined_crate_is_named_in_its_own_folders_only() {
    let mut faults = Vec::new();
    for (path, source) in rust_files() {
        let Some(folder) = folder_of(&path) else {
            continue;
        };
        let code = code_only(&source);
        for (name, allowed) in CONFINED_CRATES {
            let path_prefix = format!("{name}::");
            if let Some(at) = words(&code, &path_prefix).next()
                && !allowed.contains(&folder)
            {
                let line = line_of(&code, at);
                faults.push(format!("{path}:{line}: only {allowed:?} may name {name}"));
            }
        }
    }
    report("crates outside their folders", &faults);
}

#[test]
fn the_pure_floors_touch_nothing() {
    let mut faults = Vec::new();
    for (path, source) in rust_files() {
        if !folder_of(&path).is_some_and(|folder| PURE_FLOORS.contains(&folder)) {
            continue;
        }
        let code = code_only(&source);
        for banned in IMPURE.iter().chain(&["unsafe"]) {
            faults.extend(
                words(&code, banned).map(|at| format!("{path}:{}: {banned}", line_of(&code, at))),
            );
        }
    }
    report("the pure floors name what they must not", &faults);
}

#[test]
fn files_and_lines_stay_short() {
    let mut faults = Vec::new();
    for (path, text) in files() {
        let markdown = path.ends_with(".md");
        if !markdown && !path.ends_with(".rs") {
            continue;
        }
        let lines = text.lines().count();
        if path.starts_with("src/") && lines > FILE_LINES_MAX {
            faults.push(format!(
                "{path} has {lines} lines, at most {FILE_LINES_MAX}"
            ));
        }
        let width_max = if markdown {
            MARKDOWN_WIDTH_MAX
        } else {
            LINE_WIDTH_MAX
        };
        for (number, line) in text.lines().enumerate() {
            let comment = markdown || line.trim_start().starts_with("//");
            let width = if comment {
                line.chars().count()
            } else {
                code_only(line).len()
            };
            if width > width_max {
                faults.push(format!(
                    "{path}:{}: {width} wide, at most {width_max}",
                    number + 1
                ));
            }
            if line.ends_with([' ', '\t']) {
                faults.push(format!("{path}:{}: space at the end", number + 1));
            }
        }
    }
    report("too long", &faults);
}

#[test]
fn nothing_is_left_behind_in_the_code() {
    let mut faults = Vec::new();
    for (path, source) in rust_files() {
        let code = code_only(&source);
        for (left, why) in [
            (
                "todo!",
                "finish it, or say in the report that it is missing",
            ),
            (
                "unimplemented!",
                "finish it, or say in the report that it is missing",
            ),
            ("dbg!", "use tracing"),
            ("#[ignore", "a test that does not run proves nothing"),
            (
                "allow(",
                "use #[expect(lint, reason = \"...\")], which says when it is no longer needed",
            ),
        ] {
            let found = code.match_indices(left).filter(|(at, _)| {
                let attribute = code[..*at].ends_with("#[") || code[..*at].ends_with("#![");
                left != "allow(" || attribute
            });
            faults.extend(
                found.map(|(at, _)| format!("{path}:{}: {left}: {why}", line_of(&code, at))),
            );
        }
        for (at, _) in code.match_indices("expect(") {
            let attribute = code[..at].ends_with("#[") || code[..at].ends_with("#![");
            let end = code[at..].find(")]").map_or(code.len(), |n| at + n);
            if attribute && !code[at..end].contains("reason =") {
                faults.push(format!(
                    "{path}:{}: expect without a reason",
                    line_of(&code, at)
                ));
            }
        }
    }
    report("left behind", &faults);
}

#[test]
fn unsafe_code_says_why_it_is_safe() {
    let mut faults = Vec::new();
    for (path, source) in rust_files() {
        let code = code_only(&source);
        let lines: Vec<&str> = source.lines().collect();
        for at in words(&code, "unsafe") {
            let line = line_of(&code, at);
            let above = &lines[line.saturating_sub(8)..line];
            if !above.iter().any(|text| text.contains("SAFETY:")) {
                faults.push(format!("{path}:{line}: unsafe without SAFETY: above it"));
            }
        }
    }
    report("unsafe", &faults);
}

/// The variants that the rigs must catch are behind the feature `testing`, which nobody gets unasked.
#[test]
fn the_unsafe_variants_are_in_no_normal_build() {
    const CFG: &str = "#[cfg(feature = \"testing\")]";
    let mut faults = Vec::new();
    let mut places = 0;
    for (path, source) in rust_files() {
        if folder_of(&path).is_none_or(|folder| folder == "testing") {
            continue;
        }
        let lines: Vec<&str> = source.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let code = code_only(line);
            if ["unsafe_variant", "vouch_too_early"]
                .iter()
                .any(|name| code.contains(name))
            {
                places += 1;
                // A statement or an item has the attribute above itself, or is within one that has.
                if !lines[n.saturating_sub(4)..n]
                    .iter()
                    .any(|above| above.trim() == CFG)
                {
                    faults.push(format!("{path}:{}: without {CFG}", n + 1));
                }
            }
        }
        let variable = concat!("LARDER_", "UNSAFE");
        if path != "src/format/checksum.rs" && source.contains(variable) {
            faults.push(format!(
                "{path}: {variable} belongs into src/format/checksum.rs"
            ));
        }
    }
    assert!(
        places >= 4,
        "only {places} places: has the variant gone, and this rule with it?"
    );
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let default = manifest.lines().find(|line| line.starts_with("default ="));
    faults.extend(
        default
            .filter(|line| line.contains("testing"))
            .map(str::to_owned),
    );
    report("unsafe variants", &faults);
}

#[test]
fn every_source_file_is_part_of_the_crate_and_says_its_job() {
    let mut faults = Vec::new();
    let sources = rust_files();
    for (path, source) in &sources {
        if !path.starts_with("fuzz/") && !source.starts_with("//!") {
            faults.push(format!(
                "{path}: the head of the file does not state its job (//!)"
            ));
        }
        let Some((folder, file)) = path.strip_prefix("src/").and_then(|p| p.rsplit_once('/'))
        else {
            continue;
        };
        let name = file.trim_end_matches(".rs");
        if folder == "bin" || name == "mod" {
            continue;
        }
        let parents = [format!("src/{folder}/mod.rs"), format!("src/{folder}.rs")];
        // A file of tests may be named by `#[path]` from the file beside it that it tests.
        let named = format!("#[path = \"{file}\"]");
        let declared = sources.iter().any(|(other, text)| {
            let beside = other.rsplit_once('/').map(|(other, _)| other);
            let module = format!("mod {name};");
            parents.contains(other) && words(&code_only(text), &module).next().is_some()
                || beside == Some(&format!("src/{folder}")) && text.contains(&named)
        });
        if !declared {
            faults.push(format!("{path}: no `mod {name};` in src/{folder}/mod.rs"));
        }
    }
    report("files", &faults);
}

#[test]
fn every_markdown_file_has_one_title() {
    let mut faults = Vec::new();
    for (path, text) in files() {
        if !path.ends_with(".md") {
            continue;
        }
        let mut fenced = false;
        let mut titles = 0;
        for line in text.lines() {
            fenced ^= line.starts_with("```");
            titles += usize::from(!fenced && line.starts_with("# "));
        }
        if titles != 1 || !text.starts_with("# ") {
            faults.push(format!("{path}: {titles} titles, or not at the top"));
        }
    }
    report("markdown", &faults);
}

#[test]
fn no_file_knows_one_machine() {
    // Written in two parts, so that this file does not find itself.
    let private = [("/wo", "rk/"), ("/ro", "ot/"), ("/home", "/")].map(|(a, b)| format!("{a}{b}"));
    let mut faults = Vec::new();
    for (path, text) in files() {
        for (number, line) in text.lines().enumerate() {
            faults.extend(
                private
                    .iter()
                    .filter(|part| line.contains(part.as_str()))
                    .map(|part| format!("{path}:{}: {part}", number + 1)),
            );
        }
    }
    report("paths of one machine", &faults);
}

#[test]
fn every_dependency_has_a_version_that_the_lock_file_holds() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let locked: BTreeSet<(&str, &str)> = lock
        .split("[[package]]")
        .filter_map(|package| {
            let field = |name: &str| {
                let line = package.lines().find(|line| line.starts_with(name))?;
                line.split('"').nth(1)
            };
            Some((field("name")?, field("version")?))
        })
        .collect();
    let mut faults = Vec::new();
    let mut section = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let Some((name, value)) = line.split_once(" = ") else {
            continue;
        };
        if !section.ends_with("dependencies]") || name == "larder" {
            continue;
        }
        let version = match value.strip_prefix('"') {
            Some(rest) => rest.split('"').next(),
            None => value
                .split_once("version = \"")
                .and_then(|(_, rest)| rest.split('"').next()),
        };
        let Some(version) = version.filter(|v| !v.contains('*') && !value.contains("git")) else {
            faults.push(format!("{name} needs a version of crates.io, not {value}"));
            continue;
        };
        let wanted = version.trim_start_matches('=');
        let fits = |found: &str| found == wanted || found.starts_with(&format!("{wanted}."));
        if !locked.iter().any(|(n, v)| *n == name && fits(v)) {
            faults.push(format!("{name} {version} is not in Cargo.lock"));
        }
    }
    let package = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .map(|version| version.trim_matches('"'));
    if !locked.contains(&("larder", package.unwrap_or_default())) {
        faults.push(format!(
            "Cargo.lock does not hold larder {package:?}: run cargo check"
        ));
    }
    report("dependencies", &faults);
}

/// ARCHITECTURE.md names files by the end of their path; each of them is there.
#[test]
fn the_files_that_the_architecture_names_exist() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sources = rust_files();
    let named: BTreeSet<&str> = document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.ends_with(".rs"))
        .collect();
    assert!(named.len() > 20, "only {} files are named", named.len());
    let missing: Vec<String> = named
        .into_iter()
        .filter(|name| {
            !sources
                .iter()
                .any(|(path, _)| path.ends_with(&format!("/{name}")))
        })
        .map(str::to_owned)
        .collect();
    report("files that are not there", &missing);
}
