//! Opening a remote, and the first look at it.

use std::sync::Arc;

#[cfg(feature = "http")]
use super::web;
use super::{ConnectError, ConnectSettings, Connected, RemoteSpec};
use crate::remote::{DirRemote, DirSettings, Network, Remote, SlowRemote, SlowSettings};

/// Ranged reads at a time from a directory, and from a web server.
const DIR_REQUESTS: usize = 32;
#[cfg(feature = "http")]
const WEB_REQUESTS: usize = 64;

/// Opens the remote and looks at it, with the deadline of `network`. Waits for that: not to be called on a thread of an
/// asynchronous runtime. To be called before the mount, so that a directory's root is what lies beneath the mount point.
pub fn connect(
    spec: &RemoteSpec,
    settings: &ConnectSettings,
    network: &Network,
) -> Result<Connected, ConnectError> {
    let (remote, requests) = open(spec, settings)?;
    let asked = Arc::clone(&remote);
    let notes = network.ask_and_wait(async move { asked.look().await })?;
    let remote = if settings.slow == SlowSettings::default() {
        remote
    } else {
        Arc::new(SlowRemote::new(remote, settings.slow))
    };
    Ok(Connected {
        remote,
        requests,
        notes,
    })
}

/// The remote, and how many requests it is asked at a time. Nothing is asked yet.
fn open(
    spec: &RemoteSpec,
    settings: &ConnectSettings,
) -> Result<(Arc<dyn Remote>, usize), ConnectError> {
    match spec {
        RemoteSpec::Dir(path) => {
            let settings = DirSettings {
                settle: settings.settle,
                clock: Arc::clone(&settings.clock),
                listings: Arc::clone(&settings.listings),
            };
            let dir = DirRemote::open(path, settings).map_err(ConnectError::Directory)?;
            Ok((Arc::new(dir), DIR_REQUESTS))
        }
        #[cfg(feature = "http")]
        RemoteSpec::Web(web) => Ok((Arc::new(web::open(web, settings)?), WEB_REQUESTS)),
        #[cfg(not(feature = "http"))]
        RemoteSpec::Web(_) => Err(ConnectError::NotBuilt("http")),
    }
}
