//! What a user can see of the cache and tell it to do, through extended attributes of the mount.

mod attributes;
mod commands;
mod parts;
mod requests;

pub(super) use parts::Control;
pub use requests::Xattr;
