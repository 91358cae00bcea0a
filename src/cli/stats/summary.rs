//! The counters of a mount as a person reads them: a block of some ten lines. Pure.
//!
//! What is shown comes from the daemon's JSON by name, so that a daemon of another version can be looked at as well.

use serde_json::Value;

use crate::cli::quantity::{show_amount, show_size};

/// The block; what the daemon does not tell is left out.
pub(in crate::cli) fn summary(stats: &Value) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| lines.push(format!("{name:<10} {text}"));
    let n = |name: &str| stats[name].as_u64().unwrap_or_default();
    let text = |name: &str| stats[name].as_str().unwrap_or("?").to_owned();
    line(
        "mount",
        format!(
            "{} at {}, process {}",
            text("remote"),
            text("mount_point"),
            n("pid")
        ),
    );
    line("cache", cache(stats));
    line(
        "chunks",
        format!("{} of {} places hold one", n("slots_used"), n("slots")),
    );
    let (hit, missed) = (n("hit_bytes"), n("miss_bytes"));
    line(
        "hits",
        format!(
            "{} of {} that were read; {} came from the remote for readers",
            show_ratio(hit, missed),
            show_amount(hit + missed),
            show_amount(missed)
        ),
    );
    line(
        "reads",
        format!(
            "{} answered at once, {} waited, {} asked of the remote because the disk was slow, {} timed out",
            n("reads_inline"),
            n("reads_waited"),
            n("reads_hedged"),
            n("reads_timed_out")
        ),
    );
    line(
        "remote",
        format!(
            "{} in {} fetches, {} of them failed; {} questions about names and facts",
            show_amount(n("remote_bytes")),
            n("remote_requests"),
            n("remote_errors"),
            n("remote_questions")
        ),
    );
    line(
        "culling",
        format!(
            "{} chunks culled, {} of old versions dropped, {} on request; {} took over a file in place",
            n("slots_culled"),
            n("slots_buried"),
            n("slots_evicted"),
            n("slots_reused")
        ),
    );
    line(
        "files",
        format!(
            "{} created, {} unlinked, {} cut",
            n("files_created"),
            n("files_unlinked"),
            n("files_cut")
        ),
    );
    line("disk", disk(stats));
    line("last stop", text("last_stop"));
    line("scrub", scrub(&stats["scrub"]));
    lines.join("\n")
}

fn cache(stats: &Value) -> String {
    let n = |name: &str| stats[name].as_u64().unwrap_or_default();
    let (used, capacity) = (n("used_bytes"), n("capacity"));
    let reserved = match n("reserved_bytes") {
        0 => String::new(),
        bytes => format!(", {} reserved for fills under way", show_size(bytes)),
    };
    format!(
        "{} of {} ({}){reserved}; index {}; in {}",
        show_size(used),
        show_size(capacity),
        show_ratio(used, capacity.saturating_sub(used)),
        show_size(n("index_bytes")),
        stats["cache_dir"].as_str().unwrap_or("?")
    )
}

/// How the cache disk is. The state comes from a daemon that tells one.
fn disk(stats: &Value) -> String {
    let n = |name: &str| stats[name].as_u64().unwrap_or_default();
    let state = match &stats["disk"] {
        Value::String(state) => format!("{state}; "),
        Value::Object(fields) => fields
            .get("state")
            .and_then(Value::as_str)
            .map_or_else(String::new, |state| format!("{state}; ")),
        _ => String::new(),
    };
    format!(
        "{state}{} failures, {} blocks did not hold, {} fills were dropped",
        n("disk_errors"),
        n("blocks_bad"),
        n("fills_dropped")
    )
}

fn scrub(scrub: &Value) -> String {
    let n = |name: &str| scrub[name].as_u64().unwrap_or_default();
    let found = format!(
        "{} blocks hold, {} did not",
        n("checked_blocks"),
        n("bad_blocks")
    );
    match scrub["state"].as_str() {
        Some("idle") => match scrub["ended"].as_str() {
            None => "none so far".to_owned(),
            Some(ended) => format!("the last one: {ended}; {found}"),
        },
        Some(state) => format!(
            "{state}: {} of {}; {found}",
            show_size(n("done_bytes")),
            show_size(n("total_bytes"))
        ),
        None => "?".to_owned(),
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
            "remote": "/data", "mount_point": "/mnt/fast", "cache_dir": "/c", "pid": 7, "capacity": 1 << 30,
            "used_bytes": 1 << 28, "reserved_bytes": 4 << 20, "index_bytes": 1 << 20, "slots": 100, "slots_used": 40,
            "hit_bytes": 973, "miss_bytes": 27, "slots_culled": 5, "last_stop": "clean", "disk": "ok",
            "scrub": {"state": "running", "done_bytes": 1024, "total_bytes": 4096, "checked_blocks": 3},
        });
        let block = summary(&stats);
        for words in [
            "/data at /mnt/fast, process 7",
            "256.0 MiB of 1.0 GiB (25.0 %), 4.0 MiB reserved",
            "40 of 100 places",
            "97.3 % of 1.0 kB",
            "5 chunks culled",
            "disk       ok; 0 failures",
            "last stop  clean",
            "running: 1.0 KiB of 4.0 KiB; 3 blocks hold",
        ] {
            assert!(block.contains(words), "no {words:?} in:\n{block}");
        }
        // A daemon that tells less is shown as far as it does.
        assert!(summary(&json!({})).contains("- of 0 B"));
    }

    #[test]
    fn shares_are_per_cent() {
        assert_eq!(show_ratio(1, 2), "33.3 %");
        assert_eq!(show_ratio(u64::MAX, u64::MAX), "50.0 %");
        assert_eq!(show_ratio(0, 0), "-");
    }
}
