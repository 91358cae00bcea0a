//! The configuration file of `larder mount`: what its text says, held against the options that there are. Pure functions;
//! a refusal is a sentence that names the key, the file and the way out.
//!
//! A value of the file becomes the default of its option: so the same parsers and the same sentences serve both.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

use crate::cli::quantity::parse_chunk_policy;
use crate::engine::ChunkRule;
use crate::units::shown;

/// Options whose values are paths: relative ones start where the file is.
const PATHS: &[&str] = &["cache-dir", "ca-file"];
const CHUNK_SIZE: &str = "chunk-size";

/// What a configuration file says.
#[derive(Default, Debug)]
pub(super) struct FileConfig {
    /// The values of options.
    pub values: Vec<(String, Vec<OsString>)>,
    /// The chunk sizes by name, in their order.
    pub rules: Vec<ChunkRule>,
}

/// Where a sentence says that something is wrong.
struct Place<'a> {
    file: &'a Path,
    key: &'a str,
}

impl Place<'_> {
    fn wrong(&self, what: impl std::fmt::Display) -> String {
        let Self { file, key } = self;
        format!("`{key}` in {}: {what}", shown(file))
    }
}

/// Whether an option can be set in a file: it has a name, and is not what names the file.
pub(super) fn is_settable(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|name| name != "config") && !arg.is_hide_set()
}

impl FileConfig {
    /// Reads the text of `file`; `options` are those that can be set.
    pub(super) fn parse(text: &str, file: &Path, options: &[Arg]) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |at| {
                text.bytes().take(at.start).filter(|b| *b == b'\n').count() + 1
            });
            let shown = shown(file);
            // The error's own text would quote the line, and a line can hold a secret.
            format!("{shown} is not TOML, in line {line}: {}", error.message())
        })?;
        let mut config = Self::default();
        for (key, value) in &table {
            let place = Place { file, key };
            let known = options.iter().find(|arg| arg.get_long() == Some(key));
            let arg = known.ok_or_else(|| place.wrong(unknown(key, options)))?;
            match value {
                Value::Array(rules) if key == CHUNK_SIZE => {
                    config.rules = chunk_rules(&place, rules)?
                }
                value => config
                    .values
                    .push((key.clone(), option(&place, arg, value)?)),
            }
        }
        Ok(config)
    }
}

fn unknown(key: &str, options: &[Arg]) -> String {
    let names = options.iter().filter_map(Arg::get_long);
    let near = names
        .map(|name| (strsim::jaro_winkler(key, name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.6);
    let hint = near.map_or_else(String::new, |(_, name)| format!("; is `{name}` meant?"));
    format!("there is no such option{hint} (`larder mount --help` lists them all)")
}

/// The value of an option as the command line would have it, checked by the option's own parser.
fn option(place: &Place<'_>, arg: &Arg, value: &Value) -> Result<Vec<OsString>, String> {
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    let is_switch = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
    let texts = match value {
        Value::Boolean(on) if is_switch => vec![on.to_string()],
        Value::String(text) if !is_switch => vec![text.clone()],
        Value::Integer(number) if !is_switch => vec![number.to_string()],
        Value::Array(values) if is_list => values
            .iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| place.wrong("it takes a list of strings, as in [\"one\", \"two\"]"))?,
        _ => {
            let wants = match (is_switch, is_list) {
                (true, _) => "true or false",
                (_, true) => "a list of strings, as in [\"one\", \"two\"]",
                _ => "a string, as in \"100G\"",
            };
            return Err(place.wrong(format_args!("it takes {wants}, not {}", kind(value))));
        }
    };
    for text in &texts {
        check(place, arg, text)?;
    }
    let in_file = |text: String| match (PATHS.contains(&place.key), place.file.parent()) {
        (true, Some(dir)) => dir.join(text).into_os_string(),
        _ => text.into(),
    };
    Ok(texts.into_iter().map(in_file).collect())
}

/// Has the option's own parser look at a value.
fn check(place: &Place<'_>, arg: &Arg, text: &str) -> Result<(), String> {
    let probe = Command::new("larder").no_binary_name(true).arg(arg.clone());
    let given = probe.try_get_matches_from([format!("--{}={text}", place.key)]);
    given.map(drop).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        place.wrong(cause.unwrap_or_else(|| format!("'{text}' is not what it takes")))
    })
}

/// The rules of `[[chunk-size]]`.
fn chunk_rules(place: &Place<'_>, rules: &[Value]) -> Result<Vec<ChunkRule>, String> {
    let shape =
        || place.wrong("a rule has `match = \"*.parquet\"` and `size = \"1M\"`, and nothing else");
    let rule = |value: &Value| {
        let table = value
            .as_table()
            .filter(|table| table.len() == 2)
            .ok_or_else(shape)?;
        let text = |key: &str| table.get(key).and_then(Value::as_str).ok_or_else(shape);
        let policy = parse_chunk_policy(text("size")?).map_err(|why| place.wrong(why))?;
        ChunkRule::new(text("match")?, policy).map_err(|why| place.wrong(why))
    };
    rules.iter().map(rule).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::options_of_mount;

    fn parse(text: &str) -> Result<FileConfig, String> {
        FileConfig::parse(text, Path::new("/etc/larder.toml"), &options_of_mount())
    }

    #[test]
    fn values_become_what_the_command_line_would_have() {
        let text = "cache-size = \"100G\"\nallow-other = true\nheader = [\"A: 1\", \"B: 2\"]\n\
            options = \"noexec\"\nthreads = 4\nca-file = \"ca.pem\"\ncache-dir = \"/var/c\"\n\
            [[chunk-size]]\nmatch = \"*.parquet\"\nsize = \"1M\"\n\
            [[chunk-size]]\nmatch = \"*\"\nsize = \"auto\"\n";
        let config = parse(text).unwrap();
        let of = |key: &str| {
            let (_, values) = config.values.iter().find(|(k, _)| k == key).unwrap();
            values
                .join(std::ffi::OsStr::new("|"))
                .into_string()
                .unwrap()
        };
        assert_eq!(of("cache-size"), "100G");
        assert_eq!(of("allow-other"), "true");
        assert_eq!(of("header"), "A: 1|B: 2");
        assert_eq!(
            (of("options"), of("threads")),
            ("noexec".into(), "4".into())
        );
        assert_eq!(of("ca-file"), "/etc/ca.pem");
        assert_eq!(of("cache-dir"), "/var/c");
        assert_eq!(config.rules.len(), 2);
        assert_eq!(parse("chunk-size = \"4M\"").unwrap().values.len(), 1);
    }

    #[test]
    fn what_cannot_be_is_refused_with_key_file_and_way_out() {
        for (text, words) in [
            ("cache-sise = \"1G\"", ["`cache-sise`", "`cache-size`"]),
            ("xyzzy = 1", ["`xyzzy`", "--help"]),
            ("config = \"x\"", ["`config`", "no such option"]),
            ("cache-size = \"10X\"", ["`cache-size`", "10G"]),
            ("cache-size = true", ["a string", "not true or false"]),
            ("cache-size = [\"1G\"]", ["a string", "not a list"]),
            ("allow-other = \"yes\"", ["true or false", "not a string"]),
            ("header = 1.5", ["list of strings", "not a number"]),
            ("header = [1]", ["list of strings", "`header`"]),
            ("threads = 0", ["`threads`", "1..=256"]),
            (
                "[[chunk-size]]\nmatch = \"*\"",
                ["`chunk-size`", "`size = \"1M\"`"],
            ),
            (
                "[[chunk-size]]\nmatch = \"*\"\nsize = \"5M\"",
                ["5M", "power of two"],
            ),
            (
                "[[chunk-size]]\nmatch = \"[\"\nsize = \"1M\"",
                ["'['", "pattern"],
            ),
            ("timeout = \"1s\"\nheader = geheim", ["not TOML", "line 2"]),
        ] {
            let sentence = parse(text).unwrap_err();
            assert!(sentence.contains("/etc/larder.toml"), "{sentence}");
            assert!(!sentence.contains("geheim"), "{sentence}");
            for word in words {
                assert!(sentence.contains(word), "no {word:?} in: {sentence}");
            }
        }
    }
}
