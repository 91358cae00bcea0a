//! The seam between larder and what it mounts: one trait with its questions ([`Remote`]), the receiver of bytes ([`Sink`]),
//! the pages of a listing ([`Pages`]) with the memory that they take ([`Room`]), and the errors ([`RemoteError`]).

mod entry;
mod error;
mod future;
mod pages;
mod remote;
mod room;
mod whole;

pub use entry::{Entry, Listed};
pub use error::RemoteError;
pub use future::BoxFuture;
pub(in crate::remote) use pages::cost;
pub use pages::{Entries, Page, Pages};
pub use remote::{Capacity, Remote, Sink};
pub(in crate::remote) use room::Growth;
pub use room::{Held, Room};
pub use whole::list_whole;
pub(in crate::remote) use whole::whole;
