//! `larder set-size`: gives the cache of a mount other limits, at once and without an unmount.

use std::path::Path;

use serde_json::Value;

use super::args::SetSizeArgs;
use super::control::{ask, live_mount};
use super::error::{Exit, Failure};
use super::output::say;
use super::quantity::show_size;
use crate::engine::FreeSpace;
use crate::units::shown;

const WHAT: &str = "change the limits of its cache";

/// Runs the command.
pub(super) fn run(args: &SetSizeArgs) -> Result<(), Failure> {
    let requests = requests(args);
    if requests.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "nothing is to be changed: give a size, as in 20G, or --free-space-ratio",
        ));
    }
    let mount = live_mount(&args.path)?;
    let mut limits = Value::Null;
    for request in requests {
        limits = ask(&mount, &request, WHAT)?;
        if let Some(note) = limits["note"].as_str() {
            eprintln!("larder: {note}");
        }
    }
    match args.json {
        true => say!("{limits}"),
        false => say!("{}", told(&mount, &limits)),
    }
}

/// What the daemon is asked for, in this order.
fn requests(args: &SetSizeArgs) -> Vec<String> {
    let size = args.size.map(|bytes| format!("set-size.{bytes}"));
    let marks = |free: &FreeSpace| {
        let (run, cull, stop) = (free.run(), free.cull(), free.stop());
        format!("set-free-space.{run}/{cull}/{stop}")
    };
    let free = args.free_space_ratio.as_ref().map(marks);
    size.into_iter().chain(free).collect()
}

fn told(mount: &Path, limits: &Value) -> String {
    let n = |name: &str| limits[name].as_u64().unwrap_or_default();
    let (capacity, used) = (n("capacity_bytes"), n("used_bytes"));
    let shrinks = if used > capacity {
        "; the rest is given back in the background"
    } else {
        ""
    };
    format!(
        "{}: the cache takes {} at most and leaves {} of its disk free; it takes {} now{shrinks}",
        shown(mount),
        show_size(capacity),
        limits["free_space"].as_str().unwrap_or("?"),
        show_size(used)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_daemon_is_asked_for_what_was_given() {
        let args = SetSizeArgs {
            path: "/mnt".into(),
            size: Some(1 << 30),
            free_space_ratio: FreeSpace::new(100, 70, 30).ok(),
            json: false,
        };
        assert_eq!(
            requests(&args),
            ["set-size.1073741824", "set-free-space.100/70/30"]
        );
        let nothing = SetSizeArgs {
            size: None,
            free_space_ratio: None,
            ..args
        };
        assert_eq!(run(&nothing).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_cache_that_is_too_large_now_is_told_to_shrink() {
        let limits = |used: u64| json!({"capacity_bytes": 1 << 30, "used_bytes": used, "free_space": "10/7/3 %"});
        let shrinks = told(Path::new("/mnt"), &limits(2 << 30));
        assert!(shrinks.contains("1.0 GiB at most") && shrinks.contains("in the background"));
        assert!(!told(Path::new("/mnt"), &limits(1 << 20)).contains("background"));
    }
}
