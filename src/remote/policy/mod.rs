//! What remotes decide, apart from how they are asked: when a version is one that stays, and what names it where the remote
//! has no name for it.

mod settling;
#[cfg(feature = "http")]
mod stamps;

pub(in crate::remote) use settling::{Lease, is_settled};
#[cfg(feature = "http")]
pub(in crate::remote) use stamps::{Delivery, Stamps};
