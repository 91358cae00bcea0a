//! `larder info`: what the cache knows of one file or directory, from its extended attributes.

use std::path::Path;

use rustix::io::Errno;

use super::args::InfoArgs;
use super::error::Failure;
use super::mounts::{self, STATS_ATTRIBUTE};
use super::output::say;
use super::quantity::show_size;
use crate::units::{shown, shown_bytes};

const PREFIX: &str = "user.larder.";
const ENTRIES: &str = "user.larder.entries";

/// Runs the command.
pub(super) fn run(args: &InfoArgs) -> Result<(), Failure> {
    let path = &args.path;
    let shown = shown(path);
    let cannot = |e: std::io::Error| {
        let other = mounts::not_the_owner(path, "look into it");
        let plain = || Failure::failed(format_args!("cannot look at {shown}: {e}"));
        let is_refused = e.kind() == std::io::ErrorKind::PermissionDenied;
        other.filter(|_| is_refused).unwrap_or_else(plain)
    };
    let meta = std::fs::symlink_metadata(path).map_err(cannot)?;
    let mut names = names(path).map_err(cannot)?;
    names.retain(|name| name.starts_with(PREFIX) && name != STATS_ATTRIBUTE);
    if names.is_empty() && !mounts::is_on_one(path)? {
        return Err(Failure::failed(format_args!(
            "{shown} does not lie on a larder mount: `findmnt -t {}` lists them",
            mounts::MOUNT_TYPE
        )));
    }
    say!("{shown}")?;
    if meta.is_file() {
        let size = meta.len();
        say!("  {:<20}{size} ({})", "size", show_size(size))?;
    }
    if meta.is_dir() {
        say!("  {:<20}directory", "kind")?;
        if !names.iter().any(|name| name == ENTRIES) {
            say!(
                "  {:<20}unknown: the directory was not listed lately",
                "entries"
            )?;
        }
    }
    for name in names {
        let Some(value) = mounts::attribute(path, &name).map_err(cannot)? else {
            continue;
        };
        let short = name.strip_prefix(PREFIX).unwrap_or(&name);
        let text = shown_bytes(&value).to_string();
        say!("  {short:<20}{}", explained(short, &text, meta.len()))?;
    }
    Ok(())
}

/// A value with what it means to a person.
fn explained(name: &str, value: &str, size: u64) -> String {
    let number = value.parse::<u64>();
    match (name, number) {
        (_, Ok(bytes)) if name.ends_with("bytes") && size > 0 => {
            let percent = u128::from(bytes) * 100 / u128::from(size);
            format!("{value} ({}, {percent} %)", show_size(bytes))
        }
        ("listing-age" | "listing-ttl", Ok(seconds)) => format!("{seconds} s"),
        (_, Ok(bytes)) if name.ends_with("bytes") || name.ends_with("size") => {
            format!("{value} ({})", show_size(bytes))
        }
        _ => value.to_owned(),
    }
}

/// The names of the extended attributes of `path`, which is not followed if it is a link.
fn names(path: &Path) -> std::io::Result<Vec<String>> {
    let mut buf = vec![0u8; 65536];
    match rustix::fs::llistxattr(path, buf.as_mut_slice()) {
        Ok(len) => buf.truncate(len),
        Err(Errno::OPNOTSUPP) => buf.clear(),
        Err(e) => return Err(e.into()),
    }
    let names = buf.split(|b| *b == 0).filter(|name| !name.is_empty());
    Ok(names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_explained() {
        assert_eq!(explained("chunk-size", "65536", 1), "65536 (64.0 KiB)");
        assert_eq!(explained("cached-bytes", "512", 1024), "512 (512 B, 50 %)");
        assert_eq!(explained("cached-bytes", "0", 0), "0 (0 B)");
        assert_eq!(explained("tag", "12ab", 0), "12ab");
        assert_eq!(explained("entries", "12", 4096), "12");
        assert_eq!(explained("listing-age", "12", 4096), "12 s");
    }

    #[test]
    fn a_file_elsewhere_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        let failure = run(&InfoArgs { path }).unwrap_err();
        assert!(failure.sentence.contains("does not lie on a larder mount"));
    }
}
