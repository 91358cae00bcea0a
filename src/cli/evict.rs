//! `larder evict`: drops what is cached of files and directories. The tree is walked through the mount, by names alone: no
//! data is fetched.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use super::args::EvictArgs;
use super::control::ask;
use super::dropping::{aside, disk_failed, everything, in_pieces};
use super::error::Failure;
use super::mounts;
use super::output::say;
use super::quantity::show_size;
use crate::engine::Evicted;
use crate::units::shown;

const WHAT: &str = "drop what is cached of it";

/// What was dropped of one argument.
#[derive(Default)]
pub(super) struct Dropped {
    /// Files that were looked at.
    files: u64,
    /// Those of which something was dropped.
    hit: u64,
    told: Evicted,
}

/// Runs the command: every path that can be done is done; the failures of the others are told one by one.
pub(super) fn run(args: &EvictArgs) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for path in &args.paths {
        match evict(path, &mut failures) {
            Ok(dropped) => {
                tell(args, path, &dropped)?;
                failures.extend(disk_failed(path, &dropped.told));
            }
            Err(failure) => failures.push(failure),
        }
    }
    let last = failures.pop();
    for failure in &failures {
        eprintln!("larder: {failure}");
    }
    last.map_or(Ok(()), Err)
}

fn evict(given: &Path, failures: &mut Vec<Failure>) -> Result<Dropped, Failure> {
    let shown = shown(given);
    if let Some(failure) = mounts::not_the_owner(given, WHAT) {
        return Err(failure);
    }
    let cannot = |e: io::Error| Failure::failed(format_args!("cannot look at {shown}: {e}"));
    let path = mounts::full_path(given).map_err(cannot)?;
    let meta = path.symlink_metadata().map_err(cannot)?;
    if !mounts::is_on_one(&path).map_err(cannot)? {
        return Err(Failure::failed(format_args!(
            "{shown} does not lie on a larder mount: `findmnt -t {}` lists them",
            mounts::MOUNT_TYPE
        )));
    }
    let mut dropped = Dropped::default();
    if mounts::larder_at(&path)?.is_some() {
        // All of a mount is all of its cache, and nothing has to be listed for that.
        dropped.told = everything(&path, WHAT)?;
        return Ok(dropped);
    }
    if meta.is_file() {
        one(&path, &mut dropped)?;
    } else if meta.is_dir() {
        walk(&path, meta.dev(), &mut dropped, failures);
    }
    Ok(dropped)
}

/// Every file below a directory, as far as its file system goes. A failure of one is noted, and the rest done.
fn walk(top: &Path, device: u64, dropped: &mut Dropped, failures: &mut Vec<Failure>) {
    let mut directories = vec![top.to_owned()];
    while let Some(dir) = directories.pop() {
        let cannot =
            |e: io::Error| Failure::failed(format_args!("cannot look into {}: {e}", shown(&dir)));
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) => {
                failures.push(cannot(e));
                continue;
            }
        };
        for entry in entries {
            let kind = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
            match kind {
                Err(e) => failures.push(cannot(e)),
                Ok((path, kind)) if kind.is_file() => {
                    failures.extend(one(&path, dropped).err());
                }
                Ok((path, kind)) if kind.is_dir() => {
                    let same = path
                        .symlink_metadata()
                        .is_ok_and(|meta| meta.dev() == device);
                    directories.extend(same.then_some(path));
                }
                Ok(_) => {}
            }
        }
    }
}

/// One file.
fn one(path: &Path, dropped: &mut Dropped) -> Result<(), Failure> {
    let told = in_pieces("evict", |request| ask(path, request, WHAT))?;
    dropped.files += 1;
    if told.chunks > 0 {
        dropped.hit += 1;
    }
    dropped.told.add(&told);
    Ok(())
}

fn tell(args: &EvictArgs, path: &Path, dropped: &Dropped) -> Result<(), Failure> {
    let shown = shown(path);
    let Dropped { files, hit, told } = dropped;
    if args.json {
        return say!(
            "{}",
            json!({"path": path.to_string_lossy(), "files": files, "files_dropped": hit, "bytes": told.bytes,
                "chunks": told.chunks, "busy": told.busy, "kept": told.kept, "failed": told.failed})
        );
    }
    let of = match files {
        0 | 1 => String::new(),
        _ => format!(" of {hit} files"),
    };
    match told.chunks {
        0 => say!("{shown}: nothing was cached{}", aside(told)),
        chunks => say!(
            "{shown}: dropped {} in {chunks} chunks{of}{}",
            show_size(told.bytes),
            aside(told)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_elsewhere_is_refused_and_the_others_are_named_too() {
        let dir = tempfile::tempdir().unwrap();
        let paths = vec![dir.path().join("missing"), dir.path().to_owned()];
        let mut failures = Vec::new();
        let missing = evict(&paths[0], &mut failures).err().unwrap();
        assert!(missing.sentence.contains("missing"), "{missing}");
        let last = run(&EvictArgs { paths, json: false }).unwrap_err();
        assert!(
            last.sentence.contains("does not lie on a larder mount"),
            "{last}"
        );
    }
}
