//! Asking a cache disk that is not well whether it is again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::health::monitored_storage::MonitoredStorage;
use crate::engine::health::verdict::Access;
use crate::engine::services::Services;
use crate::runtime::executor::{Job, Lane};
use crate::storage::Storage;

/// Writes something that is on disk already, and syncs it.
type Rewrite = Box<dyn Fn(&dyn Storage) -> io::Result<()> + Send + Sync>;

/// What asks the disk.
pub(crate) struct Prober {
    services: Arc<Services>,
    storage: Arc<MonitoredStorage>,
    rewrite: Rewrite,
}

impl Prober {
    /// A probe for writes calls `rewrite`.
    pub(crate) fn new(
        services: Arc<Services>,
        storage: Arc<MonitoredStorage>,
        rewrite: Rewrite,
    ) -> Self {
        Self {
            services,
            storage,
            rewrite,
        }
    }

    /// Looks for operations that the disk does not answer, and has it asked where it is not well. Does not wait for it.
    pub(crate) fn look(self: &Arc<Self>, now: Duration) {
        let patience = self.services.config.disk_patience;
        self.storage.look(now, patience);
        self.services.executor.relieve(now, patience);
        for (access, lane) in [(Access::Read, Lane::Read), (Access::Write, Lane::Write)] {
            if !self.services.is_closed() && self.storage.takes_probe(access, now) {
                let probe = Probe {
                    prober: Arc::clone(self),
                    access,
                    outcome: Err(io::ErrorKind::Interrupted.into()),
                };
                let job: Job = Box::new(move || probe.run());
                // One that is refused is dropped, and has failed.
                drop(self.services.submit(lane, job));
            }
        }
    }

    fn probe(&self, access: Access) -> io::Result<()> {
        let disk = self.storage.disk();
        disk.probe()?;
        if access == Access::Read || self.services.is_closed() {
            return Ok(());
        }
        (self.rewrite)(disk)
    }
}

/// One probe. However it ends, the watch over the disk hears of it.
struct Probe {
    prober: Arc<Prober>,
    access: Access,
    outcome: io::Result<()>,
}

impl Probe {
    fn run(mut self) {
        self.outcome = self.prober.probe(self.access);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Ok(()));
        self.prober.storage.probed(self.access, outcome);
    }
}
