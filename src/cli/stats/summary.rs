//! The counters of a mount as a person reads them: a block of some ten lines. Pure.
//!
//! What is shown comes from the daemon's JSON by name, so that a daemon of another version can be looked at as well.

use serde_json::Value;

use crate::cli::quantity::show_size;
use crate::units::shown;

/// The block; what the daemon does not tell is shown as nothing.
pub(in crate::cli) fn summary(stats: &Value) -> String {
    let text = |name: &str| shown(stats[name].as_str().unwrap_or("?")).to_string();
    let pid = stats["pid"].as_u64().unwrap_or_default();
    let mut lines = vec![
        (
            "mount",
            format!(
                "{} at {}, process {pid}",
                text("remote"),
                text("mount_point")
            ),
        ),
        ("cache", cache(stats)),
        ("memory", memory(stats)),
    ];
    lines.extend(counted(stats));
    lines.push(("disk", disk(stats)));
    lines.push(("last stop", text("last_stop")));
    lines.push(("scrub", scrub(&stats["scrub"])));
    let shown = lines
        .iter()
        .map(|(name, text)| format!("{name:<10} {text}"));
    shown.collect::<Vec<_>>().join("\n")
}

/// What was read, asked for and given up.
fn counted(stats: &Value) -> [(&'static str, String); 6] {
    let n = |name: &str| stats[name].as_u64().unwrap_or_default();
    let (hit, missed) = (n("hit_bytes"), n("miss_bytes"));
    let chunks = format!(
        "{} cached; there is room for {}",
        n("slots_used"),
        n("slots")
    );
    let hits = format!(
        "{} of the {} that programs read came from the cache; {} came from the remote",
        show_ratio(hit, missed),
        show_size(hit + missed),
        show_size(missed)
    );
    let reads = format!(
        "{} answered at once, {} waited for the disk or the remote, {} sent to the remote because the disk was slow, {} timed out",
        n("reads_inline"),
        n("reads_waited"),
        n("reads_hedged"),
        n("reads_timed_out")
    );
    let remote = format!(
        "{} in {} fetches, of which {} failed; {} requests for names and attributes",
        show_size(n("remote_bytes")),
        n("remote_requests"),
        n("remote_errors"),
        n("remote_questions")
    );
    let culling = format!(
        "{} chunks evicted for others, {} because their file has changed, {} on request; {} chunk files reused",
        n("slots_culled"),
        n("slots_superseded"),
        n("slots_evicted"),
        n("slots_reused")
    );
    let files = format!(
        "{} chunk files created, {} deleted, {} shortened",
        n("files_created"),
        n("files_unlinked"),
        n("files_cut")
    );
    [
        ("chunks", chunks),
        ("hits", hits),
        ("reads", reads),
        ("remote", remote),
        ("culling", culling),
        ("files", files),
    ]
}

fn cache(stats: &Value) -> String {
    let n = |name: &str| stats[name].as_u64().unwrap_or_default();
    let (used, capacity) = (n("used_bytes"), n("capacity_bytes"));
    let reserved = match n("reserved_bytes") {
        0 => String::new(),
        bytes => format!(
            ", {} reserved for writes that are under way",
            show_size(bytes)
        ),
    };
    format!(
        "{} of {} ({}){reserved}; index {}; in {}",
        show_size(used),
        show_size(capacity),
        show_ratio(used, capacity.saturating_sub(used)),
        show_size(n("index_bytes")),
        shown(stats["cache_dir"].as_str().unwrap_or("?"))
    )
}

/// What is used of the memory that the mount may take.
fn memory(stats: &Value) -> String {
    let n = |name: &str| stats[name].as_u64().unwrap_or_default();
    format!(
        "at most {}; {} for fetches, {} for listings, {} for tables",
        show_size(n("memory_budget_bytes")),
        show_size(n("memory_fetch_bytes")),
        show_size(n("memory_listing_bytes")),
        show_size(n("memory_table_bytes"))
    )
}

/// How the cache disk is, and what went wrong on it.
fn disk(stats: &Value) -> String {
    let n = |name: &str| stats[name].as_u64().unwrap_or_default();
    let disk = &stats["disk"];
    let state = |side: &str| disk[side].as_str().unwrap_or("?").to_owned();
    let (reading, writing) = (state("reading"), state("writing"));
    let mut parts = vec![match (reading.as_str(), writing.as_str()) {
        ("well", "well") => "works".to_owned(),
        _ if reading == writing => not_well(&reading).to_owned(),
        _ => format!(
            "reads: {}, writes: {}",
            not_well(&reading),
            not_well(&writing)
        ),
    }];
    if disk["full"] == true {
        parts.push("is full".to_owned());
    }
    match stats["pressure"].as_str() {
        None | Some("none") => {}
        Some(pressure) => parts.push(format!("short of free space ({pressure})")),
    }
    for (count, what) in [
        (n("disk_errors"), "operations failed"),
        (n("blocks_bad"), "blocks were damaged and fetched again"),
        (n("fills_dropped"), "writes were skipped"),
        (
            disk["outages"].as_u64().unwrap_or_default(),
            "outages so far",
        ),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(", ")
}

/// A state of the disk as the counters have it, in plain words.
fn not_well(state: &str) -> &str {
    match state {
        "well" => "work",
        "failing" => "fail",
        "hung" => "get no answer",
        "read-only" => "find it read-only",
        "vanished" => "find the cache directory gone",
        other => other,
    }
}

fn scrub(scrub: &Value) -> String {
    let n = |name: &str| scrub[name].as_u64().unwrap_or_default();
    let found = format!(
        "{} blocks were good, {} damaged",
        n("checked_blocks"),
        n("bad_blocks")
    );
    match scrub["state"].as_str() {
        Some("idle") => match scrub["ended"].as_str() {
            None => "none so far".to_owned(),
            Some(ended) => format!("the last one {}; {found}", how_ended(ended)),
        },
        Some(state) => format!(
            "{state}: {} of {}; {found}",
            show_size(n("done_bytes")),
            show_size(n("total_bytes"))
        ),
        None => "?".to_owned(),
    }
}

fn how_ended(ended: &str) -> &str {
    match ended {
        "finished" => "went through everything",
        "stopped" => "was stopped",
        "disk-failed" => "gave up because the disk failed",
        other => other,
    }
}

/// The share of `part` in both, in per cent: `97.3 %`, or a dash of nothing at all.
pub(in crate::cli) fn show_ratio(part: u64, rest: u64) -> String {
    let whole = u128::from(part) + u128::from(rest);
    match (u128::from(part) * 1000).checked_div(whole) {
        None => "-".to_owned(),
        Some(mille) => format!("{}.{} %", mille / 10, mille % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_block_says_what_matters() {
        let stats = json!({
            "remote": "/data", "mount_point": "/mnt/fast", "cache_dir": "/c", "pid": 7, "capacity_bytes": 1 << 30,
            "used_bytes": 1 << 28, "reserved_bytes": 4 << 20, "index_bytes": 1 << 20, "slots": 100, "slots_used": 40,
            "hit_bytes": 973, "miss_bytes": 27, "slots_culled": 5, "last_stop": "clean", "pressure": "culling",
            "disk": {"reading": "well", "writing": "hung", "full": false, "outages": 2, "io_errors": 0},
            "scrub": {"state": "running", "done_bytes": 1024, "total_bytes": 4096, "checked_blocks": 3},
        });
        let block = summary(&stats);
        for words in [
            "/data at /mnt/fast, process 7",
            "256.0 MiB of 1.0 GiB (25.0 %), 4.0 MiB reserved",
            "chunks     40 cached; there is room for 100",
            "97.3 % of the 1000 B",
            "5 chunks evicted for others",
            "disk       reads: work, writes: get no answer, short of free space (culling), 2 outages so far\n",
            "last stop  clean",
            "running: 1.0 KiB of 4.0 KiB; 3 blocks were good, 0 damaged",
        ] {
            assert!(block.contains(words), "no {words:?} in:\n{block}");
        }
        // A daemon that tells less is shown as far as it does.
        assert!(summary(&json!({})).contains("- of the 0 B"));
        let well = json!({"disk": {"reading": "well", "writing": "well", "full": false}});
        assert!(summary(&well).contains("\ndisk       works\n"));
    }

    #[test]
    fn shares_are_per_cent() {
        assert_eq!(show_ratio(1, 2), "33.3 %");
        assert_eq!(show_ratio(u64::MAX, u64::MAX), "50.0 %");
        assert_eq!(show_ratio(0, 0), "-");
    }
}
