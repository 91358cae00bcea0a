//! Opening the remote for a mount: a directory, or a web server, which is looked at first.

use std::sync::Arc;

use super::counted::Counted;
use super::plan::{Origin, Plan};
use super::web::WebOrigin;
use crate::cli::args::MountArgs;
use crate::cli::error::{Exit, Failure};
use crate::engine::{Clock, Network, SystemClock};
use crate::remote::{
    DirRemote, DirSettings, HttpMemory, HttpRemote, HttpSettings, Remote, RemoteError, Room,
    SettingsError, SlowRemote, SlowSettings,
};
use crate::storage::raise_descriptor_limit;

/// Ranged reads at a time.
const DIR_REQUESTS: usize = 32;
const WEB_REQUESTS: usize = 64;

/// A remote that is ready to be read.
pub(super) struct Opened {
    /// The remote itself.
    pub remote: Arc<Counted>,
    /// What keeps apart the cached bytes of those who may not see the same.
    pub salt: String,
    /// How many fetches may be under way.
    pub requests: usize,
}

/// A web server that was looked at.
pub(super) struct Looked(HttpRemote);

/// Looks at the web server, if the remote is one: before a cache is made for it. `notes` gets what it said of itself.
pub(super) fn look(
    args: &MountArgs,
    plan: &Plan,
    network: &Network,
    memory: HttpMemory,
    notes: &mut Vec<String>,
) -> Result<Option<Looked>, Failure> {
    let Origin::Web(web) = &plan.origin else {
        return Ok(None);
    };
    let (uid, gid) = WebOrigin::owner(plan.owner);
    let settings = HttpSettings {
        headers: web.headers.clone(),
        credentials: web.credentials.clone(),
        ca_file: web.ca_file.clone(),
        timeout: args.timeout,
        uid,
        gid,
        memory,
    };
    let mut remote = HttpRemote::new(&web.url, settings).map_err(|error| match error {
        SettingsError::Url(_) => Failure::new(Exit::Remote, error),
        SettingsError::CaFile { .. } => Failure::new(Exit::Usage, error),
        SettingsError::Tls(_) => Failure::failed(error),
    })?;
    let looking = async move { remote.look().await.map(|said| (remote, said)) };
    let (remote, said) = network
        .ask_and_wait(looking)
        .map_err(|e| failure(plan, &e))?;
    notes.extend(said);
    Ok(Some(Looked(remote)))
}

/// Opens the remote, behind the simulated slowness if that was asked for.
pub(super) fn open(
    args: &MountArgs,
    plan: &Plan,
    clock: &Arc<SystemClock>,
    listings: &Arc<Room>,
    looked: Option<Looked>,
) -> Result<Opened, Failure> {
    let (remote, salt, requests): (Arc<dyn Remote>, _, _) = match (&plan.origin, looked) {
        (_, Some(Looked(web))) => {
            let salt = web.principal();
            (Arc::new(web), salt, WEB_REQUESTS)
        }
        (Origin::Dir(path), None) => {
            let wall = Arc::clone(clock);
            let settings = DirSettings {
                settle: args.settle,
                hidden: vec![plan.dir.clone(), plan.cache_dir.clone()],
                clock: Arc::new(move || wall.wall()),
                listings: Arc::clone(listings),
            };
            let dir = DirRemote::open(path, settings).map_err(|e| Failure::new(Exit::Remote, e))?;
            // What one user may read, another may not: their cached bytes are kept apart.
            let salt = format!("uid:{}", rustix::process::geteuid().as_raw());
            (Arc::new(dir), salt, DIR_REQUESTS)
        }
        (Origin::Web(_), None) => {
            return Err(Failure::failed(
                "the web server was not looked at: this is a bug in larder",
            ));
        }
    };
    let slow = SlowSettings {
        round_trip: args.slow_round_trip.unwrap_or_default(),
        bytes_per_second: args.slow_bandwidth,
    };
    let remote: Arc<dyn Remote> = match slow == SlowSettings::default() {
        true => remote,
        false => Arc::new(SlowRemote::new(remote, slow)),
    };
    Ok(Opened {
        remote: Arc::new(Counted::new(remote)),
        salt,
        requests: requests.min(raise_descriptor_limit().fetches),
    })
}

/// The failure of a remote that cannot be mounted.
pub(super) fn failure(plan: &Plan, error: &RemoteError) -> Failure {
    let origin = &plan.origin;
    let cannot = format_args!("cannot mount the remote {origin}");
    let sentence = match (&plan.origin, error) {
        (Origin::Web(web), RemoteError::Forbidden) if web.credentials.is_some() => {
            format!("{cannot}: the server refuses this user name and password")
        }
        (Origin::Web(_), RemoteError::Forbidden) => format!(
            "{cannot}: the server wants a password: put it into ~/.netrc, or send what the server wants with --header"
        ),
        (Origin::Web(_), RemoteError::NotFound) => {
            format!("{cannot}: the server has nothing there")
        }
        _ => format!("{cannot}: {error}"),
    };
    Failure::new(Exit::Remote, sentence)
}
