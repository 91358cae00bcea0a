//! The counters in Prometheus' text format, version 0.0.4. Pure.
//!
//! A metric is called what `larder stats --json` calls the field, with `larder_` before it; the parts of an object are
//! joined by `_`. A counter has `_total` behind it; a word is the label `is` of a metric with `_info` behind it. What is no
//! measure is a label of `larder_mount_info`.

use std::fmt::Write;

use serde_json::Value;

use crate::engine::{Field, FieldKind};
use crate::host::{LABELS, fields};
use crate::units::shown;

/// The media type of the format.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text for what `larder stats --json` says.
pub(super) fn exposition(values: &Value) -> String {
    let mut text = String::new();
    fields().for_each(|field| metric(&mut text, "larder", field, &values[field.name]));
    let about: Vec<(&str, String)> = LABELS
        .iter()
        .map(|label| (*label, as_text(&values[label])))
        .collect();
    let help = "What is mounted, where, with which cache, by which version and process of larder.";
    let about = labels(&about);
    one(&mut text, "larder_mount_info", GAUGE, help, &about, 1);
    text
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// One field, or each part of a group. What there is none of has no sample.
fn metric(text: &mut String, before: &str, field: &Field, value: &Value) {
    let name = format!("{before}_{}", field.name);
    match (field.kind, number(value)) {
        (FieldKind::Group(parts), _) => {
            for part in parts {
                metric(text, &name, part, &value[part.name]);
            }
        }
        (FieldKind::Word, _) if value.is_string() => {
            let word = labels(&[("is", as_text(value))]);
            one(text, &format!("{name}_info"), GAUGE, field.help, &word, 1);
        }
        (FieldKind::Counter, Some(number)) => {
            let name = format!("{name}_total");
            one(text, &name, COUNTER, field.help, "", number);
        }
        (FieldKind::Gauge, Some(number)) => one(text, &name, GAUGE, field.help, "", number),
        _ => {}
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_bool().map(u64::from))
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
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

/// Labels with their braces. Values may hold anything: they are made fit for people first, then for the format.
fn labels(pairs: &[(&str, String)]) -> String {
    let escaped = |value: &str| {
        let value = shown(value).to_string();
        value.replace('\\', "\\\\").replace('"', "\\\"")
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
    use crate::engine::Stats;
    use crate::host::Served;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn values() -> Value {
        let stats = Stats {
            hit_bytes: 42,
            capacity_bytes: 7,
            ..Stats::default()
        };
        let mut all = json!({
            "remote": "https://h/a\"b\\c\nd\u{1b}", "mount_point": "/mnt", "cache_dir": "/c", "version": "1", "pid": 3,
        });
        for part in [
            serde_json::to_value(stats),
            serde_json::to_value(Served::default()),
        ] {
            let Ok(Value::Object(part)) = part else {
                panic!("no object")
            };
            all.as_object_mut().unwrap().extend(part);
        }
        all
    }

    /// What each value of the JSON has to be called.
    fn expected(
        before: &str,
        name: &str,
        value: &Value,
        fields: &[&Field],
        all: &mut BTreeSet<String>,
    ) {
        let field = fields.iter().find(|field| field.name == name);
        let field = field.unwrap_or_else(|| panic!("{name} is in no list"));
        let full = format!("{before}_{name}");
        match (field.kind, value) {
            (FieldKind::Group(parts), Value::Object(values)) => {
                let parts: Vec<&Field> = parts.iter().collect();
                for (name, value) in values {
                    expected(&full, name, value, &parts, all);
                }
            }
            (_, Value::Null) => {}
            (FieldKind::Word, _) => drop(all.insert(format!("{full}_info"))),
            (FieldKind::Counter, _) => drop(all.insert(format!("{full}_total"))),
            _ => drop(all.insert(full)),
        }
    }

    #[test]
    fn both_have_the_same_names() {
        let (values, fields) = (values(), fields().collect::<Vec<_>>());
        let mut wanted = BTreeSet::from(["larder_mount_info".to_owned()]);
        for (name, value) in values.as_object().unwrap() {
            if !LABELS.contains(&name.as_str()) {
                expected("larder", name, value, &fields, &mut wanted);
            }
        }
        let text = exposition(&values);
        let types = text.lines().filter_map(|l| l.strip_prefix("# TYPE "));
        let names: Vec<&str> = types.filter_map(|l| l.split(' ').next()).collect();
        let found: BTreeSet<String> = names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(found, wanted);
        assert_eq!(found.len(), names.len(), "a name twice");
    }

    #[test]
    fn the_text_is_as_prometheus_wants_it() {
        let text = exposition(&values());
        for line in [
            "# TYPE larder_hit_bytes_total counter\nlarder_hit_bytes_total 42\n",
            "# TYPE larder_capacity_bytes gauge\nlarder_capacity_bytes 7\n",
            "# TYPE larder_disk_outages_total counter\nlarder_disk_outages_total 0\n",
            "larder_disk_full 0\n",
            "larder_remote_questions_total 0\n",
            "larder_last_stop_info{is=\"new\"} 1\n",
            "larder_scrub_state_info{is=\"idle\"} 1\n",
            "# HELP larder_scrub_bad_blocks Blocks that the scrub found damaged and dropped.\n",
            "remote=\"https://h/a\\\"b\\\\\\\\c\\\\nd\\\\u{1b}\",mount_point=\"/mnt\"",
        ] {
            assert!(text.contains(line), "no {line:?} in:\n{text}");
        }
    }
}
