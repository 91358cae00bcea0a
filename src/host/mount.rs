//! One mount of a cache: a remote attached to it, as a file system.

use std::sync::Arc;

use super::counted::Counted;
use super::{MountRequest, MountStats, OpenedCache};
#[cfg(feature = "fuse")]
use crate::fuse::{FuseMount, MountError};
use crate::remote::connect::Connected;
use crate::remote::{Remote, RemoteError};
use crate::vfs::{Vfs, VfsOptions};

/// A remote that is read through a cache as a file system. With the feature `fuse` the kernel can mount it.
pub struct Mount {
    vfs: Arc<Vfs>,
    stats: Arc<MountStats>,
}

impl Mount {
    /// Attaches a remote that was connected to for this request. Asks the remote for its root, and waits for the answer.
    pub fn new(
        cache: &OpenedCache,
        request: &MountRequest,
        connected: Connected,
    ) -> Result<Self, RemoteError> {
        let dir = cache.dir().path();
        let remote = Arc::new(Counted::new(connected.remote));
        remote.hide(&[request.mount_point.clone(), dir.to_owned()]);
        let engine = Arc::clone(cache.cache());
        let stats = Arc::new(MountStats::new(engine, Arc::clone(&remote), request, dir));
        let source = cache.attach_with(
            Arc::clone(&remote) as _,
            &remote.principal(),
            request.source_settings(),
            cache.requests(connected.requests),
        );
        let told = Arc::clone(&stats);
        let options = VfsOptions {
            metadata_ttl: request.metadata_ttl,
            clock: cache.clock(),
            stats: Arc::new(move || told.json()),
            cache_dir: dir.as_os_str().as_encoded_bytes().to_vec(),
            owner: request.owner,
            listed_max: cache.listed_max(),
        };
        let network = Arc::new(cache.network().with_timeout(request.timeout));
        let vfs = Vfs::new(source, remote, network, options)?;
        stats.of(&vfs);
        Ok(Self { vfs, stats })
    }

    /// The file system.
    pub fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    /// Its counters.
    pub fn stats(&self) -> &Arc<MountStats> {
        &self.stats
    }

    /// Has the kernel mount it where `request` says. Returns when the mount answers; the mount lasts as long as what is
    /// returned.
    #[cfg(feature = "fuse")]
    pub fn start(
        &self,
        cache: &OpenedCache,
        request: &MountRequest,
    ) -> Result<FuseMount, MountError> {
        let mount = FuseMount::mount(&self.vfs, &request.mount_settings())?;
        // It only informs: a cache disk that fails does not end a mount.
        let mounts = std::slice::from_ref(&request.mount_point);
        if let Err(error) = cache.dir().set_mounts(mounts) {
            tracing::warn!("cannot write into the lock file what is mounted: {error}");
        }
        Ok(mount)
    }
}
