//! Asking a cache disk that is not well whether it is again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::api::cache::{Cache, write_session};
use crate::engine::health::verdict::Access;
use crate::runtime::executor::{Job, Lane};

impl Cache {
    /// Looks for operations that the disk does not answer, and has it asked where it is not well. Does not wait for it.
    pub(crate) fn look_at_disk(self: &Arc<Self>, now: Duration) {
        let patience = self.config.disk_patience;
        self.watched.look(now, patience);
        self.ground.executor.relieve(now, patience);
        if let Some(bytes) = self.backlog.look(now, patience) {
            self.watched.takes_nothing(bytes, now);
            self.gate.forgive(true);
        }
        if !self.watched.bypasses_writes() && self.backlog.unstick(now) {
            self.gate.forgive(false);
        }
        for (access, lane) in [(Access::Read, Lane::Read), (Access::Write, Lane::Write)] {
            if !self.is_closed() && self.watched.takes_probe(access, now) {
                let probe = Probe {
                    cache: Arc::clone(self),
                    access,
                    outcome: Err(io::ErrorKind::Interrupted.into()),
                };
                let job: Job = Box::new(move || probe.run());
                // One that is refused is dropped, and has failed.
                drop(self.ground.executor.submit(lane, job));
            }
        }
    }

    fn probe(&self, access: Access) -> io::Result<()> {
        let disk = self.watched.disk();
        disk.probe()?;
        if access == Access::Read || self.disk.read_only || self.is_closed() {
            return Ok(());
        }
        // What is there already: whatever a power cut makes of it, it is still that.
        write_session(disk, self.disk.uuid, &self.session)?;
        disk.sync_index()
    }
}

/// One probe. However it ends, the watcher hears of it.
struct Probe {
    cache: Arc<Cache>,
    access: Access,
    outcome: io::Result<()>,
}

impl Probe {
    fn run(mut self) {
        self.outcome = self.cache.probe(self.access);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Ok(()));
        self.cache.watched.probed(self.access, outcome);
    }
}
