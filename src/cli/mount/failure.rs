//! What a user is told of a mount that comes to nothing, and the exit code for it.

use std::path::Path;

use super::cache::engine_failure;
use crate::cli::error::{Exit, Failure};
use crate::cli::quantity::show_size;
use crate::fuse::MountError;
use crate::host::{Budget, HostError, MemoryError};
use crate::remote::connect::{ConnectError, RemoteSpec};
use crate::remote::{RemoteError, SettingsError};

/// The failure of a remote that cannot be connected to.
pub(super) fn connect_failure(remote: &RemoteSpec, error: &ConnectError) -> Failure {
    match error {
        ConnectError::Remote(error) => remote_failure(remote, error),
        ConnectError::Settings(error @ SettingsError::Tls(_)) => Failure::failed(error),
        ConnectError::Settings(
            error @ (SettingsError::CaFile { .. } | SettingsError::Header(_)),
        ) => Failure::new(Exit::Usage, error),
        _ => Failure::new(Exit::Remote, error),
    }
}

/// The failure of a remote that was asked, and cannot be mounted.
pub(super) fn remote_failure(remote: &RemoteSpec, error: &RemoteError) -> Failure {
    let cannot = format_args!("cannot mount the remote {remote}");
    let sentence = match (remote, error) {
        (RemoteSpec::Web(web), RemoteError::Forbidden) if web.credentials.is_some() => {
            format!("{cannot}: the server refuses this user name and password")
        }
        (RemoteSpec::Web(_), RemoteError::Forbidden) => format!(
            "{cannot}: the server wants a password: put it into ~/.netrc, or send what the server wants with --header"
        ),
        (RemoteSpec::Web(_), RemoteError::NotFound) => {
            format!("{cannot}: the server has nothing there")
        }
        _ => format!("{cannot}: {error}"),
    };
    Failure::new(Exit::Remote, sentence)
}

/// The failure of a cache in the directory `dir` that cannot be put to work.
pub(super) fn host_failure(dir: &Path, error: &HostError) -> Failure {
    match error {
        HostError::Open(error) => engine_failure(dir, error),
        HostError::Memory(error) => memory_failure(error),
        other => Failure::failed(other),
    }
}

fn memory_failure(error: &MemoryError) -> Failure {
    // Rounded up, so that what is named is enough.
    let least = error.little.least.div_ceil(1 << 20);
    let index = match error.little.tables {
        0 => String::new(),
        tables => format!(
            " ({} of it for an index of {} slots: `larder resize --slots` makes one of fewer)",
            show_size(tables),
            error.slots
        ),
    };
    match &error.budget {
        Budget::Given(bytes) => Failure::new(
            Exit::Usage,
            format_args!(
                "--memory {} is too small: this mount needs at least {least}M{index}",
                show_size(*bytes)
            ),
        ),
        Budget::Half { limit, of } => Failure::failed(format_args!(
            "{of} is {}, but this mount needs at least {least}M of memory{index}",
            show_size(*limit)
        )),
    }
}

/// The failure of a mount that the kernel, or this machine, refuses.
pub(super) fn mount_failure(error: &MountError) -> Failure {
    let exit = match error {
        MountError::Option { .. } => Exit::Usage,
        _ => Exit::Mount,
    };
    Failure::new(exit, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Shares, TooLittle};

    const MIB: u64 = 1 << 20;

    fn refused(budget: Budget, bytes: u64, slots: u64) -> Failure {
        let little: TooLittle = Shares::of(bytes, slots).unwrap_err();
        let error = MemoryError {
            budget,
            little,
            slots,
        };
        memory_failure(&error)
    }

    #[test]
    fn too_little_memory_is_refused_with_the_least() {
        let refusal = refused(Budget::Given(MIB), MIB, 0);
        assert_eq!(refusal.exit, Exit::Usage);
        let said = refusal.sentence;
        assert!(
            said.contains("--memory 1.0 MiB") && said.contains("32M"),
            "{said}"
        );
        let said = refused(Budget::Given(32 * MIB), 32 * MIB, 80_000).sentence;
        assert!(
            said.contains("80000 slots") && said.contains("larder resize"),
            "{said}"
        );
        let half = Budget::Half {
            limit: 20 * MIB,
            of: "the limit".into(),
        };
        let said = refused(half, 10 * MIB, 0).sentence;
        assert!(said.contains("the limit is 20.0 MiB"), "{said}");
    }
}
