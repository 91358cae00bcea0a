//! From a cache's configuration to the cache at work, in the order that its first mount needs: the remote is connected to
//! before a cache is made for it.

use std::sync::Arc;

use super::memory::Budget;
use super::{CacheConfig, HostError, MountRequest, OpenedCache, REMOTE_THREADS};
use crate::engine::{Clock, SourceSettings, SystemClock};
use crate::remote::connect::{ConnectError, ConnectSettings, Connected, connect};
use crate::remote::{Network, Room};
use crate::storage::CacheDir;

/// A cache that is about to be opened: its memory and its network.
pub struct CacheBuilder {
    config: CacheConfig,
    budget: Budget,
    listings: Arc<Room>,
    /// Bytes in flight of one connection.
    in_flight: u32,
    network: Network,
}

impl CacheBuilder {
    /// Shares out the memory and starts the network. Errors with [`HostError::Memory`] where there is too little memory for
    /// any cache: before one is made.
    pub fn new(config: &CacheConfig) -> Result<Self, HostError> {
        let budget = Budget::new(config.memory);
        let most = budget.share(0)?;
        Ok(Self {
            config: config.clone(),
            budget,
            listings: Room::new(most.listings),
            in_flight: most.in_flight(),
            network: Network::new(SourceSettings::default().timeout, REMOTE_THREADS)?,
        })
    }

    /// Connects to the remote of a mount. Waits for its answer.
    pub fn connect(&self, request: &MountRequest) -> Result<Connected, ConnectError> {
        let clock = SystemClock::default();
        let settings = ConnectSettings {
            timeout: request.timeout,
            settle: request.settle,
            slow: request.slow,
            listings: Arc::clone(&self.listings),
            in_flight: self.in_flight,
            clock: Arc::new(move || clock.wall()),
        };
        let network = self.network.with_timeout(request.timeout);
        connect(&request.remote, &settings, &network)
    }

    /// Opens the cache in its directory, which was opened or made already. What it takes of memory depends on its index.
    pub fn open(self, dir: Arc<CacheDir>) -> Result<OpenedCache, HostError> {
        let slots = u64::from(dir.superblock().geometry.n_slots());
        let shares = self.budget.share(slots)?;
        self.listings.narrow(shares.listings);
        let config = self.config.engine(shares, self.listings);
        OpenedCache::over(dir, self.network, config, Some(shares))
    }
}
