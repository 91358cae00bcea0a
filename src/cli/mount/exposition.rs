//! The counters in Prometheus' text format, version 0.0.4. Pure.
//!
//! Names and sentences are those of the fields of [`Stats`]: a new counter appears by itself. A counter ends in `_total`,
//! bytes and seconds are in the name.

use std::fmt::Write;

use serde_json::Value;

use crate::engine::Stats;

/// The media type of the format.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is served, and what the engine does not count.
pub(super) struct About {
    /// What is mounted, where, and in which directory its cache is. None of them holds a secret.
    pub remote: String,
    pub mount_point: String,
    pub cache_dir: String,
    /// Questions to the remote.
    pub questions: u64,
    /// Inodes that the kernel knows, and open files.
    pub inodes: u64,
    pub open_files: u64,
}

/// The text.
pub(super) fn exposition(stats: &Stats, about: &About) -> String {
    let mut text = String::new();
    for metric in stats.metrics() {
        let name = named(metric.name, metric.is_counter);
        let kind = if metric.is_counter { COUNTER } else { GAUGE };
        one(&mut text, &name, kind, metric.help, "", metric.value);
    }
    for (name, help, value) in [
        (
            "remote_questions_total",
            "Questions to the remote about names, facts and listings.",
            about.questions,
        ),
        ("inodes", "Inodes that the kernel knows.", about.inodes),
        ("open_files", "Open files.", about.open_files),
    ] {
        let kind = if name.ends_with("_total") {
            COUNTER
        } else {
            GAUGE
        };
        one(&mut text, &format!("larder_{name}"), kind, help, "", value);
    }
    let fields = serde_json::to_value(stats).unwrap_or_default();
    for (name, help) in Stats::states() {
        state(&mut text, &format!("larder_{name}"), help, &fields[name]);
    }
    let served = labels(&[
        ("remote", &about.remote),
        ("mount_point", &about.mount_point),
        ("cache_dir", &about.cache_dir),
        ("version", env!("CARGO_PKG_VERSION")),
    ]);
    let help = "What is mounted, where, with which cache, by which version of larder.";
    one(&mut text, "larder_mount_info", GAUGE, help, &served, 1);
    text
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// A field that is no number: a word becomes a label, and each part of an object a metric of its own.
fn state(text: &mut String, name: &str, help: &str, value: &Value) {
    match value {
        Value::Object(parts) => {
            for (part, value) in parts {
                let help = format!(
                    "{} ({})",
                    help.trim_end_matches('.'),
                    part.replace('_', " ")
                );
                let part = match part.strip_suffix("_at") {
                    Some(part) => format!("{part}_timestamp_seconds"),
                    None => part.clone(),
                };
                state(text, &format!("{name}_{part}"), &format!("{help}."), value);
            }
        }
        Value::String(word) => {
            let labels = labels(&[("is", word)]);
            one(text, &format!("{name}_info"), GAUGE, help, &labels, 1);
        }
        Value::Bool(yes) => one(text, name, GAUGE, help, "", u64::from(*yes)),
        Value::Number(number) => {
            let number = number.as_u64().unwrap_or_default();
            one(text, name, GAUGE, help, "", number);
        }
        // What there is none of has no sample.
        Value::Null | Value::Array(_) => {}
    }
}

/// The full name of a field.
fn named(field: &str, is_counter: bool) -> String {
    match field {
        "capacity" => "larder_capacity_bytes".to_owned(),
        field if is_counter => format!("larder_{field}_total"),
        field => format!("larder_{field}"),
    }
}

fn one(text: &mut String, name: &str, kind: &str, help: &str, labels: &str, value: u64) {
    let help = help.replace('\\', "\\\\").replace('\n', " ");
    // Writing into a string does not fail.
    let _ = write!(
        text,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}\n"
    );
}

/// Labels with their braces; values may hold anything.
fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |value: &str| {
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    };
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_there_with_its_sentence_and_its_kind() {
        let stats = Stats {
            hit_bytes: 42,
            capacity: 7,
            ..Stats::default()
        };
        let about = About {
            remote: "https://h/a\"b\\c\nd".into(),
            mount_point: "/mnt".into(),
            cache_dir: "/c".into(),
            questions: 3,
            inodes: 1,
            open_files: 0,
        };
        let text = exposition(&stats, &about);
        for line in [
            "# TYPE larder_hit_bytes_total counter\nlarder_hit_bytes_total 42\n",
            "# TYPE larder_capacity_bytes gauge\nlarder_capacity_bytes 7\n",
            "larder_remote_questions_total 3\n",
            "larder_last_stop_info{is=\"new\"} 1\n",
            "larder_scrub_state_info{is=\"idle\"} 1\n",
            "# HELP larder_scrub_bad_blocks The scrub that is under way, or the last one (bad blocks).\n",
            "remote=\"https://h/a\\\"b\\\\c\\nd\",mount_point=\"/mnt\"",
        ] {
            assert!(text.contains(line), "no {line:?} in:\n{text}");
        }
        for metric in stats.metrics() {
            let name = named(metric.name, metric.is_counter);
            assert!(
                text.contains(&format!("# HELP {name} {}\n", metric.help)),
                "{name}"
            );
        }
        assert_eq!(
            text.matches("# HELP ").count(),
            text.matches("# TYPE ").count()
        );
    }
}
