//! Floor 2: the seam to the remote, and the remotes that larder knows.
//!
//! A [`Remote`] answers questions about names and delivers ranges of bytes with the version that they belong to. It keeps
//! no data. What it decides is what only it can know: whether an answer is to be believed, when to try again, and whether a
//! version is settled.

mod api;
pub mod connect;
mod credentials;
mod dir;
#[cfg(feature = "http")]
mod http;
mod network;
mod policy;
mod slow;

pub use api::{
    BoxFuture, Capacity, Entries, Entry, Held, Listed, Page, Pages, Remote, RemoteError, Room,
    Sink, list_whole,
};
pub use credentials::Credentials;
pub use dir::{DirRemote, DirSettings, WallClock};
#[cfg(feature = "http")]
pub use http::{HttpMemory, HttpRemote, HttpSettings, SettingsError};
#[cfg(all(feature = "testing", feature = "http"))]
pub use http::{listing_probe, probe as answer_probe};
pub use network::Network;
pub use slow::{SlowRemote, SlowSettings};
