//! A web server as a remote: HTTP/1.1 and HTTP/2, ranged reads checked by validators, listings of the usual servers.
//!
//! Invariants:
//!
//! * A byte reaches a reader only from an answer whose status, Content-Range, lengths, encoding and validator all fit what
//!   was asked for. Anything else is an error of the server.
//! * Secrets (passwords, header values) are in no error, no log line and no `Debug` output.

mod answer;
mod client;
mod clients;
mod dirs;
mod facts;
mod fetch;
mod listing;
mod look;
mod names;
mod pacer;
mod patience;
mod reach;
mod remote;
mod retry;
mod secrets;
mod settings;
mod trouble;
mod validator;
mod web;

#[cfg(feature = "testing")]
pub mod probe;

#[cfg(feature = "testing")]
pub use listing::probe as listing_probe;
pub use remote::HttpRemote;
pub use settings::{HttpMemory, HttpSettings, SettingsError};

#[cfg(test)]
mod tests;
