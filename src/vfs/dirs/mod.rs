//! Open directories and their listings.

mod open;
mod pull;
mod requests;

pub use open::{DirEntries, DirEntry, OpenedDir};
pub(super) use requests::Dirs;
