//! One mount, as its user wants it: plain values, which another process can be handed.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{ChunkPolicy, SourceSettings};
use crate::remote::SlowSettings;
use crate::remote::connect::RemoteSpec;
use crate::units::path_as_bytes;
use crate::vfs::{MetadataTtl, Owner};

/// What is to be mounted, where and how. Serialised, it holds the secrets of its remote; `Debug` shows none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MountRequest {
    /// The remote.
    pub remote: RemoteSpec,
    /// The mount point, in full.
    #[serde(with = "path_as_bytes")]
    pub mount_point: PathBuf,
    /// Mount options as `-o` takes them, each perhaps several with commas between.
    pub options: Vec<String>,
    /// Whether other users than the one who mounts may use the mount (as far as the permissions of the files go).
    pub allow_other: bool,
    /// The threads that answer the kernel. `None`: one per processor, from 2 to 16.
    pub threads: Option<u16>,
    /// Who is to own what is shown.
    pub owner: Owner,
    /// How the chunk size of a file's new version is chosen.
    pub chunks: ChunkPolicy,
    /// For how long names, attributes and listings are believed.
    pub metadata_ttl: MetadataTtl,
    /// How long a read, or a question to the remote, waits for an answer.
    pub timeout: Duration,
    /// How long a file of a directory must be unchanged before its bytes are kept.
    pub settle: Duration,
    /// How long a version that the remote has no validator for is believed to be the current one.
    pub unvalidated_ttl: Duration,
    /// How slow the remote is made to appear, for tests.
    pub slow: SlowSettings,
}

impl MountRequest {
    /// What the cache is told of the remote.
    pub(super) fn source_settings(&self) -> SourceSettings {
        SourceSettings {
            chunks: self.chunks.clone(),
            timeout: self.timeout,
            unvalidated_ttl: self.unvalidated_ttl,
        }
    }
}

#[cfg(feature = "fuse")]
impl MountRequest {
    /// What the kernel is told of the mount.
    pub(super) fn mount_settings(&self) -> crate::fuse::MountSettings {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        crate::fuse::MountSettings {
            mountpoint: self.mount_point.clone(),
            fsname: self.remote.source(),
            threads: self.threads.map_or(processors.clamp(2, 16), usize::from),
            allow_other: self.allow_other,
            options: self.options.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ChunkRule;
    use crate::units::ChunkSize;

    #[test]
    fn a_request_survives_its_way_to_another_process() {
        let fixed = ChunkPolicy::Fixed(ChunkSize::MIN);
        let request = MountRequest {
            remote: RemoteSpec::Dir("/remote".into()),
            mount_point: "/mnt".into(),
            options: vec!["noexec,nonempty".into()],
            allow_other: true,
            threads: Some(3),
            owner: Owner {
                uid: Some(1),
                gid: None,
            },
            chunks: ChunkPolicy::Rules {
                rules: vec![ChunkRule::new("/a/*.x", fixed).unwrap()].into(),
                otherwise: Box::new(ChunkPolicy::Auto),
            },
            metadata_ttl: MetadataTtl::Indefinite,
            timeout: Duration::from_millis(1500),
            settle: Duration::ZERO,
            unvalidated_ttl: Duration::from_secs(1),
            slow: SlowSettings {
                round_trip: Duration::from_millis(20),
                bytes_per_second: Some(1),
            },
        };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(
            serde_json::from_str::<MountRequest>(&text).unwrap(),
            request
        );
        let odd = text.replace("*.x", "[");
        let refused = serde_json::from_str::<MountRequest>(&odd).unwrap_err();
        assert!(refused.to_string().contains("pattern"), "{refused}");
    }
}
