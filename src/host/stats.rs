//! What a mount tells of itself: the one list behind `larder stats`, `user.larder.stats` and what Prometheus is given.

use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

use serde_json::{Map, Value};

use super::MountRequest;
use super::counted::Counted;
use crate::engine::{Cache, Field, Stats, described};
use crate::vfs::Vfs;

/// Who serves what: text, which is no measure.
pub const LABELS: &[&str] = &["remote", "mount_point", "cache_dir", "version", "pid"];

described! {
    /// What is counted above the engine.
    pub struct Served {
        /// Questions to the remote about names, facts and listings.
        counter remote_questions: u64,
        /// Inodes that the kernel knows.
        gauge inodes: u64,
        /// Open files.
        gauge open_files: u64,
    }
}

/// Every field that is told beside the labels.
pub fn fields() -> impl Iterator<Item = &'static Field> {
    Stats::FIELDS.iter().chain(Served::FIELDS)
}

/// The counters of one mount, with those of its cache.
pub struct MountStats {
    labels: Map<String, Value>,
    cache: Arc<Cache>,
    remote: Arc<Counted>,
    /// The file system, which itself holds these counters: so it is not held here.
    vfs: OnceLock<Weak<Vfs>>,
}

impl MountStats {
    /// Of a mount that is being made, of the cache in the directory `cache_dir`.
    pub(super) fn new(
        cache: Arc<Cache>,
        remote: Arc<Counted>,
        request: &MountRequest,
        cache_dir: &Path,
    ) -> Self {
        let values = [
            request.remote.source(),
            request.mount_point.to_string_lossy().into_owned(),
            cache_dir.to_string_lossy().into_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
            std::process::id().to_string(),
        ];
        let labels = LABELS.iter().map(|label| (*label).to_owned());
        Self {
            labels: labels.zip(values.map(Value::from)).collect(),
            cache,
            remote,
            vfs: OnceLock::new(),
        }
    }

    /// From now on the file system is asked as well.
    pub(super) fn of(&self, vfs: &Arc<Vfs>) {
        // It is set once.
        let _ = self.vfs.set(Arc::downgrade(vfs));
    }

    /// As one JSON object.
    pub fn values(&self) -> Value {
        let held = self.vfs.get().and_then(Weak::upgrade).map(|vfs| vfs.held());
        let (inodes, open_files) = held.unwrap_or_default();
        let served = Served {
            remote_questions: self.remote.questions(),
            inodes: inodes as u64,
            open_files: open_files as u64,
        };
        let mut all = self.labels.clone();
        for part in [
            serde_json::to_value(self.cache.stats()),
            serde_json::to_value(served),
        ] {
            if let Ok(Value::Object(part)) = part {
                all.extend(part);
            }
        }
        // Programs want a number.
        all.insert("pid".into(), std::process::id().into());
        Value::Object(all)
    }

    /// As the text of one JSON object.
    pub fn json(&self) -> String {
        self.values().to_string()
    }
}
