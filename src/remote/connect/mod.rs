//! From what a user names to a remote that is ready: the one place that knows which kinds of remotes there are.
//!
//! [`RemoteSpec::parse`] reads a path or a URL, and makes nothing. [`connect`] opens the remote and looks at it. As whom the
//! remote is asked, and so which cached bytes it may share, is said by [`super::Remote::principal`].

mod open;
mod parse;
mod settings;
mod spec;
#[cfg(feature = "http")]
mod web;

pub use open::connect;
pub use settings::{ConnectError, ConnectSettings, Connected};
pub use spec::{Header, RemoteSpec, SpecError, WebSpec};
#[cfg(feature = "http")]
pub use web::HeaderError;
