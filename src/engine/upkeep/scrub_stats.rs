//! What is shown of the scrub.

use serde::{Deserialize, Serialize};

use crate::engine::stats::described::described;

/// What a pass goes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScrubKind {
    /// Slots that a power cut may have damaged.
    Suspect,
    /// Every slot.
    All,
}

/// Whether a pass is under way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScrubState {
    /// No pass is.
    #[default]
    Idle,
    /// One is.
    Running,
    /// One is, and it lets readers go first.
    Paused,
}

/// How a pass ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScrubEnd {
    /// It went through everything.
    Finished,
    /// It was told to stop, or another began.
    Stopped,
    /// The cache disk gave nothing any more.
    DiskFailed,
}

described! {
    /// The pass that is under way, or the last one.
    pub struct ScrubStats {
        /// Whether a scrub is under way.
        word state: ScrubState,
        /// What the scrub goes through; nothing where there was none yet.
        word kind: Option<ScrubKind>,
        /// Scrubs that were begun since the cache was opened.
        counter passes: u64,
        /// Bytes on disk that the scrub has done.
        gauge done_bytes: u64,
        /// Bytes on disk that the scrub has to do, estimated when it began.
        gauge total_bytes: u64,
        /// The most that the scrub reads in a second; 0 is no limit.
        gauge rate_bytes_per_second: u64,
        /// Blocks that the scrub read and found good.
        gauge checked_blocks: u64,
        /// Blocks that the scrub found damaged and dropped.
        gauge bad_blocks: u64,
        /// Chunks that the scrub dropped whole.
        gauge dropped_slots: u64,
        /// How the last scrub ended.
        word ended: Option<ScrubEnd>,
        /// When a scrub last went through everything, in seconds since 1970.
        gauge last_finish_timestamp_seconds: Option<u64>,
    }
}
