//! How the use of the cache before this one ended, and what follows for what it left. Pure: the session that the index
//! holds against what the machine says of itself.

use serde::{Deserialize, Serialize};

use crate::format::{Session, SessionState};
use crate::storage::HostIdentity;

/// How the last use of a cache ended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum LastShutdown {
    /// It was not used before.
    #[default]
    #[serde(rename = "new")]
    New,
    /// It was closed.
    #[serde(rename = "clean")]
    Clean,
    /// Its daemon died; machine, boot and mount of the disk are still the same, so that everything written is there.
    #[serde(rename = "daemon killed")]
    Killed,
    /// The machine went down, or it does not tell whether it did.
    #[serde(rename = "power cut or reboot")]
    PowerCut,
    /// It was in use on another machine.
    #[serde(rename = "other machine")]
    OtherMachine,
    /// Its disk was taken away and mounted anew.
    #[serde(rename = "disk mounted anew")]
    DiskRemounted,
}

impl LastShutdown {
    /// How the use that `last` tells of ended, seen from `host`.
    pub(crate) fn of(last: Option<&Session>, host: &HostIdentity) -> Self {
        let Some(last) = last else {
            return Self::New;
        };
        match last.state {
            SessionState::Clean => Self::Clean,
            SessionState::Open if same_run(last, host) => Self::Killed,
            SessionState::Open if last.host_id != host.host_id => Self::OtherMachine,
            SessionState::Open if told(host) && last.boot_id == host.boot_id => Self::DiskRemounted,
            SessionState::Open => Self::PowerCut,
        }
    }

    /// Whether what the cache held may have come to harm unheard.
    pub fn was_cut(self) -> bool {
        matches!(
            self,
            Self::PowerCut | Self::OtherMachine | Self::DiskRemounted
        )
    }

    /// A sentence for the user; none where there is nothing to tell.
    pub fn sentence(self) -> Option<&'static str> {
        match self {
            Self::New | Self::Clean => None,
            Self::Killed => Some("the last daemon was killed: everything it wrote is kept"),
            Self::PowerCut => Some(
                "the power failed or the machine was restarted while the cache was in use: cached data is checked before it is used",
            ),
            Self::OtherMachine => Some(
                "the cache was in use on another machine and was not closed there: cached data is checked before it is used",
            ),
            Self::DiskRemounted => Some(
                "the cache disk was disconnected while the cache was in use: cached data is checked before it is used",
            ),
        }
    }
}

/// Whether the session was one of this boot, of this machine, of this mount of the disk: then the page cache has had
/// every write since, and nothing that was trusted then has become suspect.
pub(super) fn same_run(last: &Session, host: &HostIdentity) -> bool {
    told(host)
        && last.boot_id == host.boot_id
        && last.host_id == host.host_id
        && last.disk_mount_id == host.disk_mount_id
}

/// A boot, or a mount of the disk, that the machine does not tell equals no other: larder cannot know what happened
/// since.
fn told(host: &HostIdentity) -> bool {
    host.boot_id != [0; 16] && host.disk_mount_id != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_a_cut_another_machine_and_a_pulled_disk_are_told_apart() {
        let here = HostIdentity {
            boot_id: [1; 16],
            host_id: [2; 16],
            disk_mount_id: 3,
            pid: 4,
        };
        let open = Session {
            state: SessionState::Open,
            sequence: 5,
            epoch: 2,
            trusted_epoch: 1,
            boot_id: here.boot_id,
            host_id: here.host_id,
            disk_mount_id: here.disk_mount_id,
            started_at: 0,
            pid: 9,
        };
        let clean = Session {
            state: SessionState::Clean,
            ..open
        };
        let rebooted = HostIdentity {
            boot_id: [9; 16],
            disk_mount_id: 77,
            ..here
        };
        let elsewhere = HostIdentity {
            host_id: [9; 16],
            ..rebooted
        };
        let plugged = HostIdentity {
            disk_mount_id: 8,
            ..here
        };
        let mute = HostIdentity {
            boot_id: [0; 16],
            ..here
        };
        for (last, host, stop) in [
            (None, here, LastShutdown::New),
            (Some(open), here, LastShutdown::Killed),
            (Some(open), rebooted, LastShutdown::PowerCut),
            (Some(open), elsewhere, LastShutdown::OtherMachine),
            (Some(open), plugged, LastShutdown::DiskRemounted),
            (Some(open), mute, LastShutdown::PowerCut),
            (Some(clean), here, LastShutdown::Clean),
            (Some(clean), rebooted, LastShutdown::Clean),
        ] {
            assert_eq!(LastShutdown::of(last.as_ref(), &host), stop);
            assert_eq!(
                stop.was_cut(),
                stop.sentence().is_some_and(|s| s.contains("checked"))
            );
        }
        // The clean mark makes no slot of another boot trusted.
        assert!(same_run(&clean, &here) && !same_run(&clean, &rebooted));
        assert!(!same_run(&open, &mute) && !same_run(&open, &plugged));
        let text = serde_json::to_string(&LastShutdown::PowerCut).unwrap();
        assert_eq!(text, "\"power cut or reboot\"");
    }
}
