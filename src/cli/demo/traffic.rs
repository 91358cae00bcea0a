//! What came from the remote of the demo.

/// The counters that the demo shows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Traffic {
    /// Requests at the remote: for data, and for names.
    pub requests: u64,
    /// Bytes from the remote.
    pub bytes: u64,
}
