//! Room that a fill under way has reserved.

use crate::runtime::locks::Mutex;

/// Bytes that fills under way may still add.
#[derive(Default)]
pub(crate) struct Reserved(Mutex<u64>);

/// Bytes of the size limit that a fill under way may use.
pub(crate) struct Room<'a> {
    reserved: &'a Reserved,
    bytes: u64,
    /// What the fill writes, in whole pages: it never needs more.
    most: u64,
}

impl Room<'_> {
    /// Keeps what the fill may need of bytes that its own file gives back; called before they are accounted for, so
    /// that no other fill takes them first.
    pub(crate) fn keep(&mut self, freed: u64) {
        let kept = freed.min(self.most - self.bytes);
        *self.reserved.0.lock() += kept;
        self.bytes += kept;
    }

    /// Whether the fill may take new space on disk.
    pub(crate) fn may_grow(&self) -> bool {
        self.bytes > 0
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        *self.reserved.0.lock() -= self.bytes;
    }
}

impl Reserved {
    /// Counts bytes in as far as `allow` says, which is given what is reserved so far. One asks at a time: two writers
    /// never share the last room.
    pub(crate) fn reserve<E>(
        &self,
        bytes: u64,
        most: u64,
        allow: impl FnOnce(u64) -> Result<(), E>,
    ) -> Result<Room<'_>, E> {
        let mut reserved = self.0.lock();
        allow(*reserved)?;
        *reserved += bytes;
        Ok(Room {
            reserved: self,
            bytes,
            most,
        })
    }

    /// The bytes that fills under way may still add.
    pub(crate) fn bytes(&self) -> u64 {
        *self.0.lock()
    }
}
