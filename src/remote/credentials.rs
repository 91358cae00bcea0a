//! Whom a remote is asked as.

use serde::{Deserialize, Serialize};

/// A user name and its password: bytes of whatever encoding the remote expects. Serialised, both can be read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The name.
    pub user: Vec<u8>,
    /// The password; empty where there is none.
    pub password: Vec<u8>,
}
