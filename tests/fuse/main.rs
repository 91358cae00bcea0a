//! Tests with real mounts: they need /dev/fuse, and fail without it.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, what is not there is a failure"
)]

mod cli;
