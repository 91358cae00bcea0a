//! What an eviction policy is asked.

/// How many places a policy looks at, at the most, before it proposes one whether it was read or not.
pub(super) const PROBES_MAX: u32 = 64;

/// Which chunk goes first.
pub(crate) trait Policy: Send + Sync {
    /// A chunk came to `place`; its file takes `pages` pages of 4 KiB. `fingerprint` is the chunk's fingerprint, by
    /// which a policy may know one again that it has evicted.
    fn insert(&mut self, place: u32, pages: u32, fingerprint: u32);

    /// A chunk is found at `place` after a restart. Called once for each place, in the order in which the chunks came.
    fn restore(&mut self, place: u32, pages: u32, main: bool);

    /// The file at `place` takes so many pages now.
    fn resize(&mut self, place: u32, pages: u32);

    /// Proposes a victim. `used` says whether the chunk at a place was read since it was last asked. Each place that is
    /// looked at is counted in `probes`. `None` where there is no tenant at all.
    fn victim(&mut self, used: &mut dyn FnMut(u32) -> bool, probes: &mut u32) -> Option<u32>;

    /// The chunk at `place` was evicted, as proposed.
    fn evicted(&mut self, place: u32, fingerprint: u32);

    /// The chunk at `place` is gone for another reason.
    fn removed(&mut self, place: u32);

    /// Whether the chunk at `place` has proven its worth: that is kept over a restart.
    fn is_main(&self, place: u32) -> bool;

    /// The chunk at `place` was read again. Only a trial says so: at a hit the engine takes no lock of a policy's.
    #[cfg(feature = "testing")]
    fn hit(&mut self, _place: u32) {}

    /// Its name.
    #[cfg(feature = "testing")]
    fn name(&self) -> &'static str;
}
