//! In work.

mod fsck;

pub use fsck::main as cachefsck;
