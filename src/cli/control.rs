//! Asking the daemon of a mount for something: by the attributes that `vfs/request.rs` documents.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{Exit, Failure};
use super::mounts;
use crate::fuse::is_daemon_gone;
use crate::storage::read_holder;
use crate::units::shown;

/// The mount whose daemon has the cache: `path` itself, or the one that uses the cache directory `path`. `None` where
/// no mount uses it.
pub(super) fn mount_of(path: &Path) -> Result<Option<PathBuf>, Failure> {
    if mounts::larder_at(path)?.is_some() {
        return Ok(Some(path.to_owned()));
    }
    let shown = shown(path);
    let holder = read_holder(path)
        .map_err(|e| Failure::new(Exit::Cache, format_args!("cannot look at {shown}: {e}")))?;
    match holder {
        None => Ok(None),
        Some(holder) => match holder.mounts.first() {
            Some(mount) => Ok(Some(mount.clone())),
            None => Err(Failure::new(
                Exit::InUse,
                format_args!(
                    "{shown} is in use by {holder}, which serves no mount: try again when it has ended"
                ),
            )),
        },
    }
}

/// As [`mount_of`], where there has to be one: the path as the user gave it is named.
pub(super) fn live_mount(given: &Path) -> Result<PathBuf, Failure> {
    let shown = shown(given);
    let path = mounts::full_path(given)
        .map_err(|e| Failure::failed(format_args!("cannot look at {shown}: {e}")))?;
    mount_of(&path)?.ok_or_else(|| mounts::not_a_mount(given))
}

/// Asks the daemon for `request` of the file or the mount `path`; `what` is what only some may do.
pub(super) fn ask<T: DeserializeOwned>(
    path: &Path,
    request: &str,
    what: &str,
) -> Result<T, Failure> {
    let shown = shown(path);
    let failed = |why: &dyn std::fmt::Display| Failure::failed(why);
    let answer = match mounts::attribute(path, format!("user.larder.{request}")) {
        Ok(answer) => answer,
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(mounts::not_the_owner(path, what).unwrap_or_else(|| {
                failed(&format_args!(
                    "only root and the user who mounted it may {what}: {shown}"
                ))
            }));
        }
        Err(e) if e.kind() == std::io::ErrorKind::TimedOut => {
            return Err(failed(&format_args!(
                "the cache disk of {shown} does not answer: the daemon goes on trying"
            )));
        }
        Err(e) if is_daemon_gone(&e) => {
            return Err(failed(&format_args!(
                "the daemon of {shown} is dead: `larder mount` there brings it back"
            )));
        }
        Err(e) => {
            return Err(failed(&format_args!(
                "cannot ask the daemon about {shown}: {e}"
            )));
        }
    };
    let Some(answer) = answer else {
        return Err(failed(&format_args!(
            "the daemon of {shown} does not know how to {what}: it runs an earlier version of larder; unmount and mount again"
        )));
    };
    let answer: Value = serde_json::from_slice(&answer).map_err(|e| {
        failed(&format_args!(
            "the answer of the daemon of {shown} cannot be read: {e}"
        ))
    })?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(Failure::failed(error));
    }
    serde_json::from_value(answer).map_err(|e| {
        failed(&format_args!(
            "the answer of the daemon of {shown} cannot be read: {e}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_daemon_is_named_as_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(mount_of(dir.path()).unwrap(), None);
        let failure = live_mount(dir.path()).unwrap_err();
        assert!(
            failure.sentence.contains("is not a larder mount"),
            "{failure}"
        );
        let gone = live_mount(Path::new("/no/such/dir")).unwrap_err();
        assert!(gone.sentence.contains("/no/such/dir"), "{gone}");
    }
}
