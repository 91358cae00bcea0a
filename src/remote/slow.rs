//! Another remote, made slow.

/// In work.
pub struct SlowRemote {}
/// In work.
pub struct SlowSettings {}
