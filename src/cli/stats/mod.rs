//! `larder stats`: what a mount does, in a block for people, with all its counters; or the state of a cache directory that
//! no mount uses.

mod summary;
mod watch;

use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

pub(super) use self::summary::summary;
use super::args::StatsArgs;
use super::error::{Exit, Failure};
use super::output::say;
use super::quantity::show_size;
use super::{control, mounts};
use crate::engine::{Unit, unit_of};
use crate::format::{Geometry, SECTOR_LEN, Sector, SegmentHeader, Session, SessionState};
use crate::storage::{CacheDir, Storage};
use crate::units::shown;

/// Runs the command.
pub(super) fn run(args: &StatsArgs) -> Result<(), Failure> {
    let shown = shown(&args.path);
    let path = mounts::full_path(&args.path)
        .map_err(|e| Failure::failed(format_args!("cannot look at {shown}: {e}")))?;
    let mount = control::mount_of(&path)?;
    if let Some(interval) = args.interval {
        let mount = mount.ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format_args!("no daemon uses the cache in {shown}, so its counters do not change: leave --interval out"),
            )
        })?;
        return watch::run(args, &mount, interval);
    }
    let stats = match &mount {
        Some(mount) => mounts::stats_of(mount)?,
        None => at_rest(&path)?,
    };
    if args.json {
        return say!("{stats}");
    }
    if mount.is_some() {
        say!("{}\n", summary(&stats))?;
    }
    show(&stats)
}

/// The state of a cache that no daemon uses.
fn at_rest(path: &Path) -> Result<Value, Failure> {
    let cache = CacheDir::open_unlocked(path).map_err(|e| {
        Failure::new(
            Exit::Cache,
            format_args!("{e} ({} is not a larder mount either)", shown(path)),
        )
    })?;
    let cannot = |e: io::Error| {
        Failure::new(
            Exit::Cache,
            format_args!("cannot read the index in {}: {e}", shown(path)),
        )
    };
    let superblock = cache.superblock();
    let geometry = &superblock.geometry;
    let session = session(&cache).map_err(cannot)?;
    let (mut slots, mut bytes) = (0u64, 0u64);
    for segment in 0..geometry.segments() {
        let sector = sector(&cache, Geometry::segment_header_offset(segment)).map_err(cannot)?;
        // A header that was never written says that nothing is used.
        if let Ok(header) = SegmentHeader::decode(&sector, superblock.uuid, segment) {
            slots += u64::from(header.used_slots);
            bytes += header.allocated;
        }
    }
    let index = geometry.index_len();
    let mut stats = json!({
        "cache_dir": path.to_string_lossy(),
        "state": session.map_or("never used", |s| match s.state {
            SessionState::Clean => "closed cleanly",
            SessionState::Open => "not closed: its daemon died",
        }),
        "uuid": superblock.uuid.to_string(),
        "capacity_bytes": superblock.capacity,
        "used_bytes": index + bytes,
        "index_bytes": index,
        "slots": geometry.n_slots(),
        "slots_used": slots,
        "files": geometry.n_blobs(),
        "segments": geometry.segments(),
    });
    if let (Some(session), Value::Object(stats)) = (session, &mut stats) {
        describe_session(session, stats);
    }
    Ok(stats)
}

fn describe_session(session: Session, stats: &mut Map<String, Value>) {
    stats.insert("mounts_so_far".into(), session.epoch.into());
    stats.insert(
        "last_mount_timestamp_seconds".into(),
        session.started_at.into(),
    );
    stats.insert("last_pid".into(), session.pid.into());
}

fn sector(cache: &CacheDir, offset: u64) -> io::Result<Sector> {
    let mut sector = [0u8; SECTOR_LEN];
    cache.read_index(offset, &mut sector)?;
    Ok(sector)
}

fn session(cache: &CacheDir) -> io::Result<Option<Session>> {
    let copies = [
        sector(cache, Geometry::session_offset(0))?,
        sector(cache, Geometry::session_offset(1))?,
    ];
    Ok(Session::choose(&copies, cache.superblock().uuid))
}

/// What a reader wants to see first.
const FIRST: &[&str] = &[
    "remote",
    "mount_point",
    "cache_dir",
    "version",
    "state",
    "pid",
    "uuid",
];

/// Shows the counters one a line.
fn show(stats: &Value) -> Result<(), Failure> {
    let mut lines = Vec::new();
    flatten("", stats, &mut lines);
    // Who and where first, the rest by the alphabet.
    lines.sort_by_key(|(name, _)| {
        FIRST
            .iter()
            .position(|first| first == name)
            .unwrap_or(FIRST.len())
    });
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in lines {
        say!("{name:width$}  {value}")?;
    }
    Ok(())
}

/// The values of a JSON object as lines, in its order; nested names are joined by dots.
fn flatten(prefix: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let separator = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{separator}{name}"), value, lines);
            }
        }
        Value::String(text) => lines.push((prefix.to_owned(), shown(text).to_string())),
        Value::Number(number) => {
            let shown = number
                .as_u64()
                .and_then(|n| explain(prefix, n))
                .map(|more| format!("{number} ({more})"));
            lines.push((
                prefix.to_owned(),
                shown.unwrap_or_else(|| number.to_string()),
            ));
        }
        Value::Array(values) => {
            let parts: Vec<String> = values
                .iter()
                .map(|v| {
                    v.as_str()
                        .map_or_else(|| v.to_string(), |text| shown(text).to_string())
                })
                .collect();
            lines.push((prefix.to_owned(), parts.join(", ")));
        }
        other => lines.push((prefix.to_owned(), other.to_string())),
    }
}

/// What a number means to a person, if its name tells.
fn explain(name: &str, number: u64) -> Option<String> {
    match unit_of(name) {
        Unit::Things => None,
        Unit::Bytes => Some(show_size(number)),
        Unit::BytesPerSecond if number == 0 => Some("no limit".to_owned()),
        Unit::BytesPerSecond => Some(format!("{}/s", show_size(number))),
        Unit::Moment => UNIX_EPOCH
            .checked_add(Duration::from_secs(number))
            .and_then(|at| at.elapsed().ok())
            .map(|ago| format!("{} ago", rough(ago))),
    }
}

/// A time to the nearest large unit.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{CreateOptions, open_or_create};

    fn args(path: &Path) -> StatsArgs {
        StatsArgs {
            path: path.to_owned(),
            json: true,
            interval: None,
            count: None,
        }
    }

    #[test]
    fn a_cache_at_rest_tells_its_geometry() {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        drop(open_or_create(dir.path(), &options, &mut |_| {}).unwrap());
        let stats = at_rest(dir.path()).unwrap();
        assert_eq!(stats["state"], "never used");
        assert_eq!(stats["capacity_bytes"], 16 << 20);
        assert_eq!(
            (&stats["slots_used"], &stats["slots"]),
            (&json!(0), &json!(128))
        );
    }

    #[test]
    fn a_cache_in_use_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        let _held = open_or_create(dir.path(), &options, &mut |_| {}).unwrap();
        let failure = run(&args(dir.path())).unwrap_err();
        assert_eq!(failure.exit, Exit::InUse);
        assert!(failure.sentence.contains(&std::process::id().to_string()));
    }

    #[test]
    fn another_directory_is_neither() {
        let dir = tempfile::tempdir().unwrap();
        let failure = run(&args(dir.path())).unwrap_err();
        assert_eq!(failure.exit, Exit::Cache);
        assert!(failure.sentence.contains("not a larder mount either"));
    }

    #[test]
    fn counters_become_lines() {
        let mut lines = Vec::new();
        let stats = json!({"hits": 3, "remote_bytes": 1 << 20, "cull": {"runs": 1}, "mounts": ["/a", "/b"]});
        flatten("", &stats, &mut lines);
        let line = |name: &str| lines.iter().find(|(n, _)| n == name).unwrap().1.clone();
        assert_eq!(line("hits"), "3");
        assert_eq!(line("remote_bytes"), "1048576 (1.0 MiB)");
        assert_eq!(line("cull.runs"), "1");
        assert_eq!(line("mounts"), "/a, /b");
        assert_eq!(rough(Duration::from_secs(90_000)), "25 h");
    }
}
