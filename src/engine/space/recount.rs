//! How far the counting of the chunk files has come (see `count_files.rs`).

use std::sync::atomic::AtomicBool;

use crate::runtime::locks::Mutex;
use crate::runtime::single_job::SingleJob;
use crate::units::SlotId;

/// The count of one cache.
pub(super) struct Recount {
    pub(crate) over: AtomicBool,
    /// A tick has handed a piece out.
    pub(crate) handed: SingleJob,
    pub(crate) walk: Mutex<Walk>,
}

/// Where a pass is.
pub(crate) struct Walk {
    /// The first slot of the next directory.
    pub(crate) next: Option<SlotId>,
    /// The files of this directory that are still to be looked at.
    pub(crate) left: Vec<SlotId>,
    pub(crate) files: u64,
    pub(crate) removed: u64,
}

impl Recount {
    /// A pass over everything, if one is needed.
    pub(crate) fn new(needed: bool) -> Self {
        Self {
            over: AtomicBool::new(!needed),
            handed: SingleJob::default(),
            walk: Mutex::new(Walk {
                next: Some(SlotId(0)),
                left: Vec::new(),
                files: 0,
                removed: 0,
            }),
        }
    }
}

impl Walk {
    /// Whether everything was looked at.
    pub(crate) fn is_over(&self) -> bool {
        self.next.is_none() && self.left.is_empty()
    }
}
