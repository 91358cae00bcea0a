//! How a version of an object lies in the cache.

use std::time::Duration;

use crate::engine::placement::stale_version::StaleVersion;
use crate::units::{ChunkSize, Tag, Validator};

/// How a version lies in the cache: known once the blob record was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub(crate) chunk: ChunkSize,
    pub(crate) size: u64,
    /// The version; `None` until the first fetch of an object whose listing does not tell.
    pub(crate) version: Option<(Validator, Tag)>,
    /// The number of the blob record that binds the key to this version, once there is one.
    pub(crate) record: Option<u32>,
    /// The version that the key's record names so far, where it is another one: it is stale once the record is
    /// replaced.
    pub(crate) replaces: Option<StaleVersion>,
    /// When a version without a validator is believed no more, since 1970.
    pub(crate) expires: Option<Duration>,
}

impl Layout {
    pub(crate) fn tag(&self) -> Option<Tag> {
        self.version.as_ref().map(|(_, tag)| *tag)
    }

    pub(crate) fn validator(&self) -> Option<Validator> {
        self.version
            .as_ref()
            .map(|(validator, _)| validator.clone())
    }
}
