//! `larder stats --interval`: what happens on a mount, a line each time, as vmstat(8) shows it.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::summary::show_ratio;
use crate::cli::args::StatsArgs;
use crate::cli::error::Failure;
use crate::cli::mounts;
use crate::cli::output::say;
use crate::cli::quantity::{show_rate, show_size};
use crate::engine::{Clock, FieldKind, Stats, SystemClock};

/// After so many lines the titles are shown again.
const TITLES_EVERY: u64 = 20;
const TITLES: &str = "       read   hit %     remote  fetches/s  waits/s  evicted/s reused/s        used  disk errors";

/// Shows the mount's rates until the count is reached; errors when the mount is gone.
pub(super) fn run(args: &StatsArgs, mount: &Path, interval: Duration) -> Result<(), Failure> {
    let clock = SystemClock::default();
    let mut before = (clock.monotonic(), mounts::stats_of(mount)?);
    for shown in 0..args.count.unwrap_or(u64::MAX) {
        std::thread::sleep(interval);
        let now = (clock.monotonic(), mounts::stats_of(mount)?);
        let time = now.0.saturating_sub(before.0);
        if args.json {
            say!("{}", as_json(&before.1, &now.1, time))?;
        } else {
            if shown % TITLES_EVERY == 0 {
                say!("{TITLES}")?;
            }
            say!("{}", line(&before.1, &now.1, time))?;
        }
        before = now;
    }
    Ok(())
}

/// By how much a counter has grown; a daemon that was started anew begins at nothing.
fn grown(before: &Value, now: &Value, name: &str) -> u64 {
    let n = |stats: &Value| stats[name].as_u64().unwrap_or_default();
    match n(now).checked_sub(n(before)) {
        Some(more) => more,
        None => n(now),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate for people needs no more than three digits"
)]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

fn line(before: &Value, now: &Value, time: Duration) -> String {
    let more = |name: &str| grown(before, now, name);
    let rate = |name: &str| format!("{:.0}", per_second(more(name), time));
    let (hit, missed) = (more("hit_bytes"), more("miss_bytes"));
    let used = now["used_bytes"].as_u64().unwrap_or_default();
    format!(
        "{:>11} {:>7} {:>10} {:>10} {:>8} {:>9} {:>9} {:>11} {:>12}",
        show_rate(hit + missed, time),
        show_ratio(hit, missed).trim_end_matches(" %"),
        show_rate(more("remote_bytes"), time),
        rate("remote_requests"),
        rate("reads_waited"),
        rate("slots_culled"),
        rate("slots_reused"),
        show_size(used),
        more("disk_errors"),
    )
}

/// The rates of all counters, and everything as it stands.
fn as_json(before: &Value, now: &Value, time: Duration) -> Value {
    let rates: Map<String, Value> = Stats::FIELDS
        .iter()
        .filter(|field| field.kind == FieldKind::Counter)
        .map(|field| {
            let more = grown(before, now, field.name);
            (field.name.to_owned(), per_second(more, time).into())
        })
        .collect();
    let more = |name: &str| grown(before, now, name);
    let read = more("hit_bytes") + more("miss_bytes");
    let ratio = (read > 0).then(|| {
        per_second(more("hit_bytes"), Duration::from_secs(1))
            / per_second(read, Duration::from_secs(1))
    });
    json!({
        "seconds": time.as_secs_f64(),
        "hit_ratio": ratio,
        "per_second": rates,
        "stats": now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_its_titles() {
        let before = json!({"hit_bytes": 1 << 20, "remote_requests": 1, "reads_waited": 900});
        let now = json!({
            "hit_bytes": 19 << 20, "miss_bytes": 2 << 20, "remote_bytes": 4 << 20, "remote_requests": 5,
            "used_bytes": 1 << 30, "reads_waited": 4,
        });
        let time = Duration::from_secs(2);
        let line = line(&before, &now, time);
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            fields,
            [
                "10", "MiB/s", "90.0", "2.0", "MiB/s", "2", "2", "0", "0", "1.0", "GiB", "0"
            ]
        );
        assert_eq!(line.len(), TITLES.len());
        let all = as_json(&before, &now, time);
        assert_eq!(all["per_second"]["hit_bytes"], f64::from(9 << 20));
        assert_eq!(all["hit_ratio"], 0.9);
        assert_eq!(as_json(&now, &now, time)["hit_ratio"], Value::Null);
    }
}
