//! For how long answers hold.

use std::time::Duration;

/// How long the kernel may keep an answer that was given because the remote could not be asked.
pub(in crate::vfs) const STALE_TTL: Duration = Duration::from_secs(1);
