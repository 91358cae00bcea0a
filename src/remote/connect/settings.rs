//! What connecting takes and gives.

use std::io;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "http")]
use crate::remote::SettingsError;
use crate::remote::{Remote, RemoteError, Room, SlowSettings, WallClock};

/// How a remote is asked, whichever it is.
#[derive(Clone)]
pub struct ConnectSettings {
    /// How long a question is tried again without a byte of progress.
    pub timeout: Duration,
    /// How long a file of a directory must be unchanged before its bytes are kept.
    pub settle: Duration,
    /// How slow the remote is made to appear, for tests.
    pub slow: SlowSettings,
    /// The memory that listings share.
    pub listings: Arc<Room>,
    /// Bytes in flight of all answers of one connection over HTTP/2.
    pub in_flight: u32,
    /// The clock that ages of files are measured with.
    pub clock: WallClock,
}

/// A remote that is ready to be read.
pub struct Connected {
    /// The remote itself.
    pub remote: Arc<dyn Remote>,
    /// How many fetches from it may be under way at a time.
    pub requests: usize,
    /// What the user should know of it: whole sentences.
    pub notes: Vec<String>,
}

/// Why a remote cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The directory cannot be opened; the sentence names it.
    #[error(transparent)]
    Directory(io::Error),
    /// The web server cannot be asked in this way.
    #[cfg(feature = "http")]
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The remote was asked, and did not answer as hoped.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// This larder was built without what this kind of remote needs; the name of the feature.
    #[error("this larder was built without the feature '{0}'")]
    NotBuilt(&'static str),
}
