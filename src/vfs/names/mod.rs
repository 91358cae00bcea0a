//! Names: which inode serves which, what listings and opens have told of them, and the requests about them.

mod announced;
mod inode;
mod inodes;
mod listing;
mod name;
mod number;
mod requests;

pub(super) use announced::{Announced, NewVersion};
pub(super) use inode::{Outcome, Served};
pub(super) use inodes::Inodes;
pub(super) use listing::{Contents, Listing};
pub(super) use name::KernelName;
pub(super) use number::ROOT;
pub use requests::Looked;
pub(super) use requests::Names;
